"""Sound from one node to the conductor of its call and back: order, ends, bounds, and who is let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from pipeline.core.errors import BadStream
from pipeline.core.terms import EndReason
from pipeline.ports import Line
from server.nodes.outbox import MOST_BYTES, Outbox
from server.nodes.passes import LIFE_S, Passes
from server.nodes.relay import HEARD, PATH, RelayedCall, Relays
from server.routes.relay import relay_routes
from tests.server.rig import ManualClock
from tests.twilio.rig import free_socket, serving

RING = (b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210")
CALL = "call-1"


@dataclass
class Heard:
    """A live call that remembers what it was told, and a line that remembers what it was given."""

    told: list[object] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _note(self, what: object) -> None:
        self.told.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[list[object]], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition(self.told):
                self.changed.clear()
                await self.changed.wait()

    # as a call
    def hear(self, mulaw: bytes) -> None:
        self._note(mulaw)

    def played(self, chunk: int) -> None:
        self._note(chunk)

    def pressed(self, digit: str) -> None:
        self._note(digit)

    def dropped(self, reason: EndReason) -> None:
        self._note(reason)

    def broken(self) -> None:
        self._note("broken")

    def ask_hang_up(self, reason: EndReason) -> None:
        self._note(("asked", reason))

    # as a line
    def play(self, chunk: int, mulaw: bytes) -> None:
        self._note((chunk, mulaw))

    def clear(self) -> None:
        self._note("clear")

    async def close(self) -> None:
        self._note("closed")


@dataclass
class Conductor:
    """The node that conducts the call: one call, which takes one line."""

    url: str
    passes: Passes
    call: Heard = field(default_factory=Heard)
    lines: list[Line] = field(default_factory=list)

    def join(self, call_id: str, line: Line) -> Heard:
        if call_id != CALL or self.lines:
            raise BadStream("not here")
        self.lines.append(line)
        return self.call


@dataclass
class _Parts:
    desk: Conductor


@asynccontextmanager
async def conductor(clock: ManualClock) -> AsyncIterator[Conductor]:
    listening, url = free_socket()
    there = Conductor(url, Passes(RING, "a", clock))
    app = Starlette(routes=relay_routes())
    app.state.parts = _Parts(there)
    async with serving(app, listening):
        yield there


@dataclass
class Pair:
    there: Conductor
    relays: Relays
    relayed: RelayedCall
    line: Heard


@asynccontextmanager
async def relayed(ring: tuple[bytes, ...] = RING) -> AsyncIterator[Pair]:
    clock = ManualClock()
    async with conductor(clock) as there, asyncio.TaskGroup() as tasks:
        relays, line = Relays(Passes(ring, "b", clock), tasks), Heard()
        call = await relays.open(there.url, "a", CALL, "stream-1", line)
        yield Pair(there, relays, call, line)
        relays.abandon()


async def test_what_the_caller_does_arrives_in_order() -> None:
    async with relayed() as pair:
        call = pair.relayed
        call.hear(b"\xff" * 160)
        call.played(7)
        call.hear(b"\x00h" * 80)
        call.pressed("#")
        call.played(2**40)
        call.dropped(EndReason.BAD_STREAM)
        await pair.there.call.until(lambda told: EndReason.BAD_STREAM in told)
    assert pair.there.call.told == [b"\xff" * 160, 7, b"\x00h" * 80, "#", 2**40, EndReason.BAD_STREAM]


async def test_sound_clear_and_the_end_come_back_in_order() -> None:
    async with relayed() as pair:
        (line,) = pair.there.lines
        line.play(1, b"one")
        line.play(2, b"")
        line.clear()
        line.play(2**40, b"three")
        await line.close()
        await pair.line.until(lambda told: "closed" in told)
        await pair.relays.drain(60)
    assert pair.there.call.told == [], "it brought the end about itself"
    assert pair.line.told == [(1, b"one"), (2, b""), "clear", (2**40, b"three"), "closed"]
    assert pair.there.call.told == [], "it ended the socket itself"
    assert len(pair.relays) == 0


async def test_a_conductor_that_is_gone_closes_the_carriers_socket() -> None:
    """What follows in the carrier's document can then take the call up."""
    clock = ManualClock()
    line = Heard()
    async with asyncio.TaskGroup() as tasks:
        async with conductor(clock) as there:
            relays = Relays(Passes(RING, "b", clock), tasks)
            await relays.open(there.url, "a", CALL, "stream-1", line)
        await line.until(lambda told: told == ["closed"])
        with pytest.raises(BadStream):
            await relays.open(there.url, "a", CALL, "stream-2", Heard())


async def test_a_socket_that_broke_there_may_be_followed_by_another() -> None:
    async with relayed() as pair:
        pair.relayed.hear(b"one")
        pair.relayed.broken()
        await pair.there.call.until(lambda told: told == [b"one", "broken"])


async def test_a_relaying_node_that_dies_is_a_socket_that_broke() -> None:
    """The carrier, or the page, may come back by another node."""
    async with relayed() as pair:
        pair.relays.abandon()
        await pair.there.call.until(lambda told: told == ["broken"])


async def test_a_node_that_stops_lets_calls_go_on_then_has_them_say_goodbye() -> None:
    async with relayed() as pair, asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(pair.relays.drain(60))
        pair.relayed.hear(b"still here")
        await pair.there.call.until(lambda told: told == [b"still here"])
        assert not draining.done()
        pair.relays.hurry()
        await pair.there.call.until(lambda told: told[1:] == [("asked", EndReason.DRAINED)])
        await pair.there.lines[0].close()
        await draining
        assert len(pair.relays) == 0


async def test_nobody_waits_where_there_is_no_relay() -> None:
    async with asyncio.TaskGroup() as tasks:
        relays = Relays(Passes(RING, "b", ManualClock()), tasks)
        await relays.drain(60)


# -- who is let in ---------------------------------------------------------------------


async def knock(url: str, header: str | None) -> ClientConnection:
    headers = {} if header is None else {"Authorization": header}
    return await connect(url.replace("http", "ws") + PATH, additional_headers=headers, proxy=None)


async def refused(url: str, header: str | None) -> int:
    try:
        opened = await knock(url, header)
    except InvalidStatus as error:
        return error.response.status_code
    await opened.close()
    return 101


async def test_only_a_pass_for_this_node_and_call_opens_and_only_once() -> None:
    clock = ManualClock()
    async with conductor(clock) as there:
        ours, strangers = Passes(RING, "b", clock), Passes((b"x" * 32,), "b", clock)
        good = ours.issue("a", CALL, "stream-1")
        forged = {
            "none": None,
            "a user's token": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
            "another key": strangers.issue("a", CALL, "s"),
            "another node": ours.issue("c", CALL, "s"),
            "another scheme": good.replace("Relay ", "Bearer "),
            "another text": good.replace("Relay ", "Relay A"),
            "no signature": good.rpartition(".")[0],
            "letters of other scripts": "Relay ü.é",
            "long": "Relay " + "a" * 4_000 + ".b",
        }
        for name, header in forged.items():
            assert await refused(there.url, None if header is None else header) == 403, name
        assert there.call.told == []
        assert there.lines == []
        elsewhere = ours.issue("a", "call-2", "stream-9")
        assert await refused(there.url, elsewhere) == 403
        opened = await knock(there.url, good)
        await opened.send(HEARD + b"sound")
        await there.call.until(lambda told: told == [b"sound"])
        assert await refused(there.url, good) == 403, "used"
        assert await refused(there.url, ours.issue("a", CALL, "stream-1")) == 403, "the stream has its socket"
        await opened.close()


def test_a_pass_is_good_for_half_a_minute() -> None:
    clock = ManualClock()
    passes = Passes(RING, "a", clock)
    early, late = (Passes(RING, "b", clock).issue("a", CALL, name) for name in ("s1", "s2"))
    clock.move(LIFE_S - 1)
    assert passes.redeem(early).call_id == CALL
    clock.move(2)
    with pytest.raises(BadStream):
        passes.redeem(late)


def test_a_pass_is_used_up() -> None:
    clock = ManualClock()
    passes, given = Passes(RING, "a", clock), Passes(RING, "b", clock).issue("a", CALL, "s")
    passes.redeem(given)
    with pytest.raises(BadStream, match="used"):
        passes.redeem(given)


def test_a_rotated_key_still_opens() -> None:
    clock = ManualClock()
    old = Passes(RING[1:], "b", clock).issue("a", CALL, "s")
    assert Passes(RING, "a", clock).redeem(old).stream == "s"
    with pytest.raises(BadStream):
        Passes(RING[:1], "a", clock).redeem(old)


# -- what waits to be sent -------------------------------------------------------------


async def test_a_node_that_does_not_keep_up_ends_the_relay_and_holds_no_memory() -> None:
    box = Outbox()
    for _ in range(2 * MOST_BYTES // 160):
        box.put(b"x" * 160)
    sent: list[bytes] = []

    async def send(message: bytes) -> None:
        sent.append(message)

    with pytest.raises(BadStream):
        await box.drain(send)
    await box.left()
    assert sum(map(len, sent)) == 0


async def test_what_was_put_before_the_end_is_sent_and_nothing_after_it() -> None:
    box, sent = Outbox(), list[bytes]()

    async def send(message: bytes) -> None:
        sent.append(message)

    box.put(b"1")
    box.finish()
    box.put(b"2")
    await box.drain(send)
    await box.left()
    assert sent == [b"1"]
