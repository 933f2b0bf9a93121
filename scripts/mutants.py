"""`make mutants`: puts known mistakes into a copy of the tree, one at a time, and sees whether the tests notice.

The mistakes are data: `scripts/mutants.toml`. Exits 1 when one survives, or when a mistake cannot be put in because the
code has moved on. First all the tests named must pass on the copy as it is; a test that fails anyway catches nothing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "scripts" / "mutants.toml"
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    "data",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "*.egg-info",
)
PATIENCE_S = 600
FAILED = 1
"""pytest's exit code for tests that ran and failed; 2 to 5 say that they did not run."""


@dataclass(frozen=True, slots=True)
class Change:
    """One replacement in one file, relative to the root."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake, what it would break, and what to give pytest to see it caught.

    `also`: what must notice it by itself too, as the test of all ways to the telephone does.
    """

    name: str
    breaks: str
    tests: tuple[str, ...]
    changes: tuple[Change, ...]
    also: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[tuple[str, ...], ...]:
        return (self.tests, self.also) if self.also else (self.tests,)


class Moved(Exception):
    """The text to be replaced is not there exactly once."""


def load(path: Path = DATA) -> list[Mutant]:
    def mutant(entry: dict[str, Any]) -> Mutant:
        changes = tuple(Change(**change) for change in entry["change"])
        also = tuple(entry.get("also", ()))
        return Mutant(entry["name"], entry["breaks"], tuple(entry["tests"]), changes, also)

    return [mutant(entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]]


def mutated(source: str, change: Change) -> str:
    """Raises `Moved`."""
    found = source.count(change.old)
    if found != 1 or change.new == change.old:
        raise Moved(f"{change.file}: {found} times instead of once: {change.old.strip().splitlines()[0]}")
    return source.replace(change.old, change.new)


def run_tests(tree: Path, tests: tuple[str, ...]) -> int:
    """pytest's exit code; `FAILED` when it takes too long, for a hang is noticed too."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED
    if done.returncode > FAILED:
        print(done.stdout[-2_000:], done.stderr[-2_000:], sep="\n")
    return done.returncode


def verdict(tree: Path, mutant: Mutant) -> str:
    """ "caught", or why not. The tree is as before afterwards."""
    before: dict[Path, str] = {}
    try:
        for change in mutant.changes:
            path = tree / change.file
            source = path.read_text(encoding="utf-8")
            before.setdefault(path, source)
            path.write_text(mutated(source, change), encoding="utf-8")
        codes = {tests: run_tests(tree, tests) for tests in mutant.runs}
    except (Moved, FileNotFoundError) as error:
        return f"NOT TRIED: {error}"
    finally:
        for path, source in before.items():
            path.write_text(source, encoding="utf-8")
    for tests, code in codes.items():
        if code != FAILED:
            where = f" {' '.join(tests)}" if len(codes) > 1 else ""
            return f"SURVIVED{where}" if code == 0 else f"NOT TRIED: pytest said {code}"
    return "caught"


def sound(tree: Path, mutants: list[Mutant]) -> list[str]:
    """Why the copy is no ground to try anything on: nothing, as a rule."""
    where = [sys.executable, "-c", "import storage; print(storage.__file__)"]
    told = subprocess.run(where, cwd=tree, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(told).resolve().is_relative_to(tree.resolve()):
        return [f"the tests would import {told}, not the copy"]
    names = {tests: mutant.name for mutant in mutants for tests in mutant.runs}
    return [
        f"the tests of {name} fail without it: {' '.join(tests)}"
        for tests, name in names.items()
        if run_tests(tree, tests) != 0
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python scripts/mutants.py", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--check", action="store_true", help="only see whether each can be put in")
    given = parser.parse_args()
    mutants = [mutant for mutant in load() if not given.names or mutant.name in given.names]
    if unknown := set(given.names) - {mutant.name for mutant in mutants}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if given.check:
        return check(mutants)
    with tempfile.TemporaryDirectory(prefix="callmeback-mutants-") as place:
        tree = Path(place) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        if problems := sound(tree, mutants):
            print(*problems, sep="\n")
            return 1
        verdicts = {}
        for mutant in mutants:
            verdicts[mutant.name] = verdict(tree, mutant)
            print(f"{mutant.name:16} {verdicts[mutant.name]:10} {mutant.breaks}", flush=True)
    caught = sum(told == "caught" for told in verdicts.values())
    print(f"{caught} of {len(verdicts)} caught")
    return 0 if caught == len(verdicts) else 1


def check(mutants: list[Mutant]) -> int:
    """Without running a test: whether every text to be replaced is where it should be."""
    problems = []
    for mutant in mutants:
        for change in mutant.changes:
            try:
                mutated((ROOT / change.file).read_text(encoding="utf-8"), change)
            except (Moved, FileNotFoundError) as error:
                problems.append(f"{mutant.name}: {error}")
    print(*problems, f"{len(mutants)} mutants, {len(problems)} to be brought up to date", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
