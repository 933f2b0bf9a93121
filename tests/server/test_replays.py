"""`POST /api/calls/{id}/replay`, and what `callmeback replay --json` says of a journal."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from pipeline.core.errors import Refused
from pipeline.core.journal import is_effect
from pipeline.journal_file import SUFFIX, frame, read_lines
from server.replay_verdict import verdict
from server.replays import Replays
from tests.golden import CALLS
from tests.pipeline.test_conducted import TALK, Recorded, engines
from tests.server.rig import Person, Rig
from tests.server.test_calls import close, stored_call

BUDGET = CALLS / f"budget{SUFFIX}"
INTERRUPTED = CALLS / f"interrupted{SUFFIX}"


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


async def test_a_call_that_is_over_is_run_again(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    folder, path = rig.parts.settings.calls_dir, f"/api/calls/{call.id}/replay"
    assert (await ann.post(path)).status_code == 409, "its books are open"
    await close(rig, call)
    refused = await ann.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_request")
    shutil.copy(BUDGET, folder / f"{call.id}{SUFFIX}")
    whole = (await ann.post(path)).json()
    assert (whole["exact"], whole["level"], whole["first_difference"]) == (True, 1, None)
    assert whole["summary"].startswith("exact: all ")
    shutil.copy(INTERRUPTED, folder / f"{call.id}.2{SUFFIX}")
    both = (await ann.post(path)).json()
    assert both["exact"]
    assert both["steps"] == whole["steps"] + verdict(INTERRUPTED).steps
    bob = await rig.register("bob@example.com")
    assert (await bob.post(path)).status_code == 404


async def test_the_first_line_that_differs_is_named(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    await close(rig, call)
    lines = read_lines(BUDGET)
    number = max(at for at, line in enumerate(lines) if is_effect(line) and "Say" in line)
    lines[number] = lines[number].replace("Say", "Say ", 1)
    journal = rig.parts.settings.calls_dir / f"{call.id}{SUFFIX}"
    journal.write_bytes(b"".join(map(frame, lines)))
    found = (await ann.post(f"/api/calls/{call.id}/replay")).json()
    assert (found["exact"], found["level"]) == (False, 1)
    assert found["first_difference"].startswith(f"line {number + 1}: recorded: ")
    journal.write_text("no journal\n")
    broken = await ann.post(f"/api/calls/{call.id}/replay")
    assert (broken.status_code, broken.json()["code"]) == (409, "invalid_request")


async def test_one_at_a_time_and_not_for_ever() -> None:
    replays = Replays()
    first = asyncio.create_task(replays.run([BUDGET]))
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="Another call"):
        await replays.run([BUDGET])
    assert (await first).exact
    with pytest.raises(Refused, match="too long"):
        await Replays(limit_s=0.001).run([BUDGET])
    assert (await replays.run([BUDGET])).exact, "the place is free again"


def test_a_call_that_was_recorded_repeats_its_sound(tmp_path: Path) -> None:
    Recorded(tmp_path, TALK, engines())
    found = verdict(tmp_path / f"call{SUFFIX}")
    assert (found.exact, found.level) == (True, 2)
    assert found.summary.startswith("exact, sound included: ")
