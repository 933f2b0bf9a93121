"""What the documents name exists, and what exists is in the documents.

Checks the README's "Where is ...?" table, links, the settings, the make targets and the commands. What a document
says about a thing is for people to review; that it speaks of each thing, and of none that is gone, is checked here.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
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


def test_each_module_the_pages_name_exists_with_what_they_name_in_it() -> None:
    """`server/x.py` and `server/x.py:name`, in whatever sentence."""
    named = r"`((?:server|pipeline|storage|migrations|tests|benchmarks|scripts)/[\w/]+\.py(?::[\w.]+)?)`"
    missing = {
        f"{page.name}: {place}"
        for page in pages()
        for place in re.findall(named, read(page))
        if "NNNN" not in place and missing_places(f"| | |\n|---|---|\n| x | `{place}` |")
    }
    assert missing == set()


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


def undocumented(paths: set[str], text: str) -> set[str]:
    """The paths that are written out nowhere; `/api/calls` is not, where there is only `/api/calls/{id}`."""
    return {path for path in paths if not re.search(rf"{re.escape(path)}(?![\w/{{-])", text)}


def test_each_route_is_documented() -> None:
    from server.routes import OPS
    from server.routes.twilio import twilio_routes

    hooks = twilio_routes(public_url="https://x.example", account_sid="AC", auth_tokens=("x",))
    paths = {op.path for op in OPS} | {str(getattr(route, "path", "")) for route in hooks}
    assert len(paths) > 60
    assert undocumented(paths - {"/"}, "\n".join(map(read, pages()))) == set()


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


def test_a_route_that_is_only_a_part_of_another_is_missed() -> None:
    assert undocumented({"/a", "/a/{id}", "/b"}, "`GET /a/{id}`, `/b?x=1`, `/bc`") == {"/a"}


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    assert "make demo" in section(PAGE, "Where is")
    assert "Next" not in section(PAGE, "Where is")
    with pytest.raises(AssertionError, match="no heading"):
        section(PAGE, "Nowhere")


@pytest.mark.parametrize(("program", "named"), [("make", {"test", "demo"}), ("callmeback", {"sql"})])
def test_only_commands_in_code_count(program: str, named: set[str]) -> None:
    assert commands_named(PAGE, program) == named


# -- the security page -----------------------------------------------------------------

CASES = [f"A{number}" for number in range(1, 49)]
ASVS = [
    "1.2.4",
    "1.2.5",
    "1.3.2",
    "1.3.6",
    "1.3.12",
    "1.5.2",
    "2.2.1",
    "2.2.2",
    "2.3.1",
    "2.3.2",
    "2.3.3",
    "2.3.4",
    "2.4.1",
    "3.2.2",
    "3.4.1",
    "3.4.2",
    "3.4.3",
    "3.4.4",
    "3.4.5",
    "3.4.6",
    "3.5.1",
    "3.5.2",
    "3.5.3",
    "4.1.1",
    "4.1.3",
    "4.1.5",
    "4.2.1",
    "4.4.1",
    "4.4.2",
    "4.4.3",
    "4.4.4",
    "6.1.1",
    "6.2.1",
    "6.2.2",
    "6.2.3",
    "6.2.4",
    "6.2.5",
    "6.2.6",
    "6.2.7",
    "6.2.8",
    "6.2.9",
    "6.3.1",
    "6.3.2",
    "6.3.8",
    "6.5.1",
    "6.5.2",
    "6.5.3",
    "6.5.4",
    "6.5.5",
    "6.6.1",
    "6.6.2",
    "6.6.3",
    "7.2.1",
    "7.2.2",
    "7.2.3",
    "7.2.4",
    "7.3.2",
    "7.4.1",
    "7.4.2",
    "7.4.3",
    "7.5.1",
    "8.2.1",
    "8.2.2",
    "8.2.3",
    "8.3.1",
    "8.4.1",
    "9.1.1",
    "9.1.2",
    "9.1.3",
    "9.2.1",
    "9.2.2",
    "9.2.3",
    "11.4.2",
    "11.5.1",
    "12.1.1",
    "12.2.1",
    "12.3.1",
    "12.3.2",
    "13.1.1",
    "13.1.2",
    "13.1.3",
    "13.2.3",
    "13.2.4",
    "13.2.5",
    "13.3.1",
    "13.3.4",
    "13.4.2",
    "13.4.5",
    "14.1.1",
    "14.2.1",
    "14.2.4",
    "14.2.6",
    "14.2.7",
    "14.3.2",
    "15.1.2",
    "15.2.2",
    "15.3.1",
    "15.3.2",
    "15.3.3",
    "15.3.4",
    "15.4.2",
    "16.2.2",
    "16.2.5",
    "16.3.1",
    "16.3.2",
    "16.3.3",
    "16.3.4",
    "16.4.1",
    "16.5.1",
    "16.5.2",
    "16.5.3",
    "16.5.4",
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w*]+)`")


def unproved(page: str, wanted: list[str]) -> list[str]:
    """What is wrong with the rows of these ids: missing, doubled, with a test that is not there or with nothing."""
    proofs: dict[str, list[str]] = {}
    for row in rows(page):
        proofs.setdefault(row[0], []).append(row[-1])
    wrong = []
    for ident in wanted:
        found = proofs.get(ident, [])
        if len(found) != 1:
            wrong.append(f"{ident}: {len(found)} rows")
            continue
        named = TEST.findall(found[0])
        if not named and not re.match(r"(Reason|Not yet|Partly)[:.] ", found[0]):
            wrong.append(f"{ident}: neither a test nor a reason")
        wrong += [f"{ident}: {path}::{name}" for path, name in named if not _has_test(path, name)]
    return wrong


def _has_test(path: str, name: str) -> bool:
    file = ROOT / path
    return file.exists() and any(
        fnmatchcase(test, name) for test in defined_in(file) if test.startswith("test_")
    )


def test_every_attack_and_every_asvs_item_has_its_test_or_a_reason() -> None:
    page = read(DOCS / "security.md")
    assert unproved(page, CASES) == []
    assert unproved(page, ASVS) == []


SECURITY = """
| case | tests |
|---|---|
| A1 | `tests/test_docs.py::test_every_attack_*` |
| A2 | `tests/test_docs.py::test_gone` |
| A3 | `tests/gone.py::test_x` and `tests/test_docs.py::test_each_make_target_named_exists` |
| A4 | we think so |
| A5 | Reason: it cannot happen. |
| A6 | Not yet: later. |
| A6 | Not yet: later. |
"""


def test_what_is_unproved_is_found() -> None:
    assert unproved(SECURITY, [f"A{number}" for number in range(1, 8)]) == [
        "A2: tests/test_docs.py::test_gone",
        "A3: tests/gone.py::test_x",
        "A4: neither a test nor a reason",
        "A6: 2 rows",
        "A7: 0 rows",
    ]


def test_every_metric_is_documented() -> None:
    from server import metrics

    told = read(DOCS / "metrics.md")
    kinds = (Counter, Gauge, Histogram)
    mine = [metric for metric in vars(metrics).values() if isinstance(metric, kinds)]
    assert len(mine) > 10
    names = {f"{metric._name}_total" if isinstance(metric, Counter) else str(metric._name) for metric in mine}
    assert {name for name in names if f"`{name}" not in told} == set()
