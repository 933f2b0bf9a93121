"""Whatever people, schedules and hand-edited rows do, no phone rings that should not. An oracle of its own decides.

The oracle knows the numbers by heart and counts for itself; it shares no code with the guard. It is asked both ways:
at each dial, which it must allow, and at each refusal, which it must have expected.

The ways are an order, a schedule, its retries, a call back, a call that goes on, and rows edited by hand. The model has
none: its one tool ends the call. The walks at the end lead to each control by the same rules, so that every mistake in
one is noticed every time (`scripts/mutants.toml`), and not only by a long search.

Long because oracle, walks and the ways to a telephone are read together.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import settings as profile
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import text

from pipeline.carriers.base import DialOrder, Leg
from pipeline.core.guard import Permit
from pipeline.core.money import Nanos
from server.calls.live import open_desk
from server.inbound.call_back import CallBack
from server.parts import State
from server.schedules.due import Scheduler
from storage import ledger, pricing, users
from storage.pricing import Rate
from tests.server.rig import NOON, LoopClock, Person, RecordingCarrier, Rig, running, settings

T = TypeVar("T")

SOAK = bool(os.environ.get("CALLMEBACK_SOAK"))
ZONES = {
    "+12025550142": "America/New_York",
    "+12125550199": "America/New_York",
    "+14155550123": "America/Los_Angeles",
}
"""All numbers of the test that may be rung, and where they are."""
NEVER = ("+18765550142", "+19002345678", "+18002345678", "+447400123456", "+882161234567", "+911", "nonsense")
"""Jamaica, premium, toll-free, abroad, a satellite, an emergency, none at all."""
HOMES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo")
REFUSALS = {
    "phone_not_verified", "not_allowed_number", "opted_out", "quiet_hours", "rate_limited", "call_in_progress",
}  # fmt: skip
EVERYDAY = {
    "stt_engine": ("scripted",), "llm_engine": ("scripted",), "tts_engine": ("scripted",),
    "quiet_hours": "21:00-08:00", "dials_per_number_hourly": 3, "dials_per_number_daily": 4,
    "dials_per_user_hourly": 4, "dial_gap_seconds": 60, "max_calls_per_user": 2,
    "codes_per_number": 20, "codes_per_number_daily": 100, "codes_per_user": 100,
}  # fmt: skip


@dataclass
class Dialled:
    call: str
    user: str
    number: str
    at: datetime
    sid: str


@dataclass
class Exchange(RecordingCarrier):
    """A carrier that has the oracle look at every dial."""

    oracle: Oracle | None = None
    rung: dict[str, Dialled] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        leg = await super().dial(order, permit)
        assert self.oracle is not None
        call = parse_qs(urlsplit(order.answer_url).query)["call"][0]
        await self.oracle.dialled(call, order.to, leg.sid)
        self.news.set()
        return leg


class Standing(LoopClock):
    """The time of day moves only when it is moved, the timers of calls as the loop does."""

    def utc(self) -> datetime:
        return NOON + self._moved


@dataclass
class Oracle:
    rig: Rig
    opted_out: set[str] = field(default_factory=set)
    log: list[Dialled] = field(default_factory=list)
    live: dict[str, Dialled] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    price: str = "usual"

    async def dialled(self, call: str, number: str, sid: str) -> None:
        async with self.rig.parts.database.read() as tx:
            user = (
                await tx.execute(text("SELECT user_id FROM calls WHERE id = :id"), {"id": call})
            ).scalar_one()
        if (why := await self.forbids(user)) or number not in ZONES:
            self.wrong.append(f"{number} rang although: {why}")
        done = Dialled(call, user, number, self.rig.clock.utc(), sid)
        self.log.append(done)
        self.live[call] = done

    async def forbids(self, user_id: str) -> str:
        """Why this person's phone may not ring now; "" when it may."""
        now = self.rig.clock.utc()
        query = text("SELECT phone_e164, phone_verified_at, timezone, quiet_hours FROM users WHERE id = :id")
        async with self.rig.parts.database.read() as tx:
            number, proved, home, own = (await tx.execute(query, {"id": user_id})).one()
        if number not in ZONES or proved is None:
            return "no number of theirs"
        if number in self.opted_out:
            return "opted out"
        if self.price in {"none", "too dear"}:
            return f"price: {self.price}"
        last = max((done.at for done in self.log if done.user == user_id), default=None)
        used = max(datetime.fromisoformat(f"{proved}+00:00"), last or datetime.min.replace(tzinfo=now.tzinfo))
        if now - used > timedelta(days=180):
            return "proved too long ago"
        begins, ends = (own or "21:00-08:00").split("-") if own != "off" else ("", "")
        for zone in (ZONES[number], home):
            clock = now.astimezone(ZoneInfo(zone)).strftime("%H:%M")
            if begins and (clock >= begins or clock < ends if begins > ends else begins <= clock < ends):
                return f"night in {zone}"
        return self._too_often(user_id, number, now)

    def _too_often(self, user_id: str, number: str, now: datetime) -> str:
        def ago(done: Dialled) -> float:
            return (now - done.at).total_seconds()

        to_it = [ago(done) for done in self.log if done.number == number]
        mine = [ago(done) for done in self.log if done.user == user_id]
        busy = [done for done in self.live.values() if done.number == number]
        counts = {
            "it rings already": len(busy) >= 1,
            "two calls": sum(done.user == user_id for done in self.live.values()) >= 2,
            "a minute": any(seconds < 60 for seconds in to_it),
            "an hour": sum(seconds < 3600 for seconds in to_it) >= 3,
            "a day": sum(seconds < 86_400 for seconds in to_it) >= 4,
            "their hour": sum(seconds < 3600 for seconds in mine) >= 4,
        }
        return next((why for why, true in counts.items() if true), "")


class WhoIsRung(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.leave = asyncio.Event()
        self.people: list[Person] = []
        self.rings_in = 0

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        found = self.runner.run(story)
        assert self.oracle.wrong == []
        return found

    @initialize(homes=st.tuples(*[st.sampled_from(HOMES)] * 3))
    def begin(self, homes: tuple[str, str, str]) -> None:
        self.runner.run(self._begin(homes))

    async def _serve(self, ready: asyncio.Event) -> None:
        """The server has a task of its own, as the rules run in one each."""
        with tempfile.TemporaryDirectory() as folder:
            given = settings(Path(folder), **EVERYDAY)
            async with running(given, open_desk, self.carrier, Standing()) as self.rig:
                ready.set()
                await self.leave.wait()

    async def _begin(self, homes: tuple[str, str, str]) -> None:
        self.carrier, ready = Exchange(), asyncio.Event()
        self.serving = asyncio.get_running_loop().create_task(self._serve(ready))
        await ready.wait()
        # The server's own scheduler looks when it likes, and so takes no part; ours is stepped.
        self.rig.parts.state = State.DRAINING
        self.rig.clock.move(5 * 3600)  # noon in New York
        self.oracle = self.carrier.oracle = Oracle(self.rig)
        for number, (home, phone) in enumerate(zip(homes, ZONES, strict=True)):
            person = await self.rig.register(f"p{number}@example.com", timezone=home)
            await person.verify_phone(phone)
            async with self.rig.parts.database.write() as tx:
                await ledger.grant(
                    tx, user_id=person.id, amount=Nanos(10**12), kind="grant", idem_key=person.id,
                    now=self.rig.clock.utc(),
                )  # fmt: skip
            self.people.append(person)
        self.scheduler = Scheduler(
            database=self.rig.parts.database, clock=self.rig.clock, desk=self.rig.parts.desk, node="by hand",
            calls_per_second=100, taking=lambda: True,
        )  # fmt: skip

    # -- the ways to the telephone -------------------------------------------------------

    @rule(who=st.integers(0, 2))
    def order(self, who: int) -> None:
        self.run(self._order(self.people[who]))

    async def _order(self, person: Person) -> None:
        why = await self.oracle.forbids(person.id)
        answer = await person.post("/api/calls", {"persona_id": "brad", "channel": "phone"})
        if answer.status_code == 202:
            await self._rings(answer.json()["id"])
        else:
            assert answer.json()["code"] in REFUSALS, answer.text
            assert answer.json()["reason"]
        assert (answer.status_code == 202) is (not why), (why, answer.text)

    async def _rings(self, call: str) -> None:
        async with asyncio.timeout(60):
            while all(done.call != call for done in self.oracle.log):
                self.carrier.news.clear()
                await self.carrier.news.wait()

    @rule(who=st.integers(0, 2), after_s=st.integers(1, 4000), retries=st.integers(0, 2))
    def schedule(self, who: int, after_s: int, retries: int) -> None:
        at = (self.rig.clock.utc() + timedelta(seconds=after_s)).isoformat()
        body = {"persona_id": "brad", "at": at, "retries": retries, "retry_minutes": 5}
        self.run(self.people[who].post("/api/scheduled-calls", body))

    @rule(who=st.integers(0, 2))
    def call_back(self, who: int) -> None:
        """They rang, proved who they are, and would rather be rung."""
        self.run(self._call_back(self.people[who]))

    async def _call_back(self, person: Person) -> None:
        why, rung = await self.oracle.forbids(person.id), len(self.oracle.log)
        self.rings_in += 1
        asked = self.rig.clock.utc().isoformat()
        job = {"user": person.id, "sid": f"CA{self.rings_in}", "asked": asked}
        await CallBack(self.rig.parts.database, self.rig.clock, self.rig.parts.desk)(job)
        await self._all_ring()
        assert (len(self.oracle.log) > rung) is (not why), why

    @rule()
    def schedules_come_due(self) -> None:
        self.run(self._step())

    async def _step(self) -> None:
        for _ in range(6):
            waits = await self.scheduler.step() > 0
            await self._all_ring()
            if waits:
                return

    async def _all_ring(self) -> None:
        """Before the time of day is moved: what was placed rings a moment later, in a task of its own."""
        async with asyncio.timeout(60):
            while self.rig.parts.desk.live_calls > len(self.oracle.live):
                self.carrier.news.clear()
                await self.carrier.news.wait()

    @rule(status=st.sampled_from(["completed", "busy", "no-answer", "failed"]))
    def a_call_ends(self, status: str) -> None:
        if self.oracle.live:
            self.run(self._end(next(iter(self.oracle.live.values())), status))

    async def _end(self, done: Dialled, status: str) -> None:
        await self.rig.parts.desk.status(done.sid, done.call, status, 0, 9)  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while self.rig.parts.desk.live_calls >= len(self.oracle.live):
                await self.rig.http.get("/readyz")  # which asks the database, and so lets others run
        del self.oracle.live[done.call]

    @rule(who=st.integers(0, 2), tries=st.integers(1, 3), wait_s=st.sampled_from([299, 300, 4000]))
    def nobody_picks_up(self, who: int, tries: int, wait_s: int) -> None:
        """A schedule that is due now and is tried again, each time after a while in which anything may pass."""
        self.schedule(who, 1, 2)
        self.time_passes(1)
        for _ in range(tries):
            self.schedules_come_due()
            self.a_call_ends("no-answer")
            self.time_passes(wait_s)
            self.schedules_come_due()

    @rule(which=st.integers(0, 50), other=st.integers(0, 50))
    def the_carrier_asks(self, which: int, other: int) -> None:
        """Its webhooks again, of calls that are on and of calls long over, with their own leg or another's."""
        if self.oracle.log:
            log = self.oracle.log
            self.run(self._asked(log[which % len(log)], log[other % len(log)].sid))

    async def _asked(self, done: Dialled, sid: str) -> None:
        rung, desk = len(self.oracle.log), self.rig.parts.desk
        going_on = done.call in self.oracle.live and done.sid == sid
        token = await desk.resumed(done.call, sid)  # type: ignore[attr-defined]
        assert (token is not None) is going_on, "only a call that is on goes on"
        if going_on:  # with another socket, which nobody brings
            await self._end(done, "completed")
        else:
            assert await desk.answered(done.call, sid) is None  # type: ignore[attr-defined]
            await desk.status(sid, done.call, "ringing", None, 1)  # type: ignore[attr-defined]
        assert len(self.oracle.log) == rung, "going on rings nobody"

    # -- what changes ----------------------------------------------------------------------

    @rule(seconds=st.one_of(st.integers(1, 120), st.integers(1800, 30_000), st.just(181 * 86_400)))
    def time_passes(self, seconds: int) -> None:
        self.rig.clock.move(seconds)
        self.run(self._log_in_again())

    async def _log_in_again(self) -> None:
        for person in self.people:
            async with self.rig.parts.database.read() as tx:
                user = await users.by_id(tx, person.id)
            assert user is not None
            person.token = self.rig.parts.tokens.issue(user).token

    @rule(who=st.integers(0, 2), number=st.sampled_from(sorted(ZONES)))
    def verify(self, who: int, number: str) -> None:
        self.run(self._verify(self.people[who], number))

    async def _verify(self, person: Person, number: str) -> None:
        self.rig.clock.move(1)
        if (await person.post("/api/me/phone", {"phone": number})).status_code != 202:
            return
        done = await person.post("/api/me/phone/verify", {"code": self.carrier.last_code()})
        assert done.status_code == 200
        person.token = done.json()["token"] or person.token
        self.oracle.opted_out.discard(number)

    @rule(who=st.integers(0, 2), number=st.sampled_from(NEVER))
    def ask_for_a_code_to(self, who: int, number: str) -> None:
        before = len(self.carrier.sms)
        answer = self.run(self.people[who].post("/api/me/phone", {"phone": number}))
        assert answer.status_code in {403, 422, 429}
        assert len(self.carrier.sms) == before

    @rule(number=st.sampled_from(sorted(ZONES)), how=st.sampled_from(["sms", "web", "key"]))
    def opt_out(self, number: str, how: str) -> None:
        self.oracle.opted_out.add(number)
        self.run(self._opt_out(number, how))

    async def _opt_out(self, number: str, how: str) -> None:
        await self.rig.parts.desk.opt_out(number, how)
        ending = [done for done in self.oracle.live.values() if done.number == number]
        for done in ending:
            await self._end(done, "canceled")

    @rule(who=st.integers(0, 2), span=st.sampled_from([None, "off", "23:00-06:00", "09:00-17:00"]))
    def own_quiet_hours(self, who: int, span: str | None) -> None:
        answer = self.run(self.people[who].ask("PATCH", "/api/me", {"quiet_hours": span}))
        assert answer.status_code in {200, 403}

    @rule(who=st.integers(0, 2), home=st.sampled_from(HOMES))
    def moves(self, who: int, home: str) -> None:
        self.run(self.people[who].ask("PATCH", "/api/me", {"timezone": home}))

    @rule(who=st.integers(0, 2), number=st.sampled_from(NEVER))
    def edited_row(self, who: int, number: str) -> None:
        self.run(
            self._sql(
                "UPDATE users SET phone_e164 = :x WHERE id = :id"
                " AND NOT EXISTS (SELECT 1 FROM users WHERE phone_e164 = :x)",  # which the table refuses
                x=number,
                id=self.people[who].id,
            )
        )

    @rule(price=st.sampled_from(["usual", "usual", "none", "too dear", "everywhere"]))
    def prices(self, price: str) -> None:
        """What the carrier asks for the numbers of the test: nothing known, too much, or known abroad as well."""
        self.run(self._prices(price))

    async def _prices(self, price: str) -> None:
        row = "WHERE service = 'carrier' AND model = 'twilio'"
        until = "effective_from" if price == "none" else "NULL"
        await self._sql(f"UPDATE pricing SET effective_to = {until} {row}")
        nano = 70_000_000 if price == "too dear" else 14_000_000  # the operator allows 50
        await self._sql(f"UPDATE pricing SET price_nano = {nano} {row}")
        if price == "everywhere":
            rates = [
                Rate(abroad, Nanos(14_000_000), "contract", NOON.date()) for abroad in ("JM", "GB", "+8")
            ]
            async with self.rig.parts.database.write() as tx:
                await pricing.set_rates(tx, "twilio", rates, self.rig.clock.utc())
        self.oracle.price = price

    @rule(who=st.integers(0, 2))
    def edited_schedules(self, who: int) -> None:
        """Everything that was ever scheduled is due again, and all of it one person's."""
        self.run(
            self._sql(
                "UPDATE scheduled_calls SET status = 'pending', user_id = :id, due_at = :now, attempt = attempt + 1",
                id=self.people[who].id, now=self.rig.clock.utc().strftime("%Y-%m-%d %H:%M:%S.%f"),
            )
        )  # fmt: skip

    async def _sql(self, statement: str, **values: str) -> None:
        async with self.rig.parts.database.write() as tx:
            await tx.execute(text(statement), values)

    def teardown(self) -> None:
        try:
            self.runner.run(self._leave())
        finally:
            self.runner.close()

    async def _leave(self) -> None:
        for done in list(self.oracle.live.values()):
            await self._end(done, "canceled")
        self.leave.set()
        await self.serving


TestWhoIsRung = WhoIsRung.TestCase
TestWhoIsRung.settings = profile(
    max_examples=200 if SOAK else 5, stateful_step_count=50 if SOAK else 30, deadline=None
)


# -- walks -------------------------------------------------------------------------------

Walk = Callable[[WhoIsRung], None]
NEW_YORK, TOKYO = "America/New_York", "Asia/Tokyo"


def _rung(state: WhoIsRung, times: int, apart_s: int) -> None:
    """Somebody is rung so often, each call over before the next."""
    for _ in range(times):
        state.order(0)
        state.a_call_ends("completed")
        state.time_passes(apart_s)


def _opted_out(state: WhoIsRung) -> None:
    state.opt_out("+12025550142", "sms")
    state.order(0)
    state.call_back(0)


def _stale(state: WhoIsRung) -> None:
    state.time_passes(181 * 86_400)
    state.order(0)


def _country(state: WhoIsRung) -> None:
    state.prices("everywhere")
    state.own_quiet_hours(0, "off")  # where such numbers are it may be night
    for number in NEVER:
        state.edited_row(0, number)
        state.order(0)


def _too_dear(state: WhoIsRung) -> None:
    state.prices("too dear")
    state.order(0)


def _unpriced(state: WhoIsRung) -> None:
    state.prices("none")
    state.order(0)


def _unverified(state: WhoIsRung) -> None:
    state.verify(1, "+12025550142")
    state.order(0)
    state.order(1)


def _night_at_the_phone(state: WhoIsRung) -> None:
    """Eleven in the evening in New York, one in the afternoon in Tokyo."""
    state.moves(0, TOKYO)
    state.time_passes(11 * 3600)
    state.order(0)


def _night_at_home(state: WhoIsRung) -> None:
    state.moves(0, TOKYO)
    state.order(0)


def _own_quiet_hours(state: WhoIsRung) -> None:
    state.own_quiet_hours(0, "09:00-17:00")
    state.order(0)


def _at_once(state: WhoIsRung) -> None:
    _rung(state, 1, 59)
    state.order(0)
    state.time_passes(1)
    state.order(0)


def _busy(state: WhoIsRung) -> None:
    state.order(0)
    state.time_passes(61)
    state.order(0)


def _two_calls(state: WhoIsRung) -> None:
    for number in ("+12025550142", "+12125550199", "+14155550123"):
        state.verify(0, number)
        state.order(0)


def _hourly(state: WhoIsRung) -> None:
    _rung(state, 4, 61)


def _daily(state: WhoIsRung) -> None:
    _rung(state, 5, 3601)


def _their_hour(state: WhoIsRung) -> None:
    _rung(state, 2, 61)
    state.verify(0, "+12125550199")
    _rung(state, 3, 61)


def _retried(state: WhoIsRung) -> None:
    state.schedule(0, 1, 2)
    state.time_passes(1)
    state.schedules_come_due()
    state.a_call_ends("no-answer")
    state.opt_out("+12025550142", "key")
    state.time_passes(300)
    state.schedules_come_due()
    state.edited_schedules(0)
    state.schedules_come_due()


@pytest.mark.parametrize(
    "walk",
    [
        _opted_out, _stale, _country, _too_dear, _unpriced, _unverified, _night_at_the_phone, _night_at_home,
        _own_quiet_hours, _at_once, _busy, _two_calls, _hourly, _daily, _their_hour, _retried,
    ],
    ids=lambda it: it.__name__,
)  # fmt: skip
def test_each_control_is_met_on_a_walk(walk: Walk) -> None:
    state = WhoIsRung()
    try:
        state.begin((NEW_YORK, NEW_YORK, NEW_YORK))
        walk(state)
    finally:
        state.teardown()
