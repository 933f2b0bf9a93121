"""What the documents name exists, and what exists is in the documents.

Checks the README's "Where is ...?" table, links, the settings, the make targets and the commands. What a document
says about a thing is for people to review; that it speaks of each thing, and of none that is gone, is checked here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from prometheus_client import Counter, Gauge, Histogram
from typer.main import get_command

from server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
SETTING = re.compile(r"`([A-Z][A-Z0-9_]*)`")
RULER = re.compile(r"\|[\s:|-]+\|")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """What stands under the heading that contains `title`, up to the next heading of its level or above."""
    found = re.search(rf"^(#+) [^\n]*{re.escape(title)}[^\n]*\n", text, re.MULTILINE)
    assert found, f"no heading with {title!r}"
    rest = text[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a Markdown text, without their heads."""
    below_head = False
    for line in map(str.strip, text.splitlines()):
        if RULER.fullmatch(line):
            below_head = True
        elif not line.startswith("|"):
            below_head = False
        elif below_head:
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def code(text: str) -> Iterator[str]:
    """The lines of a Markdown text's code blocks, and its code spans."""
    for number, part in enumerate(re.split(r"^ *```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            yield from part.splitlines()
        else:
            yield from re.findall(r"`([^`\n]+)`", part)


def commands_named(text: str, program: str) -> set[str]:
    """The words that follow a program's name where a line of code or a span starts with it."""
    found = (re.match(rf"\s*(?:\$ )?{re.escape(program)} ([a-z][a-z0-9-]*)", line) for line in code(text))
    return {match[1] for match in found if match}


def defined_in(path: Path) -> set[str]:
    """The names a module defines, and those of its classes' members as `Class.member`."""
    found: set[str] = set()
    for node in ast.parse(read(path)).body:
        found |= _names(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for member in node.body for name in _names(member)}
    return found


def _names(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case _:
            return set()


def missing_places(table: str) -> list[str]:
    """The `path` and `path:Name` in a table's cells that do not exist."""
    missing = []
    for place in (
        place for row in rows(table) for cell in row[1:] for place in re.findall(r"`([^`]+)`", cell)
    ):
        path, _, name = place.partition(":")
        if not (ROOT / path).exists() or (name and name.removesuffix("()") not in defined_in(ROOT / path)):
            missing.append(place)
    return missing


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))]


def test_each_place_in_the_where_is_table_exists() -> None:
    table = section(read(README), "Where is")
    assert len(list(rows(table))) >= 10
    assert not missing_places(table)


def test_each_relative_link_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in LINK.findall(read(page))
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_the_settings_page_lists_the_settings_and_no_others() -> None:
    listed = [name for row in rows(read(DOCS / "settings.md")) for name in SETTING.findall(row[0])]
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields)


def test_each_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert {"demo", "test"} <= commands_named(read(README), "make")
    assert not {name for page in pages() for name in commands_named(read(page), "make")} - targets


def test_each_command_is_documented_and_each_documented_command_exists() -> None:
    from server import cli

    (app,) = {id(found): found for found in vars(cli).values() if isinstance(found, typer.Typer)}.values()
    commands = set(getattr(get_command(app), "commands", {}))
    assert {"serve", "demo", "replay", "migrate", "sql", "credit", "audit", "openapi"} <= commands
    assert commands == {name for page in pages() for name in commands_named(read(page), "callmeback")}


# The checks themselves can fail.

PAGE = """# Title

## Where is ...?

| what | where |
|---|---|
| a | `pyproject.toml` |
| b | `tests/test_docs.py:read`, `tests/test_docs.py:Gone` and `gone/file.py` |

### Deeper

You can make sure with `make test` or

```sh
$ make demo
callmeback sql "x"   # make nothing
```

# Next

| `X` | y |
"""


def test_a_missing_place_is_found() -> None:
    assert missing_places(section(PAGE, "Where is")) == ["tests/test_docs.py:Gone", "gone/file.py"]


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    assert "make demo" in section(PAGE, "Where is")
    assert "Next" not in section(PAGE, "Where is")
    with pytest.raises(AssertionError, match="no heading"):
        section(PAGE, "Nowhere")


@pytest.mark.parametrize(("program", "named"), [("make", {"test", "demo"}), ("callmeback", {"sql"})])
def test_only_commands_in_code_count(program: str, named: set[str]) -> None:
    assert commands_named(PAGE, program) == named


def test_every_metric_is_documented() -> None:
    from server import metrics

    told = read(DOCS / "metrics.md")
    kinds = (Counter, Gauge, Histogram)
    mine = [metric for metric in vars(metrics).values() if isinstance(metric, kinds)]
    assert len(mine) > 10
    names = {f"{metric._name}_total" if isinstance(metric, Counter) else str(metric._name) for metric in mine}
    assert {name for name in names if f"`{name}" not in told} == set()
