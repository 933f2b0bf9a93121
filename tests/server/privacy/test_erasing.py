"""Files of deleted accounts go on every machine, also on one that was down meanwhile."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from server.privacy.erasing import Erasing
from storage import ageing, erasures
from storage.db import Database
from storage.erasures import AWAY
from tests.server.rig import ManualClock, Rig
from tests.server.test_erase import stored

Pair = tuple[Database, Database]


def files(folder: Path, *call_ids: str) -> None:
    for call_id in call_ids:
        for end in (".journal", ".wav", ".traffic"):
            (folder / f"{call_id}{end}").write_text("what was said")


def left(folder: Path) -> set[str]:
    return {
        path.name.partition(".")[0] for path in folder.iterdir() if not path.name.startswith("test.db")
    }  # the database


async def test_what_another_node_erased_is_removed_here(two_nodes: Pair, tmp_path: Path) -> None:
    ours, theirs = two_nodes
    clock = ManualClock()
    files(tmp_path, "gone", "kept", "later")
    async with theirs.write() as tx:
        await erasures.note(tx, [], clock.utc())
        await erasures.note(tx, ["gone", "never here"], clock.utc() - AWAY)
        await erasures.note(tx, ["gone"], clock.utc())
    erasing = Erasing(ours, clock, tmp_path)
    await erasing.once()
    assert left(tmp_path) == {"kept", "later"}

    clock.move(3600)
    async with theirs.write() as tx:
        await erasures.note(tx, ["later"], clock.utc() - timedelta(seconds=20))
    await erasing.once()
    assert left(tmp_path) == {"kept"}


async def test_a_file_that_cannot_be_removed_is_tried_again(two_nodes: Pair, tmp_path: Path) -> None:
    clock = ManualClock()
    async with two_nodes[0].write() as tx:
        await erasures.note(tx, ["gone"], clock.utc())
    stuck = tmp_path / "gone.journal"
    stuck.mkdir()
    erasing = Erasing(two_nodes[0], clock, tmp_path)
    clock.move(3600)
    with pytest.raises(OSError, match=r"gone\.journal"):
        await erasing.once()
    stuck.rmdir()
    files(tmp_path, "gone")
    await erasing.once()
    assert left(tmp_path) == set()


async def test_erasures_are_forgotten_once_no_node_looks_for_them_any_more(two_nodes: Pair) -> None:
    clock = ManualClock()
    async with two_nodes[0].write() as tx:
        await erasures.note(tx, ["old"], clock.utc() - 3 * AWAY)
        await erasures.note(tx, ["looked for"], clock.utc() - AWAY)
        assert await ageing.purge(tx, clock.utc(), 100) == 1
        assert await erasures.since(tx, clock.utc() - 9 * AWAY) == ["looked for"]


async def test_deleting_an_account_tells_the_other_nodes(rig: Rig) -> None:
    ann = await rig.register()
    call = await stored(rig, ann, final=True)
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    async with rig.parts.database.read() as tx:
        noted = await erasures.since(tx, rig.clock.utc() - timedelta(seconds=1))
    assert noted == ([call.id] if rig.parts.database.dialect == "postgresql" else []), (
        "SQLite has no other nodes"
    )
