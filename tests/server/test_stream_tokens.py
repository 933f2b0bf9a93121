"""A8 and A4 on the real desk: a stream token opens its own call's socket and no other; old webhooks change nothing.

`tests/twilio/test_attacks.py` has the same attack on the socket, before a desk that only keeps the rule by its word.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import BadStream
from server.calls.answers import new_token
from server.calls.live import open_desk
from server.nodes.anywhere import Anywhere
from storage import calls
from storage.ids import new_id
from storage.records import NewCall
from tests.server.rig import LoopClock, Rig, running, settings
from tests.server.test_placing import SCRIPTED, ready
from tests.storage.world import rows

OTHERS_LEG = "CA" + "f" * 32


class Silent:
    """A `Line` that nobody listens to."""

    def play(self, chunk: int, mulaw: bytes) -> None: ...

    def clear(self) -> None: ...

    async def close(self) -> None: ...


def desk_of(rig: Rig) -> Anywhere:
    assert isinstance(rig.parts.desk, Anywhere)
    return rig.parts.desk


async def test_a8_a_token_of_one_leg_opens_no_socket_of_another(tmp_path: Path) -> None:
    async with running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock()) as rig:
        ann, desk = await ready(rig), desk_of(rig)
        call, sid = (await ann.post("/api/calls", {"persona_id": "brad"})).json()["id"], f"CA{1:032x}"
        token = await desk.answered(call, sid)
        assert token is not None
        with pytest.raises(BadStream, match="no such stream token"):
            await desk.attach(token, OTHERS_LEG, Silent())
        with pytest.raises(BadStream, match="no such stream token"):
            await desk.attach(token, sid, Silent())  # it was shown once, and is used up
        fresh = await desk.answered(call, sid)
        assert fresh is not None
        assert (await desk.attach(fresh, sid, Silent())) is not None, "or the refusals above show nothing"
        await desk.status(sid, call, "completed", 1, 9)
        await desk.drain(5)


async def test_a8_nor_where_the_call_is_another_nodes(tmp_path: Path) -> None:
    """Its own leg would be relayed, were that node there."""
    async with running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock()) as rig:
        ann, desk, now = await ready(rig), desk_of(rig), rig.clock.utc()
        async with rig.parts.database.write() as tx:
            row = await calls.create(tx, NewCall(new_id(), ann.id, "brad", "phone", now, (), "another node"))
            tokens = [await new_token(tx, row.id, "CA1", now) for _ in range(2)]
        with pytest.raises(BadStream, match="no such stream token"):
            await desk.attach(tokens[0], OTHERS_LEG, Silent())
        with pytest.raises(BadStream, match="the node of the call is gone"):
            await desk.attach(tokens[1], "CA1", Silent())


BOOKS = (
    "calls",
    "call_cost_events",
    "credit_transactions",
    "credit_holds",
    "stream_tokens",
    "call_messages",
    "jobs",
)


async def test_a4_webhooks_of_a_call_that_is_over_change_nothing_however_often_they_are_sent_again(
    tmp_path: Path,
) -> None:
    async with running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock()) as rig:
        ann, desk = await ready(rig), desk_of(rig)
        call, sid = (await ann.post("/api/calls", {"persona_id": "brad"})).json()["id"], f"CA{1:032x}"
        token = await desk.answered(call, sid)
        assert token is not None
        await desk.attach(token, sid, Silent())
        await desk.status(sid, call, "completed", 1, 9)
        await desk.drain(5)

        async def kept() -> list[object]:
            return [await rows(rig.parts.database, f"SELECT * FROM {table}") for table in BOOKS]

        before = await kept()
        for sequence in range(100):
            assert await desk.answered(call, sid) is None
            assert await desk.resumed(call, sid) is None
            await desk.machine(sid, "machine_end_beep")
            for status in ("queued", "ringing", "in-progress", "completed", "failed"):
                await desk.status(sid, call, status, 60 * sequence, sequence)
        assert await kept() == before
