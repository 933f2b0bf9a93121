"""What becomes of a call when the carrier's REST interface misbehaves. Nobody is ever dialled twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Script, Speak
from tests.twilio.emulator import Emulator, Mishap
from tests.whole.rig import World, run, serving

HELLO = read_wav(Path("server/callers/hello.wav"))
TALK = Script(Answer(500), (Speak(HELLO, 700), HangUp()))


def play(data_dir: Path, story: Callable[[World, Emulator], Awaitable[None]]) -> None:
    async def main() -> None:
        # Half as fast as elsewhere: a lost answer is waited for as long as the carrier's time-out.
        async with serving(data_dir, through_twilio=True) as world:
            assert world.emulator is not None
            await story(world, world.emulator)
            assert await world.breaches() == []

    run(main(), speed=6.0)


@pytest.mark.parametrize("mishap", [Mishap.TOO_MANY, Mishap.LOST, Mishap.BROKEN, Mishap.GARBAGE])
def test_a_dial_whose_answer_goes_wrong_still_becomes_one_call(tmp_path: Path, mishap: Mishap) -> None:
    async def story(world: World, emulator: Emulator) -> None:
        person = await world.person(TALK)
        emulator.mishaps.append(mishap)
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "caller_hung_up")
        assert len(world.carrier.calls) == 1

    play(tmp_path, story)


def test_a_number_the_carrier_refuses_is_a_failed_call_that_costs_nothing(tmp_path: Path) -> None:
    async def story(world: World, emulator: Emulator) -> None:
        person = await world.person(TALK)
        emulator.verdict = (400, 21211, "The 'To' number is not a valid phone number.")
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"], call["total_usd"]) == ("failed", None, "0.00")
        assert (await person.ask("GET", "/api/credits")).body["held_usd"] == "0.00"
        assert not world.carrier.calls

    play(tmp_path, story)


def test_a_hang_up_the_carrier_loses_once_is_asked_again(tmp_path: Path) -> None:
    async def story(world: World, emulator: Emulator) -> None:
        person = await world.person(Script(Answer(500)))
        call_id = await person.call()
        await person.follow(call_id, until=lambda kind, data: kind == "turn" and "text" in data)
        emulator.mishaps.append(Mishap.TOO_MANY)
        await person.ask("POST", f"/api/calls/{call_id}/hangup")
        await person.follow(call_id)
        assert world.phone_call().status == "completed"

    play(tmp_path, story)


@pytest.mark.parametrize("lags", [2, 1_000], ids=["listed late", "never listed"])
def test_a_call_whose_dial_was_lost_is_adopted_and_nothing_else_rings_that_phone(
    tmp_path: Path, lags: int
) -> None:
    async def story(world: World, emulator: Emulator) -> None:
        person = await world.person(Script(Answer(4_000), (Speak(HELLO, 700), HangUp())))
        emulator.mishaps.append(Mishap.LOST)
        emulator.list_lags = lags
        call_id = await person.call()
        second = await person.ask("POST", "/api/calls", {"persona_id": "sarah", "channel": "phone"})
        assert (second.status, second.body["code"]) == (409, "call_in_progress")
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "caller_hung_up")
        assert len(world.carrier.calls) == 1

    play(tmp_path, story)


def test_a_call_is_not_over_for_readers_before_its_end_is_accounted_for(tmp_path: Path) -> None:
    async def story(world: World, emulator: Emulator) -> None:
        person = await world.person(TALK)
        call_id = await person.call()
        while (call := (await person.ask("GET", f"/api/calls/{call_id}")).body)["status"] != "completed":
            assert call["end_reason"] is None
        assert call["end_reason"] == "caller_hung_up"
        assert call["total_usd"] != "0.00"

    play(tmp_path, story)


def test_a_lost_last_callback_is_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        def delivery(event: str, sequence: int) -> tuple[float, ...]:
            return () if event == "completed" else (0.0,)

        async with serving(tmp_path, delivery=delivery, through_twilio=True, local_prices="list") as world:
            person = await world.person(TALK)
            call_id = await person.call()
            await person.follow(call_id)
            call = (await person.ask("GET", f"/api/calls/{call_id}")).body
            assert call["status"] == "completed"
            assert call["duration_seconds"] == world.phone_call().leg.seconds
            assert await world.breaches() == []

    run(main(), speed=6.0)
