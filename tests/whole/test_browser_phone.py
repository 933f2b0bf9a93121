"""Calls in the browser: a page's socket on the real server, and who is kept off it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import NoAnswer, Script
from pipeline.clock import Clock
from server.calls.casting import NO_MORE
from storage import opt_outs
from tests.whole.rig import Person, World, run, serving

FRAME = 160
FRAME_S = 0.02
SILENCE = b"\xff" * FRAME
HELLO = read_wav(Path("server/callers/hello.wav"))


@dataclass
class Page:
    """A browser that plays whatever it gets at the speed of sound, and says so."""

    socket: aiohttp.ClientWebSocketResponse
    clock: Clock
    heard: bytearray = field(default_factory=bytearray)
    cleared: int = 0

    async def listen(self) -> None:
        """Until the socket closes."""
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                chunk, sound = int.from_bytes(message.data[:4], "big"), message.data[4:]
                self.heard += sound
                await asyncio.sleep(len(sound) / 8000)
                await self.tell(played=chunk)
            elif message.type is aiohttp.WSMsgType.TEXT:
                assert json.loads(message.data) == {"clear": True}
                self.cleared += 1

    async def tell(self, **said: object) -> None:
        if not self.socket.closed:
            await self.socket.send_str(json.dumps(said))

    async def speak(self, sound: bytes) -> None:
        begun = self.clock.seconds()
        for start in range(0, len(sound) - FRAME + 1, FRAME):
            await self.socket.send_bytes(sound[start : start + FRAME])
            await asyncio.sleep(begun + (start // FRAME + 1) * FRAME_S - self.clock.seconds())

    async def wait(self, seconds: float) -> None:
        await self.speak(SILENCE * round(seconds / FRAME_S))


async def ticket_of(person: Person, call_id: str) -> str:
    answer = await person.ask("POST", f"/api/calls/{call_id}/ticket")
    assert answer.status == 201, answer
    assert answer.body["url"] == person.world.settings.public_url.replace("http", "ws") + "/browser/media"
    return str(answer.body["ticket"])


@asynccontextmanager
async def on_the_line(world: World, ticket: str) -> AsyncIterator[Page]:
    async with opened(world) as socket:
        page = Page(socket, world.clock)
        await page.tell(ticket=ticket)
        listening = asyncio.create_task(page.listen())
        yield page
        await socket.close()
        await listening


@asynccontextmanager
async def opened(world: World, origin: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    headers = {"origin": world.settings.public_url if origin is None else origin}
    async with world.http.ws_connect("/browser/media", headers=headers) as socket:
        yield socket


async def ended(person: Person, call_id: str) -> dict[str, Any]:
    await person.follow(call_id)
    return dict((await person.ask("GET", f"/api/calls/{call_id}")).body)


def play(data_dir: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving(data_dir) as world:
            await story(world)
            assert await world.breaches() == []

    run(main())


def test_a_conversation_in_the_browser_is_heard_priced_and_kept(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser", context="a test")
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(5)
            await page.speak(HELLO)
            await page.wait(5)
            await page.tell(bye=True)
            call = await ended(person, call_id)
        assert (call["status"], call["end_reason"], call["channel"]) == (
            "completed", "caller_hung_up", "browser",
        )  # fmt: skip
        assert 10 <= call["duration_seconds"] <= 16
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        assert [turn["role"] for turn in turns] == ["agent", "caller", "agent"]
        assert len(page.heard) > 8000
        lines = (await person.ask("GET", f"/api/calls/{call_id}/costs")).body["lines"]
        assert {line["service"] for line in lines} == {"stt", "llm", "tts"}, "no carrier carries it"
        assert (await person.ask("GET", "/api/credits")).body["held_usd"] == "0.00"

    play(tmp_path, story)


def test_no_page_comes_and_the_call_is_given_up_for_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call = await ended(person, await person.call(channel="browser"))
        assert (call["status"], call["total_usd"], call["answered_at"]) == ("canceled", "0.00", None)

    play(tmp_path, story)


def test_a_hang_up_over_rest_closes_the_page(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser")
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(1)
            assert (await person.ask("POST", f"/api/calls/{call_id}/hangup")).status == 202
            call = await ended(person, call_id)
            assert call["end_reason"] == "user_hung_up"
        assert page.socket.close_code == 1000
        late = await person.ask("POST", f"/api/calls/{call_id}/ticket")
        assert late.status == 409

    play(tmp_path, story)


@pytest.mark.parametrize("verified", [True, False])
def test_nine_is_never_again_also_in_the_browser(tmp_path: Path, verified: bool) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=verified)
        call_id = await person.call(channel="browser")
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(4)
            await page.tell(digit="9")
            with suppress(ConnectionResetError):  # once the confirmation was heard it is hung up
                await page.wait(20)
            assert (await ended(person, call_id))["end_reason"] == "opted_out"
        async with world.parts.database.read() as tx:
            assert await opt_outs.has(tx, person.phone) is verified
        refused = await person.ask("POST", "/api/calls", {"persona_id": "brad"})
        reason = "opted_out" if verified else "unverified"
        assert (refused.status, refused.body["reason"]) == (403, reason)
        told = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"][-1]["text"]
        assert told == NO_MORE["their phone" if verified else "nothing"]

    play(tmp_path, story)


# -- who is kept off (A36) --------------------------------------------------------------


def test_a36_a_foreign_page_is_turned_away_before_it_is_let_in(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for origin in ("", "null", "https://evil.example", world.settings.public_url + ".evil.example"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with opened(world, origin):
                    pass
            assert refused.value.status == 403

    play(tmp_path, story)


def test_a36_a_ticket_lets_one_page_in_once_and_not_for_long(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser")
        ticket = await ticket_of(person, call_id)
        late = await ticket_of(person, call_id)

        async def tries(text: object) -> int | None:
            async with opened(world) as socket:
                await socket.send_str(json.dumps({"ticket": text}))
                while (await socket.receive()).type not in {
                    aiohttp.WSMsgType.CLOSE,
                    aiohttp.WSMsgType.CLOSED,
                }:
                    if text == ticket:
                        await asyncio.sleep(1)
                        await socket.close()
                return socket.close_code

        codes = await asyncio.gather(*(tries(ticket) for _ in range(8)))
        assert sorted(codes, key=str).count(1008) == 7, codes
        for wrong in ("x", "", 7, ticket[:-1]):
            assert await tries(wrong) == 1008
        await asyncio.sleep(31)
        assert await tries(late) == 1008

    play(tmp_path, story)


def test_a36_a_stranger_gets_no_ticket_and_silence_ends_a_socket(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person, other = await world.person(_nobody(), verified=False), await world.person(_nobody())
        call_id = await person.call(channel="browser")
        assert (await other.ask("POST", f"/api/calls/{call_id}/ticket")).status == 404
        begun = world.clock.seconds()
        async with opened(world) as socket:
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1008
        assert world.clock.seconds() - begun < 7

    play(tmp_path, story)


def test_a13_logging_out_ends_the_page_s_call(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser")
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(1)
            assert (await person.ask("POST", "/api/auth/logout")).status == 204
            with pytest.raises(ConnectionResetError):
                await page.wait(10)
            assert page.socket.close_code == 1008

    play(tmp_path, story)


def _nobody() -> Any:
    """Whoever's phone it is, it does not ring."""

    return Script(NoAnswer(), ())
