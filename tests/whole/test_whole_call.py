"""From a request for a callback to closed books, through every interface there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import (
    Answer,
    Busy,
    HangUp,
    Interrupt,
    Machine,
    NoAnswer,
    Reject,
    Script,
    Silence,
    Speak,
    Vanish,
)
from pipeline.core.money import parse_usd
from pipeline.replay import replay
from tests.whole.rig import SPEED, Person, World, run, serving

BROKEN_SOCKET = 31903

CALLERS = Path("server/callers")
HELLO = read_wav(CALLERS / "hello.wav")
INTERVIEW = read_wav(CALLERS / "interview.wav")
INTERRUPT = read_wav(CALLERS / "interrupt.wav")

TALK = Script(
    Answer(500), (Speak(HELLO, 700), Speak(INTERVIEW, 700), Interrupt(INTERRUPT, 600)), Machine("human")
)


def play(
    data_dir: Path,
    story: Callable[[World], Awaitable[None]],
    *,
    breaks: bool = False,
    speed: float = SPEED,
    **more: Any,
) -> None:
    async def main() -> None:
        async with serving(data_dir, **more) as world:
            await story(world)
            assert await world.breaches() == []
            assert {alert.code for alert in world.carrier.alerts} <= {BROKEN_SOCKET}
            assert not world.carrier.alerts or breaks

    run(main(), speed)


@pytest.mark.parametrize("through_twilio", [False, True], ids=["simulated", "twilio"])
def test_a_budget_of_two_minutes_warns_says_goodbye_and_ends_with_exact_books(
    tmp_path: Path, through_twilio: bool
) -> None:
    async def story(world: World) -> None:
        person = await world.person(TALK)
        budget = await person.ask("PUT", "/api/budget", {"per_call_usd": "0.0900"})
        assert budget.status == 200, budget
        call_id = await person.call(context="a test")
        events = await person.follow(call_id)
        kinds = [kind for _, kind, _ in events]
        assert kinds[-1] == "ended"
        assert kinds.count("warning") == 1
        assert [number for number, _, _ in events] == sorted({number for number, _, _ in events})
        statuses = [data["status"] for _, kind, data in events if kind == "status"]
        # The carrier's word of one may come after the call is past it already, and is no news then.
        rungs = ["queued", "initiated", "ringing", "in-progress", "completed"]
        assert statuses == [rung for rung in rungs if rung in statuses]
        assert {"queued", "in-progress", "completed"} <= set(statuses)

        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "budget")
        assert 105 <= call["duration_seconds"] <= 120
        costs = (await person.ask("GET", f"/api/calls/{call_id}/costs")).body
        assert costs["total_usd"] == call["total_usd"]
        assert costs["held_usd"] == "0.00"
        total = parse_usd(costs["total_usd"])
        assert total == sum(parse_usd(line["usd"]) for line in costs["lines"])
        assert total == sum(parse_usd(second["usd"]) for second in costs["per_second"])
        assert total <= parse_usd("0.09")
        credits = (await person.ask("GET", "/api/credits")).body
        assert parse_usd(credits["balance_usd"]) == parse_usd("5") - total

        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        agent = [turn["text"] for turn in turns if turn["role"] == "agent"]
        assert "automated" in agent[0]
        assert any("about a minute left" in text for text in agent)
        assert "goodbye" in agent[-1]
        assert any(turn["interrupted"] for turn in turns)
        assert replay(world.journal(call_id)).exact
        warned = next(data for _, kind, data in events if kind == "warning")
        assert 55 <= warned["seconds_left"] <= 60

    play(tmp_path, story, idle_prompt_ms=60_000, through_twilio=through_twilio, local_prices="list")


def test_a_stream_is_kept_alive_while_nothing_happens_and_tells_the_end_as_the_call_does(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        person = await world.person(Script(Answer(14_000), (Silence(9_000), HangUp())))
        call_id = await person.call()
        headers = {"Authorization": f"Bearer {person.token}"}
        async with world.http.get(f"/api/calls/{call_id}/events", headers=headers) as answer:
            stream = await answer.text()
        silent, _, talking = stream.partition('data: {"status":"in-progress"}')
        assert ": still here" in silent
        assert talking.count("event: cost") >= 4
        assert ": still here" not in talking

        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        told = json.loads(stream.rsplit("data: ", 1)[1])
        assert told.keys() == {"status", "end_reason", "duration_seconds", "total_usd"}
        assert told == {name: call[name] for name in told}

    play(tmp_path, story, speed=4.0)  # a stall of half a second would count as five quiet ones at 10 x


def test_where_the_carrier_rings_nobody_is_said_at_the_start(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(TALK)
        await person.follow(await person.call(max_minutes=1))

    with capture_logs() as said:
        play(tmp_path, story, through_twilio=True, operator_country=("US", "GB"))
    assert [line["countries"] for line in said if line["event"].startswith("carrier_r")] == [["GB"]]


@pytest.mark.parametrize("through_twilio", [False, True], ids=["simulated", "twilio"])
def test_hanging_up_by_rest_ends_the_leg_at_the_carrier(tmp_path: Path, through_twilio: bool) -> None:
    async def story(world: World) -> None:
        person = await world.person(TALK)
        call_id = await person.call()
        await person.follow(call_id, until=lambda kind, data: kind == "turn" and "text" in data)
        assert (await person.ask("POST", f"/api/calls/{call_id}/hangup")).status in (200, 202)
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "user_hung_up")
        assert world.phone_call().status == "completed"

    play(tmp_path, story, through_twilio=through_twilio)


@pytest.mark.parametrize(
    ("acts", "reason"),
    [
        pytest.param((Speak(HELLO, 700), HangUp()), "caller_hung_up", id="the caller hangs up"),
        pytest.param(
            (Speak(HELLO, 700), Vanish(), Silence(4_000), HangUp()),
            "caller_hung_up",
            id="the media socket breaks",
        ),
    ],
)
def test_the_other_side_ends_the_call(
    tmp_path: Path, acts: tuple[Speak | HangUp | Vanish | Silence, ...], reason: str
) -> None:
    async def story(world: World) -> None:
        person = await world.person(Script(Answer(500), acts))
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", reason)
        assert parse_usd(call["total_usd"]) > 0
        said = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        again = [turn["text"] for turn in said if "the line dropped" in turn["text"]]
        assert len(again) == any(isinstance(act, Vanish) for act in acts), "the same call goes on"
        assert replay(world.journal(call_id)).exact

    play(tmp_path, story, breaks=any(isinstance(act, Vanish) for act in acts))


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param(Script(Busy(300)), "busy", id="busy"),
        pytest.param(Script(Reject(300)), "busy", id="rejected"),
        pytest.param(Script(NoAnswer()), "no-answer", id="nobody answers"),
    ],
)
def test_a_call_nobody_took_costs_nothing_and_holds_nothing(
    tmp_path: Path, script: Script, status: str
) -> None:
    async def story(world: World) -> None:
        person = await world.person(script)
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert call["status"] in (status, "no-answer")
        assert (call["end_reason"], call["total_usd"]) == (None, "0.00")
        credits = (await person.ask("GET", "/api/credits")).body
        assert (credits["balance_usd"], credits["held_usd"]) == ("5.00", "0.00")

    play(tmp_path, story, ring_seconds=5)


def test_an_answering_machine_gets_a_message_and_a_fax_none(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for kind, reason in (("machine_end_beep", "voicemail"), ("fax", "fax")):
            person = await world.person(Script(Answer(500), (), Machine(kind, 1_500)))
            call_id = await person.call()
            await person.follow(call_id)
            call = (await person.ask("GET", f"/api/calls/{call_id}")).body
            assert call["end_reason"] == reason

    play(tmp_path, story)


def test_a42_twenty_requests_with_one_idempotency_key_ring_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(Script(Busy(300)))
        body = {"persona_id": "brad", "channel": "phone"}
        key = {"Idempotency-Key": "only-once"}
        answers = await asyncio.gather(*(person.ask("POST", "/api/calls", body, key) for _ in range(20)))
        assert {answer.status for answer in answers} == {202}
        assert len({answer.body["id"] for answer in answers}) == 1
        await person.follow(answers[0].body["id"])
        assert len(world.carrier.calls) == 1
        other = await person.ask("POST", "/api/calls", {**body, "context": "another"}, key)
        assert (other.status, other.body["code"]) == (409, "idempotency_conflict")

    play(tmp_path, story)


def test_ten_requests_at_once_on_one_phone_ring_it_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(Script(Busy(2_000)))
        body = {"persona_id": "brad", "channel": "phone"}
        answers = await asyncio.gather(*(person.ask("POST", "/api/calls", body) for _ in range(10)))
        placed = [answer for answer in answers if answer.status == 202]
        assert len(placed) == 1
        assert {a.body["code"] for a in answers if a.status != 202} == {"call_in_progress"}
        await person.follow(placed[0].body["id"])
        assert len(world.carrier.calls) == 1

    play(tmp_path, story)


def test_without_money_a_verified_phone_or_a_persona_nothing_rings(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        poor = await world.person(TALK, credit_usd=0)
        strange = await world.person(TALK, verified=False)
        frugal = await world.person(TALK)
        await frugal.ask("PUT", "/api/budget", {"per_call_usd": "0.01"})
        asked: tuple[tuple[Person, dict[str, str], int, str], ...] = (
            (poor, {}, 402, "insufficient_credit"),
            (frugal, {}, 402, "budget_exhausted"),
            (strange, {}, 403, "phone_not_verified"),
            (frugal, {"persona_id": "nobody"}, 404, "not_found"),
            (frugal, {"scenario_id": "0" * 32}, 404, "not_found"),
            (frugal, {"phone": "+12025550199"}, 422, "invalid_request"),
        )
        for person, more, status, code in asked:
            body = {"persona_id": "sarah", "channel": "phone", **more}
            answer = await person.ask("POST", "/api/calls", body)
            assert (answer.status, answer.body["code"]) == (status, code)
        assert not world.carrier.calls

    play(tmp_path, story)


def test_calls_at_once_are_each_told_and_billed_alone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        people = [await world.person(Script(Answer(500), (Speak(HELLO, 700), HangUp()))) for _ in range(5)]
        ids = await asyncio.gather(*(person.call() for person in people))
        stories = await asyncio.gather(*(p.follow(i) for p, i in zip(people, ids, strict=True)))
        assert all(events[-1][1] == "ended" for events in stories)
        for person, call_id in zip(people, ids, strict=True):
            assert replay(world.journal(call_id)).exact
            foreign = next(other for other in ids if other != call_id)
            assert (await person.ask("GET", f"/api/calls/{foreign}")).status == 404

    play(tmp_path, story)
