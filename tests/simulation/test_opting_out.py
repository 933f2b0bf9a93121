"""A28: whoever wants no more calls is rung by no node a second later, and the call they are on ends. In virtual time.

Two nodes share a database. The person is on a call of one of them, and more of their calls are due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from pipeline.core.money import Nanos
from tests.simulation.node import ACCOUNT, HEARD, PUBLIC_URL, Node
from tests.simulation.people import Person
from tests.simulation.telephone import Habits
from tests.simulation.world import Plan, World, memory, simulate, template

How = Literal["key", "voice", "sms", "web"]
CALM = Plan(faults=False)
WITHIN_S, ENDS_WITHIN_S = 1.0, 5.0
TICK_S = 0.05
SPEAKS_S, WORDS_S = 12.0, 1.0
"""When they begin to say that they want no more calls, and how long it takes them."""


@pytest.fixture(scope="module")
def migrated() -> Iterator[Path]:
    with TemporaryDirectory(prefix="callmeback-migrated-", dir=memory()) as place:
        yield template(Path(place))


class Wanting(World):
    """One person, who says so in one way, and what is measured of it: seconds since they did."""

    def __init__(self, *args: Any, how: How, measured: dict[str, float]) -> None:
        super().__init__(*args)
        self.how = how
        self.hears = ("Stop calling me.",) if how == "voice" else HEARD
        self.measured = measured

    def _habits(self) -> Habits:
        presses = 12.0 if self.how == "key" else None
        talk = ((SPEAKS_S, WORDS_S),) if self.how == "voice" else ()
        return Habits("answer", 1.0, talk, 10_000.0, "human", None, presses)

    async def _history(self, tasks: asyncio.TaskGroup) -> None:
        here, there = await self._start(tasks, 0), await self._start(tasks, 1)
        self.network.prompt = True
        person = Person(
            0, draw=Random("person"), network=self.network, door=lambda: here.door, grant=self._grant,
            purchase=self._purchase, utc=self.utc, note=self.note,
        )  # fmt: skip
        assert await person._settle_in()
        await self._grant(person._id, Nanos(10**10))
        await person._ask("POST", "/api/calls", {"persona_id": "brad"})
        for _ in range(6):
            await person._schedule()  # within the next 40 s, on whichever node looks first
        await asyncio.sleep(10.0)
        (call,) = self.network.calls.values()
        assert call.status == "in-progress"
        said = await self._says_so(person, here)
        told = {node: tasks.create_task(self._refused(person, node)) for node in (here, there)}
        for node, task in told.items():
            self.measured[node.name] = await task - said
        await call.over.wait()
        assert call.ended is not None
        self.measured["ends"] = call.ended - said
        await asyncio.sleep(60.0)
        self.measured["rings after"] = max(one.placed for one in self.network.calls.values()) - said
        await self._calm_down(tasks)

    async def _says_so(self, person: Person, node: Node) -> float:
        """When they did."""
        began = self._loop.time()
        match self.how:
            case "key":
                (call,) = self.network.calls.values()
                return await call.pressed
            case "voice":
                (call,) = self.network.calls.values()
                assert call.answered is not None
                ends = call.answered + SPEAKS_S + WORDS_S
                await asyncio.sleep(ends - self._loop.time())
                return ends
            case "web":
                reply = await person._ask("POST", "/api/opt-out")
                assert reply is not None
                assert reply.status == 204
            case "sms":
                url = f"{PUBLIC_URL}/twilio/sms"
                fields = {
                    "AccountSid": ACCOUNT.sid, "From": person.phone, "To": ACCOUNT.sender, "Body": "Stop",
                    "MessageSid": "SM" + "1" * 32,
                }  # fmt: skip
                headers = {
                    "content-type": "application/x-www-form-urlencoded",
                    "x-twilio-signature": RequestValidator(ACCOUNT.auth_token).compute_signature(url, fields),
                }
                assert node.door is not None
                reply = await node.door.ask("POST", url, headers, urlencode(fields).encode())
                assert reply.status == 200
        return began

    async def _refused(self, person: Person, node: Node) -> float:
        """When this node first says that it rings the number no more. Before that the call that is on is in the way."""
        asking = Person(
            0, draw=Random("person"), network=self.network, door=lambda: node.door, grant=self._grant,
            purchase=self._purchase, utc=self.utc, note=self.note,
        )  # fmt: skip
        asking._token = person._token
        while True:
            reply = await asking._ask("POST", "/api/calls", {"persona_id": "brad"})
            assert reply is not None
            assert reply.status in {403, 409}, reply.body
            if reply.json()["code"] == "opted_out":
                return self._loop.time()
            await asyncio.sleep(TICK_S)


@pytest.mark.parametrize("how", ["key", "voice", "sms", "web"])
def test_a28_nothing_rings_on_any_node_a_second_later(how: How, migrated: Path) -> None:
    measured: dict[str, float] = {}
    simulate(1, replace(CALM, nodes=2), migrated, partial(Wanting, how=how, measured=measured))
    assert measured.pop("rings after") < 0
    assert measured.pop("ends") <= ENDS_WITHIN_S
    assert len(measured) == 2
    assert max(measured.values()) <= WITHIN_S, measured
