"""People who ring the server's own number: strangers, users with their PIN, and whoever forges one of theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.carriers.base import DialOrder
from pipeline.carriers.callee import Act, Answer, HangUp, NoAnswer, Press, Script, Silence, Speak
from pipeline.carriers.phonecall import PhoneCall
from pipeline.core.events import Answered, AudioQueued, DigitPressed, StreamStarted
from pipeline.core.money import parse_usd
from pipeline.engines.scripted import ScriptedThinker
from pipeline.journal_file import SUFFIX, steps
from pipeline.replay import replay
from server.inbound import replies
from server.replay_verdict import verdict
from storage import calls, ledger, opt_outs, strangers, turns
from storage.records import CallRow
from tests.whole.rig import SPEED, Person, World, scripted
from tests.whole.test_memory import CallByCall, Notebook
from tests.whole.test_whole_call import HELLO, play

PIN = "271828"
TALK: tuple[Act, ...] = (Speak(HELLO, 700), Speak(HELLO, 900), Silence(3_000), HangUp())
STAYS: tuple[Act, ...] = (Speak(HELLO, 700),)
FORGOTTEN_NUMBER = "+12025550177"


async def rings(world: World, caller: str, *keys: str | HangUp, acts: tuple[Act, ...] = TALK) -> PhoneCall:
    """One call to the server, from its first question to the carrier's last word."""
    url = world.settings.public_url
    order = DialOrder("+12025550100", "", f"{url}/twilio/voice", f"{url}/twilio/status", "", 60, 4 * 3600)
    while True:
        call = world.carrier.exchange.ring_in(caller, order, Script(acts=acts, keys=keys))
        await call.over.wait()
        told = " ".join(call.spoken)
        if call.status != "busy" and replies.FULL not in told:  # as it may be while this machine is slow
            return call


async def row_of(world: World, call: PhoneCall) -> CallRow:
    """The call's row, once its books are closed."""
    while True:
        async with world.parts.database.read() as tx:
            row = await calls.by_sid(tx, call.sid)
        assert row is not None
        if row.final_at is not None:
            return row


async def with_pin(world: World, script: Script | None = None, **more: Any) -> Person:
    person = await world.person(script or Script(Answer(500), TALK), **more)
    answer = await person.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})
    assert answer.status == 200, answer
    return person


async def _dialled(world: World) -> PhoneCall:
    """The call this server makes next."""
    while True:
        for call in world.carrier.calls.values():
            if call.direction == "outbound-api":
                return call
        await asyncio.sleep(0.2)


async def agent(world: World, row: CallRow) -> list[str]:
    """What the agent was heard to say."""
    async with world.parts.database.read() as tx:
        return [turn.text for turn in await turns.of_call(tx, row.id) if turn.role == "agent"]


@pytest.mark.parametrize("through_twilio", [False, True], ids=["simulated", "twilio"])
def test_a_stranger_has_a_trial_that_the_operator_pays(tmp_path: Path, through_twilio: bool) -> None:
    async def story(world: World) -> None:
        call = await rings(world, FORGOTTEN_NUMBER)
        assert call.status == "completed"
        [menu] = call.spoken
        assert menu.startswith("This is an automated AI line of Call Me Back. ")
        row = await row_of(world, call)
        assert (row.user_id, row.direction, row.status) == (strangers.ACCOUNT, "inbound", "completed")
        assert (row.end_reason, row.carrier_seconds) == ("caller_hung_up", call.seconds)
        assert row.created_at == row.answered_at
        async with world.parts.database.read() as tx:
            lines = {line.line: line for line in await ledger.cost_lines(tx, row.id)}
            balance = await ledger.balance(tx, strangers.ACCOUNT)
        minutes = -(-call.seconds // 60)
        assert lines["carrier:twilio-inbound:second"].quantity == 60 * minutes
        assert lines["carrier:twilio-inbound:second"].amount_nano == 8_500_000 * minutes
        assert not any(line.startswith(("amd", "carrier:twilio:")) for line in lines)
        assert balance.balance == parse_usd("1.00") - row.total_nano
        assert balance.held == 0
        assert replay(world.journal(row.id)).exact

    play(tmp_path, story, through_twilio=through_twilio, local_prices="list")


async def acquainted(person: Person) -> str:
    """They had a call, of which Brad remembers something, on a matter of their own."""
    call_id = await person.call(persona_id="brad", context="the secret wedding")
    await person.follow(call_id)
    return call_id


PRIVATE = ("Jo", "Doe", "secret", "interview", "wedding", "Tuesday")


@pytest.mark.parametrize(
    "keys", [(), ("000000#", "111111#", "9999999*#")], ids=["nothing", "wrong three times"]
)
def test_a33_a_forged_number_gets_nothing_of_its_owner(tmp_path: Path, keys: tuple[str, ...]) -> None:
    book = Notebook("fact | 4 | interview | I have a secret interview on Tuesday", "none")

    async def story(world: World) -> None:
        person = await with_pin(world)
        hers = await acquainted(person)
        asked, credit = len(book.thinker.requests), (await person.ask("GET", "/api/credits")).body
        transcript = (await person.ask("GET", f"/api/calls/{hers}/transcript")).body

        call = await rings(world, person.phone, *keys)
        row = await row_of(world, call)
        assert len(call.spoken) == max(1, len(keys))
        assert row.user_id == strangers.ACCOUNT
        prompts = list(book.thinker.requests)[asked:]
        told = " ".join(each.content for prompt in prompts for each in prompt)
        assert prompts, "the model was asked for something"
        heard = await agent(world, row)
        assert heard[0].startswith("This is an automated AI line")
        said = " ".join([*call.spoken, *heard])
        for private in PRIVATE:
            assert private not in told
            assert private not in said
            assert private not in "\n".join(world.journal(row.id))
        # Not a cent of hers, not a line in her history, not a note of what was said.
        assert (await person.ask("GET", "/api/credits")).body == credit
        assert [item["id"] for item in (await person.ask("GET", "/api/calls")).body["items"]] == [hers]
        assert (await person.ask("GET", f"/api/calls/{row.id}")).status == 404
        assert (await person.ask("GET", f"/api/calls/{hers}/transcript")).body == transcript
        assert len((await person.ask("GET", "/api/personas/brad/memories")).body["items"]) == 1
        assert book.notes == ["none"], "nothing was to be remembered of a stranger"

    play(tmp_path, story, engines=scripted(thinker=book.thinker))


def test_with_their_pin_a_user_reaches_whoever_rang_them_last(tmp_path: Path) -> None:
    book = Notebook("fact | 4 | interview | I have a secret interview on Tuesday", "none", "none")

    async def story(world: World) -> None:
        person = await with_pin(world)
        await acquainted(person)
        before = parse_usd((await person.ask("GET", "/api/credits")).body["balance_usd"])
        call = await rings(world, person.phone, f"{PIN}#", acts=(Press("9"), Speak(HELLO, 700), *TALK))
        row = await row_of(world, call)
        assert (row.user_id, row.persona_id, row.direction, row.max_minutes) == (
            person.id,
            "brad",
            "inbound",
            12,
        )
        assert call.menus == 1
        assert '"I have a secret interview on Tuesday"' in book.system_prompts()[-1]
        assert "Jo" in book.system_prompts()[-1]
        shown = (await person.ask("GET", f"/api/calls/{row.id}")).body
        assert (shown["direction"], shown["status"], shown["end_reason"]) == (
            *("inbound", "completed"), "caller_hung_up",
        )  # fmt: skip
        assert (await agent(world, row))[0].startswith("This is an automated AI line")
        after = parse_usd((await person.ask("GET", "/api/credits")).body["balance_usd"])
        assert before - after == row.total_nano > 0
        # No digit of it anywhere, and a 9 that came too late for the menu is no wish to be left alone.
        journal = world.journal(row.id)
        assert not any(PIN in line for line in journal)
        assert not any(isinstance(step.event, DigitPressed) for step in steps(journal))
        assert replay(journal).exact
        async with world.parts.database.read() as tx:
            stored = (await tx.execute(text("SELECT inbound_pin_hash FROM users"))).scalar_one()
            assert stored.startswith("$2")
            [grants] = (await tx.execute(text("SELECT COUNT(*) FROM users WHERE id = 'strangers'"))).one()
            assert grants == 0

    play(tmp_path, story, engines=scripted(thinker=book.thinker))


def test_a_missed_call_is_returned_to_whoever_rang_about_what_they_rang(tmp_path: Path) -> None:
    thinker = ScriptedThinker(["That is nice. Please tell me more."], first_ms=50, repeat=True)

    async def story(world: World) -> None:
        person = await with_pin(world, Script(NoAnswer()))
        missed = await person.call(persona_id="alex", context="ask how the move went")
        await person.follow(missed)
        row = await row_of(world, await rings(world, person.phone, f"{PIN}#"))
        assert (row.user_id, row.persona_id, row.context) == (person.id, "alex", "ask how the move went")
        assert "ask how the move went" in thinker.requests[-1][0].content

    play(tmp_path, story, engines=scripted(thinker=thinker), ring_seconds=5, remember_calls=False)


def test_a_stranger_s_trial_ends_with_a_goodbye(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        call = await rings(world, FORGOTTEN_NUMBER, acts=STAYS)
        row = await row_of(world, call)
        assert row.end_reason == "max_duration"
        assert "goodbye" in (await agent(world, row))[-1]
        # The menu is part of the minute: the call's time began with the answer.
        told = [step.event for step in steps(world.journal(row.id))]
        [answered] = [event.at for event in told if isinstance(event, Answered)]
        [connected] = [event.at for event in told if isinstance(event, StreamStarted)]
        assert answered == 0
        # Moments are the real clock's, which does not run faster with the rig's.
        assert connected >= 1000 * replies.WAIT_S / SPEED
        said = max(event.at for event in told if isinstance(event, AudioQueued))
        assert said <= 60_000

    play(tmp_path, story, inbound_trial_minutes=1, idle_prompt_ms=60_000)


def test_a_day_s_budget_for_strangers_is_spent_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await with_pin(world)
        first = await row_of(world, await rings(world, FORGOTTEN_NUMBER))
        assert 0 < first.total_nano <= parse_usd("0.04")
        async with world.parts.database.read() as tx:
            left = await strangers.left_today(tx, parse_usd("0.04"), world.clock.utc())
        assert left == parse_usd("0.04") - first.total_nano
        turned = await rings(world, "+12025550178")
        assert (turned.status, turned.spoken, turned.seconds) == ("no-answer", [], 0)
        # A number with a PIN is still asked for it; whoever has none is told goodbye.
        forged = await rings(world, person.phone, "000000#", "", "")
        assert forged.spoken[1:] == [replies.WRONG, replies.NOT_NOW]
        row = await row_of(world, await rings(world, person.phone, f"{PIN}#"))
        assert row.user_id == person.id
        async with world.parts.database.read() as tx:
            assert await calls.by_sid(tx, forged.sid) is None

    play(tmp_path, story, inbound_daily_usd="0.04", local_prices="list")


def test_who_wants_to_be_rung_back_is_on_their_own_credit(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await with_pin(world)
        call = await rings(world, person.phone, f"{PIN}*#")
        assert call.spoken[1:] == [replies.RUNG_BACK]
        rung = await _dialled(world)
        await rung.over.wait()
        assert (rung.order.to, rung.direction) == (person.phone, "outbound-api")
        row = await row_of(world, rung)
        assert (row.user_id, row.direction) == (person.id, "outbound")
        async with world.parts.database.read() as tx:
            [purpose] = (await tx.execute(text("SELECT purpose FROM dials"))).one()
        assert purpose == "call_back"

    play(tmp_path, story)


def test_a_recorded_call_that_came_in_is_repeated_with_its_sound(tmp_path: Path) -> None:
    """The time at the menu is part of the call's, but nothing of it was recorded."""

    async def story(world: World) -> None:
        row = await row_of(world, await rings(world, FORGOTTEN_NUMBER))
        found = await asyncio.to_thread(verdict, world.settings.calls_dir / f"{row.id}{SUFFIX}")
        assert (found.exact, found.level) == (True, 2), found.summary
        assert "It is recorded. " in (await agent(world, row))[0]

    play(tmp_path, story, record_calls=True)


def test_whoever_wants_no_calls_may_ring_and_a_stranger_who_wants_none_is_heeded(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await with_pin(world)
        assert (await person.ask("POST", "/api/opt-out")).status == 204
        row = await row_of(world, await rings(world, person.phone, f"{PIN}#"))
        assert (row.user_id, row.end_reason) == (person.id, "caller_hung_up")
        stranger = await row_of(world, await rings(world, FORGOTTEN_NUMBER))
        assert stranger.end_reason == "opted_out"
        async with world.parts.database.read() as tx:
            assert await opt_outs.has(tx, FORGOTTEN_NUMBER)

    heard = CallByCall(("Hello there.", "Tell me more."), ("Hello there.", "Stop calling me."))
    play(tmp_path, story, engines=scripted(transcriber=heard))


def test_a_simulated_phone_rings_when_its_owner_says_so(tmp_path: Path) -> None:
    """By hand, over REST: with the PIN as a user, from another number as a stranger."""

    async def story(world: World) -> None:
        person = await with_pin(world)
        world.phones[FORGOTTEN_NUMBER] = Script(Answer(500), TALK)
        path, seen = "/api/simulation/calls", set(world.carrier.calls)
        for body, payer in (
            ({"keys": [f"{PIN}#"]}, person.id),
            ({"phone": "+1 202 555 0177", "keys": []}, strangers.ACCOUNT),
        ):
            answer = await person.ask("POST", path, body)
            assert answer.status == 202, answer
            call = world.carrier.calls[answer.body["sid"]]
            assert call.sid not in seen
            await call.over.wait()
            assert (await row_of(world, call)).user_id == payer
        assert (await person.ask("POST", path, {"phone": "nobody"})).status == 422
        assert (await person.ask("POST", path, {"keys": ["call me"]})).status == 422

    play(tmp_path, story)
