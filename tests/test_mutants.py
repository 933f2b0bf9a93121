"""The mistakes of `make mutants` can be put into the code as it is now. Whether they are caught, that target says."""

from __future__ import annotations

import pytest

from scripts.mutants import ROOT, Change, Moved, check, load, mutated


def test_every_mistake_can_be_put_in() -> None:
    mutants = load()
    assert len({mutant.name for mutant in mutants}) == len(mutants) >= 12
    assert check(mutants) == 0


def test_the_tests_that_are_to_notice_exist() -> None:
    for mutant in load():
        paths = [given.split("::")[0] for given in mutant.tests if given.startswith("tests/")]
        assert paths, mutant.name
        assert all((ROOT / path).exists() for path in paths), mutant.name


def test_every_mistake_is_documented() -> None:
    told = (ROOT / "docs" / "development.md").read_text()
    assert [mutant.name for mutant in load() if f"| `{mutant.name}` |" not in told] == []


@pytest.mark.parametrize("source", ["nothing of the kind", "old old", ""])
def test_code_that_moved_on_is_told(source: str) -> None:
    with pytest.raises(Moved):
        mutated(source, Change("a.py", "old", "new"))
    assert mutated("an old one", Change("a.py", "old", "new")) == "an new one"
