"""The carrier's questions about calls that come in, over HTTP with the real desk; nobody talks.

Long because it has every way through the menu.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx
import pytest
from sqlalchemy import text

from pipeline.core.money import parse_usd
from server.calls.live import open_desk
from server.inbound import replies
from server.inbound.call_back import CallBack
from server.nodes.anywhere import Anywhere
from server.signatures import sign
from storage import calls, strangers
from storage.audit import audit
from storage.records import CallRow
from tests.server.rig import PHONE, LoopClock, Person, Rig, running, settings
from tests.server.test_admin import promoted
from tests.server.test_placing import SCRIPTED, Committing, ready
from tests.storage.world import migrated

PIN = "271828"
STRANGER, OTHER, THIRD = "+12025550171", "+12025550172", "+12025550173"
ORIGIN = "http://127.0.0.1:8000"


@asynccontextmanager
async def serving(data_dir: Path, **more: object) -> AsyncIterator[Rig]:
    async with running(settings(data_dir, **SCRIPTED, **more), open_desk, clock=LoopClock()) as rig:
        try:
            yield rig
        finally:
            rig.parts.desk.hurry()
            await rig.parts.desk.drain(0)


class Caller:
    """One call from this number, as the carrier tells of it."""

    count = 0

    def __init__(self, rig: Rig, number: str, token: str = "token") -> None:
        Caller.count += 1
        self.sid = f"CA{Caller.count:032x}"
        self._rig, self._number, self._token = rig, number, token

    async def post(self, path: str, **more: str) -> httpx.Response:
        fields = {
            "CallSid": self.sid, "AccountSid": "AC" + "0" * 32, "From": self._number, "To": "+12025550100",
            "CallStatus": "ringing", "Direction": "inbound", **more,
        }  # fmt: skip
        return await self._rig.http.post(
            path,
            content=urlencode(fields),
            headers={
                "content-type": "application/x-www-form-urlencoded",
                "x-twilio-signature": sign(self._token, ORIGIN + path, list(fields.items())),
            },
        )

    async def rings(self) -> list[str]:
        """The verbs of the answer, with what is said."""
        return verbs(await self.post("/twilio/voice"))

    async def keys(self, digits: str = "") -> list[str]:
        return verbs(await self.post("/twilio/pin", **({"Digits": digits} if digits else {})))

    async def row(self) -> CallRow | None:
        async with self._rig.parts.database.read() as tx:
            return await calls.by_sid(tx, self.sid)


def verbs(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer
    found = []
    for verb in ElementTree.fromstring(answer.text):
        said = " ".join(each.text or "" for each in verb.iter("Say"))
        found.append(" ".join(filter(None, [verb.tag, verb.get("reason"), said])))
    return found


CONNECTED = ["Connect", "Pause", "Redirect", "Hangup"]
WRONG = [f"Gather {replies.WRONG}", "Redirect"]
NOT_NOW = [f"Say {replies.NOT_NOW}", "Hangup"]
REJECTED, BUSY = ["Reject rejected"], ["Reject busy"]


def full(rig: Rig) -> list[str]:
    return [f"Gather {replies.welcome(rig.parts.settings, full=True).words}", "Redirect"]


async def with_pin(rig: Rig) -> Person:
    ann = await ready(rig)
    assert (await ann.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})).status_code == 200
    return ann


async def test_everybody_is_answered_in_the_same_words(tmp_path: Path) -> None:
    """Whoever forges a number does not even learn whether it is a user's."""
    async with serving(tmp_path) as rig:
        await with_pin(rig)
        answers = [
            await Caller(rig, number).rings() for number in (PHONE, STRANGER, "anonymous", "+266696687")
        ]
        assert answers == [[f"Gather {replies.welcome(rig.parts.settings).words}", "Redirect"]] * 4
        assert [await Caller(rig, number).keys("000000") for number in (PHONE, STRANGER)] == [
            [f"Say {replies.LOST}", "Hangup"]
        ] * 2, "a menu nobody was asked"


async def test_a_drain_waits_for_a_caller_who_is_being_put_through(tmp_path: Path) -> None:
    """Else the call would begin while the server stops."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)
    database = Committing(url)
    async with (
        aclosing(database),
        running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock(), database=database) as rig,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        caller = Caller(rig, STRANGER)
        await caller.rings()
        keying = tasks.create_task(caller.keys())
        await database.placed.wait()
        assert isinstance(rig.parts.desk, Anywhere)
        desk = rig.parts.desk._desk
        draining = tasks.create_task(desk.drain(0.1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        early = draining.done()
        database.go.set()
        assert await keying == CONNECTED
        await draining
        assert not early
        assert desk.live_calls == 0


async def test_a_number_alone_makes_a_stranger_and_the_pin_a_user(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        forged, hers = Caller(rig, PHONE), Caller(rig, PHONE)
        for caller, keyed in ((forged, ""), (hers, PIN)):
            await caller.rings()
            assert await caller.keys(keyed) == CONNECTED
        one, two = await forged.row(), await hers.row()
        assert one is not None
        assert two is not None
        assert (one.user_id, two.user_id) == (strangers.ACCOUNT, ann.id)
        assert {one.direction, two.direction} == {"inbound"}
        assert (one.status, one.max_minutes, two.max_minutes) == ("in-progress", 3, 12)
        # A stranger who says it is their phone does not keep it busy; its owner does.
        async with rig.parts.database.read() as tx:
            assert await calls.count_live_to(tx, PHONE) == 1


async def test_three_wrong_guesses_a_call_and_ten_a_day(tmp_path: Path) -> None:
    async with serving(tmp_path, inbound_trials_daily=100, inbound_trials_at_once=100) as rig:
        ann = await with_pin(rig)
        for _ in range(3):
            caller = Caller(rig, PHONE)
            await caller.rings()
            assert [await caller.keys("111222"), await caller.keys("not a pin"), await caller.keys("3*")] == [
                WRONG, WRONG, CONNECTED,
            ]  # fmt: skip
        caller = Caller(rig, PHONE)
        await caller.rings()
        assert await caller.keys("999999") == WRONG
        assert await caller.keys(PIN) == WRONG, "the eleventh guess of a day is not looked at, right or not"
        await caller.keys()
        row = await caller.row()
        assert row is not None
        assert row.user_id == strangers.ACCOUNT
        # Another PIN begins anew, and a right one is no guess.
        assert (await ann.ask("PUT", "/api/me/inbound-pin", {"pin": "314159"})).status_code == 200
        for _ in range(11):
            caller = Caller(rig, PHONE)
            await caller.rings()
            answer = await caller.keys("314159")
            assert answer in (CONNECTED, [f"Say {replies.TOO_MANY}", "Hangup"])


async def test_a_pin_that_was_removed_or_whose_number_was_lost_opens_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        assert (await ann.ask("DELETE", "/api/me/inbound-pin")).json()["inbound_pin"] is False
        caller = Caller(rig, PHONE)
        await caller.rings()
        assert await caller.keys(PIN) == WRONG
        assert (await ann.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})).json()["inbound_pin"] is True
        bob = await rig.register("bob@example.com")
        await bob.verify_phone(PHONE)
        assert await caller.keys(PIN) == WRONG, "the number is another person's now"


@pytest.mark.parametrize(
    "pin", ["12345", "12345678901", "000000", "123456", "987654", "1234567890", "12a456", ""]
)
async def test_pins_that_are_tried_first_are_refused(rig: Rig, pin: str) -> None:
    ann = await rig.register()
    answer = await ann.ask("PUT", "/api/me/inbound-pin", {"pin": pin})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "pin")
    assert not pin or pin not in answer.text


async def test_a_pin_needs_a_number_and_is_kept_as_a_hash(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path) as rig:
        ann = await rig.register()
        refused = await ann.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})
        assert (refused.status_code, refused.json()["code"]) == (403, "phone_not_verified")
        await ann.verify_phone(PHONE)
        shown = await ann.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})
        caller = Caller(rig, PHONE)
        await caller.rings()
        await caller.keys(PIN)
        async with rig.parts.database.read() as tx:
            stored = (
                await tx.execute(text("SELECT inbound_pin_hash FROM users WHERE id = :id"), {"id": ann.id})
            ).scalar_one()
        assert stored.startswith("$2b$")
        exported = (await ann.get("/api/me/export")).text
        assert stored not in exported
        assert PIN not in shown.text + exported
    assert PIN not in "".join(capfd.readouterr())


async def test_who_is_not_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        admin = await promoted(rig)
        path = "/api/admin/inbound-blocks"
        blocked = await admin.post(path, {"phone": "+1 (202) 555-0171", "blocked": True})
        assert blocked.json() == {"phone": STRANGER, "blocked": True}
        assert (await admin.post(path, {"phone": "withheld", "blocked": True})).json()["blocked"] is True
        assert await Caller(rig, STRANGER).rings() == REJECTED
        assert await Caller(rig, "+266696687").rings() == REJECTED
        assert (await Caller(rig, OTHER).rings())[0].startswith("Gather")
        assert (await admin.post(path, {"phone": STRANGER, "blocked": False})).json()["blocked"] is False
        assert (await admin.post(path, {"phone": STRANGER})).json()["blocked"] is False
        assert (await Caller(rig, STRANGER).rings())[0].startswith("Gather")
        log = (await admin.get("/api/admin/overview")).json()["log"]
        assert [each["subject"] for each in log] == ["number ending in 71", "withheld", "number ending in 71"]


@pytest.mark.parametrize(
    ("who", "stranger", "user"), [("off", REJECTED, REJECTED), ("users", REJECTED, CONNECTED)]
)
async def test_the_operator_says_who_is_answered(
    tmp_path: Path, who: str, stranger: list[str], user: list[str]
) -> None:
    async with serving(tmp_path, inbound_calls=who) as rig:
        await with_pin(rig)
        assert await Caller(rig, STRANGER).rings() == stranger
        caller = Caller(rig, PHONE)
        first = await caller.rings()
        assert (first if who == "off" else await caller.keys(PIN)) == user
        if who == "users":
            caller = Caller(rig, PHONE)
            await caller.rings()
            assert await caller.keys() == [f"Say {replies.NO_STRANGERS}", "Hangup"]


async def test_strangers_are_few_at_a_time_and_a_number_is_answered_few_times(tmp_path: Path) -> None:
    async with serving(tmp_path, inbound_trials_at_once=2, inbound_trials_daily=1) as rig:
        one, two, three = Caller(rig, STRANGER), Caller(rig, OTHER), Caller(rig, THIRD)
        for caller in (one, two, three):
            await caller.rings()
        assert [await caller.keys() for caller in (one, two, three)] == [CONNECTED, CONNECTED, NOT_NOW]
        again = Caller(rig, THIRD)
        assert await again.rings() == full(rig)
        assert await again.keys() == NOT_NOW
        assert await Caller(rig, STRANGER).rings() == REJECTED
        async with rig.parts.database.read() as tx:
            assert await calls.count_live(tx, strangers.ACCOUNT) == 2


async def test_when_all_lines_are_busy_a_pin_and_a_star_have_its_user_rung_back(tmp_path: Path) -> None:
    async with serving(tmp_path, max_live_calls=1) as rig:
        ann = await with_pin(rig)
        talking, early, late = Caller(rig, STRANGER), Caller(rig, PHONE), Caller(rig, PHONE)
        await early.rings()
        await talking.rings()
        assert await talking.keys() == CONNECTED
        # Whoever rang while there was room hears of it when they are to be put through.
        assert await early.keys(PIN) == [f"Gather {replies.FULL}", "Redirect"]
        assert await late.rings() == await late.rings() == full(rig)
        assert await late.keys("111222*") == WRONG
        assert await late.keys(f"{PIN}*") == [f"Say {replies.RUNG_BACK}", "Hangup"]
        async with rig.parts.database.read() as tx:
            [payload] = (
                await tx.execute(text("SELECT payload FROM jobs WHERE kind = 'call_back'"))
            ).scalars()
        wish, job = json.loads(payload), CallBack(rig.parts.database, rig.clock, rig.parts.desk)
        assert wish["user"] == ann.id
        assert await job(wish) is not None, "no line is free yet"
        row = await talking.row()
        assert row is not None
        await rig.parts.desk.hang_up(strangers.ACCOUNT, row.id)
        async with asyncio.timeout(60):
            while await job(wish) is not None:
                pass
        async with rig.parts.database.read() as tx:
            out = await tx.execute(text("SELECT user_id, phone_e164 FROM calls WHERE direction = 'outbound'"))
            assert [tuple(each) for each in out] == [(ann.id, PHONE)]


async def test_strangers_hear_the_same_while_all_lines_are_busy_and_get_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, max_live_calls=1) as rig:
        await with_pin(rig)
        talking = Caller(rig, STRANGER)
        await talking.rings()
        assert await talking.keys() == CONNECTED
        forged, stranger = Caller(rig, PHONE), Caller(rig, OTHER)
        assert [await forged.rings(), await stranger.rings()] == [full(rig)] * 2
        assert [await forged.keys(), await stranger.keys()] == [NOT_NOW] * 2
        async with rig.parts.database.read() as tx:
            assert (
                await tx.execute(text("SELECT COUNT(*) FROM jobs WHERE kind = 'call_back'"))
            ).scalar_one() == 0


async def test_no_more_than_ten_are_told_that_all_lines_are_busy(tmp_path: Path) -> None:
    async with serving(tmp_path, max_live_calls=1) as rig:
        talking = Caller(rig, STRANGER)
        await talking.rings()
        assert await talking.keys() == CONNECTED
        for number in range(10):
            assert await Caller(rig, f"+120255501{number:02d}").rings() == full(rig)
        assert await Caller(rig, OTHER).rings() == BUSY


async def test_what_was_left_when_they_rang_is_asked_again_when_they_are_put_through(tmp_path: Path) -> None:
    async with serving(tmp_path, inbound_trials_daily=1) as rig:
        both = [Caller(rig, STRANGER), Caller(rig, STRANGER)]
        assert [(await caller.rings())[0][:6] for caller in both] == ["Gather", "Gather"]
        assert [await caller.keys() for caller in both] == [CONNECTED, NOT_NOW]


async def test_what_strangers_cost_in_a_day_is_bounded_menus_included(tmp_path: Path) -> None:
    """A trial needs four cents; each menu that nobody leaves costs a minute of the line."""
    async with serving(tmp_path, inbound_daily_usd="0.06", local_prices="list") as rig:
        for number in (STRANGER, OTHER):
            assert (await Caller(rig, number).rings())[0].startswith("Gather")
        assert await Caller(rig, THIRD).rings() == REJECTED
        async with rig.parts.database.read() as tx:
            left = await strangers.left_today(tx, parse_usd("0.06"), rig.clock.utc())
            assert left == parse_usd("0.06")


async def test_the_carrier_may_ask_everything_twice(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        await with_pin(rig)
        caller = Caller(rig, PHONE)
        assert await caller.rings() == await caller.rings()
        assert await caller.keys(PIN) == CONNECTED
        assert await caller.keys(PIN) == CONNECTED
        assert await caller.rings() == CONNECTED
        async with rig.parts.database.read() as tx:
            assert (await tx.execute(text("SELECT COUNT(*) FROM calls"))).scalar_one() == 1


async def test_a_user_without_credit_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await rig.register()
        await ann.verify_phone(PHONE)
        await ann.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})
        caller = Caller(rig, PHONE)
        await caller.rings()
        assert await caller.keys(PIN) == [f"Say {replies.NO_MONEY}", "Hangup"]
        assert await caller.row() is None


async def test_a_question_that_is_not_the_carrier_s_is_not_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        forger = Caller(rig, PHONE, token="another token")
        for path in ("/twilio/voice", "/twilio/pin"):
            assert (await forger.post(path)).status_code == 403
        async with rig.parts.database.read() as tx:
            assert (await tx.execute(text("SELECT COUNT(*) FROM inbound_rings"))).scalar_one() == 0


async def test_an_opted_out_number_may_ring_but_is_not_rung_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        assert (await ann.post("/api/opt-out")).status_code == 204
        caller = Caller(rig, PHONE)
        await caller.rings()
        assert await caller.keys(PIN) == CONNECTED
        back = Caller(rig, PHONE)
        await back.rings()
        assert await back.keys(f"{PIN}*") == [f"Say {replies.RUNG_BACK}", "Hangup"]
        refused = await ann.post("/api/calls", {"persona_id": "brad", "channel": "phone"})
        assert refused.json()["code"] == "opted_out"


async def test_strangers_at_the_same_moment_queue_for_what_is_left(tmp_path: Path, postgres_url: str) -> None:
    async with serving(tmp_path, database_url=postgres_url, inbound_trials_at_once=2) as rig:
        callers = [Caller(rig, f"+120255501{number}") for number in range(71, 76)]
        for caller in callers:
            await caller.rings()
        answers = await asyncio.gather(*(caller.keys() for caller in callers))
        assert sorted(first for first, *_ in answers) == ["Connect"] * 2 + [NOT_NOW[0]] * 3
        async with rig.parts.database.read() as tx:
            assert (await audit(tx)).breaches == []
