"""The money of whole calls: core, flush and ledger together, a virtual second at a time, on a real database.

`Books` plays the clock, the phone and the application around one story; a question of the core's is answered by the
flush of that second, or by nobody while the database is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import NANOS_PER_USD, Nanos
from pipeline.core.phases import Phase
from pipeline.core.terms import EndReason
from pipeline.journal_file import JournalFile
from server.calls.outside import Outside
from server.money.admission import Admissions
from server.money.flush import Account, Flush
from server.news import News
from server.parts import PlaceCall
from storage import calls, ledger, users
from storage.db import Database, DatabaseDown, Tx, database_url
from storage.records import Budget, Final, Grant, User
from tests.core.story import ANSWERED, Story
from tests.server.rig import ManualClock, RecordingCarrier, settings
from tests.storage.world import NUMBER_KEY, audited, person, rows
from tests.whole.rig import scripted

ORDER = PlaceCall("brad", None, "", None, "phone")
CENT = NANOS_PER_USD // 100


class Flaky(Database):
    """A real database that may be away, or keep to itself what came of a COMMIT."""

    away = False
    silent = False

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Tx]:
        if self.away:
            raise DatabaseDown("away", retryable=True)
        async with super().write(urgent=urgent) as tx:
            yield tx
        if self.silent:
            raise DatabaseDown("no answer to COMMIT", retryable=True)


@dataclass
class Telling:
    """One call: its story, its account, and what the flush tells it."""

    story: Story
    account: Account
    outside: Outside
    talks: bool = True
    told: int = 0
    fenced: bool = False
    grants: list[Grant] = field(default_factory=list)

    def fence(self) -> None:
        self.fenced = True

    def disk_lost(self, error: OSError) -> None:
        raise error

    def granted(self, grant: Grant) -> None:
        self.grants.append(grant)
        margin = self.account.margin
        held, reach = Nanos(grant.held - margin), Nanos(grant.reach - margin)
        self.story.post(lambda at: ev.AllowanceChanged(at, held, reach, grant.binds, grant.warn_used))

    def talk(self) -> None:
        """Every few seconds the caller says something and is answered."""
        if self.talks and self.second % 9 == 5 and self.story.phase() is Phase.LISTENING:
            self.story.reply("It was a long and sunny day by the sea. ", "We talked for hours.")
            self.story.say("Tell me more about it, please.")

    @property
    def second(self) -> int:
        return (self.story.now - ANSWERED) // 1000

    def spoken(self, text: str) -> int:
        return self.story.when_said(text) // 1000


@dataclass
class Books:
    folder: Path
    database: Flaky
    clock: ManualClock
    flush: Flush
    user: User
    live: list[Telling] = field(default_factory=list)

    async def call(self, phone: str = "+12025550142") -> Telling:
        """Placed, rung, and answered."""
        patient = settings(self.folder, idle_prompt_ms=60_000)
        admitting = Admissions(patient, scripted(), self.clock, "node")
        async with self.database.write() as tx:
            await users.mark_verified(tx, self.user.id, phone, self.clock.utc())
            admitted = await admitting.admit(tx, self.user, ORDER, None)
        row = admitted.row
        account = Account(
            row.id, row.epoch, JournalFile(self.folder / f"{row.id}.journal"), row.user_id, admitted.held,
            admitted.margin,
        )  # fmt: skip
        outside = Outside(
            account, self.flush, News(), RecordingCarrier(), lambda status, seconds: None, lambda: None, 600.0,
            self.clock,
        )  # fmt: skip
        story = Story(admitted.started)
        story.bank_ms, story.voice_model = None, "scripted"
        telling = Telling(story.answer(), account, outside)
        self.flush.open(account, telling)
        self.live.append(telling)
        return telling

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            for telling in self.live:
                telling.talk()
                telling.story.run(1_000)
                for event, effects in telling.story.steps[telling.told :]:
                    telling.outside.happened(event, effects)
                telling.told = len(telling.story.steps)
            self.clock.move(1)
            await self.flush.once()

    async def end(self, telling: Telling, *, hang_up: bool = False) -> Final:
        """To the end of the call, and its books closed."""
        if hang_up:
            telling.story.carrier_done(after=100)
        while telling.story.phase() is not Phase.ENDED:
            await self.run(1)
            assert telling.second < 2_000
        ended = telling.outside.ended
        assert ended is not None
        settling = asyncio.create_task(self.flush.settle(telling.account, ended))
        while not settling.done():
            await asyncio.sleep(0)
            await self.flush.once()
        self.live.remove(telling)
        telling.account.journal.close()
        return settling.result()

    async def put(self, **limits: int | bool) -> None:
        async with self.database.write() as tx:
            await ledger.put_budget(tx, self.user.id, Budget(**limits))  # type: ignore[arg-type]

    async def pay_in(self, nano: int, key: str = "more") -> None:
        async with self.database.write() as tx:
            await ledger.grant(
                tx, user_id=self.user.id, amount=Nanos(nano), kind="grant", idem_key=key, now=self.clock.utc()
            )

    async def check(self) -> None:
        assert (await audited(self.database)).breaches == []


@pytest.fixture
def folder(migrated_sqlite: str, tmp_path: Path) -> Path:
    """With a database of one's own in it."""
    return tmp_path


@asynccontextmanager
async def books(folder: Path, credit: int, at: datetime | None = None) -> AsyncIterator[Books]:
    database = Flaky(database_url(f"sqlite:///{folder / 'test.db'}"), checkpoint=True)
    database.number_key.value = NUMBER_KEY
    clock = ManualClock() if at is None else ManualClock(at)
    async with database.write() as tx:
        user = await person(tx, credit=credit)
    try:
        yield Books(folder, database, clock, Flush(database, clock, News(), "node"), user)
    finally:
        await database.aclose()


async def test_a_call_holds_little_and_asks_for_more_and_is_cut_where_the_money_ends(folder: Path) -> None:
    async with books(folder, 9 * CENT) as world:
        call = await world.call()
        assert call.account.held < 7 * CENT
        call.talks = False
        await world.run(5)
        assert call.grants
        final = await world.end(call)
        story = call.story
        assert len(story.all(fx.Warned)) == 1
        warned, goodbye = story.times(fx.Warned)[0], story.when_said(story.start.phrases.out_of_time)
        assert 28_000 <= goodbye - warned <= 48_000
        assert final.operator == 0
        assert call.outside.ended is not None
        assert call.outside.ended.reason is EndReason.CREDIT
        # All of it was of use but the margin and less than another carrier minute.
        assert 9 * CENT - final.total < call.account.margin + 2 * CENT
        await world.check()


async def test_a_top_up_in_mid_call_is_found_and_lifts_the_end(folder: Path) -> None:
    async with books(folder, 12 * CENT) as world:
        call = await world.call()
        while not call.story.all(fx.Warned):
            await world.run(1)
        await world.pay_in(50 * CENT)
        await world.run(120)
        assert call.story.start.phrases.out_of_time not in call.story.said()
        assert len(call.story.all(fx.Warned)) == 1
        await world.end(call, hang_up=True)
        await world.check()


async def test_two_calls_share_and_the_end_of_one_is_the_gain_of_the_other(folder: Path) -> None:
    async with books(folder, 24 * CENT) as world:
        first = await world.call("+12025550142")
        await world.run(2)
        alone = first.story.call.spending.cutoff
        second = await world.call("+12025550143")
        await world.run(60)  # the first asks again meanwhile
        shared = first.story.call.spending.cutoff
        assert alone is not None
        assert shared is not None
        assert shared < alone
        one = await world.end(second, hang_up=True)
        await world.run(70)
        assert first.story.call.spending.cutoff is not None
        assert first.story.call.spending.cutoff > shared
        other = await world.end(first)
        assert one.from_user + other.from_user <= 24 * CENT
        assert (one.operator, other.operator) == (0, 0)
        await world.check()


async def test_a_database_that_stays_away_ends_the_call_within_what_it_holds(folder: Path) -> None:
    async with books(folder, NANOS_PER_USD) as world:
        call = await world.call()
        await world.run(30)
        call.talks = False
        world.database.away = True
        held = call.story.call.spending.allowance.held
        story = call.story
        while story.phase() is not Phase.ENDED:
            await world.run(1)
        assert call.outside.ended is not None
        assert call.outside.ended.reason is EndReason.ENGINE_FAILURE
        assert call.outside.ended.total <= held
        warned, goodbye = story.times(fx.Warned)[0], story.when_said(story.start.phrases.trouble)
        assert goodbye - warned >= 20_000
        world.database.away = False
        final = await world.end(call)
        assert (final.total, final.operator) == (call.outside.ended.total, 0)
        await world.check()


async def test_a_renewal_whose_answer_got_lost_is_not_taken_twice(folder: Path) -> None:
    async with books(folder, NANOS_PER_USD) as world:
        call = await world.call()
        world.database.silent = True
        await world.run(1)
        assert call.account.wanted is not None
        taken = (await rows(world.database, "SELECT amount_nano FROM credit_holds"))[0][0]
        assert taken == call.account.held + call.account.wanted
        world.database.silent = False
        await world.run(1)
        assert await rows(world.database, "SELECT amount_nano FROM credit_holds") == [(taken,)]
        assert call.account.held == taken
        await world.end(call, hang_up=True)
        await world.check()


@pytest.mark.parametrize(
    ("at", "periods"),
    [
        (datetime(2026, 11, 24, 4, 59, tzinfo=UTC), ["day:2026-11-23", "day:2026-11-24", "month:2026-11"]),
        (
            datetime(2026, 12, 1, 4, 59, tzinfo=UTC),
            ["day:2026-11-30", "day:2026-12-01", "month:2026-11", "month:2026-12"],
        ),
        # The clocks go back in New York: at 4:59 UTC the 25 hours of the first of November have begun already.
        (datetime(2026, 11, 2, 4, 59, tzinfo=UTC), ["day:2026-11-01", "day:2026-11-02", "month:2026-11"]),
    ],
)
async def test_over_midnight_a_call_draws_on_the_new_day(
    folder: Path, at: datetime, periods: list[str]
) -> None:
    """What was taken before stays where it was taken; it is spent first."""
    async with books(folder, NANOS_PER_USD, at) as world:
        await world.put(daily_nano=25 * CENT)
        call = await world.call()
        await world.run(200)
        final = await world.end(call, hang_up=True)
        found = await rows(
            world.database,
            "SELECT key, spent_nano, held_nano FROM budget_periods WHERE key NOT LIKE 'call:%' ORDER BY key",
        )
        assert [key for key, _, _ in found] == periods
        assert all(held == 0 for _, _, held in found)
        days = [int(str(spent)) for key, spent, _ in found if str(key).startswith("day:")]
        assert sum(days) == final.from_user
        assert days[0] > 0
        await world.check()


async def test_a_daily_budget_cuts_and_says_so_and_tomorrow_is_another_day(folder: Path) -> None:
    async with books(folder, NANOS_PER_USD) as world:
        await world.put(daily_nano=12 * CENT)
        call = await world.call()
        final = await world.end(call)
        assert call.outside.ended is not None
        assert call.outside.ended.reason is EndReason.BUDGET
        assert final.total <= 12 * CENT
        world.clock.move(24 * 3600)
        second = await world.call()
        assert second.story.call.spending.allowance.reach == 12 * CENT - second.account.margin
        await world.end(second, hang_up=True)
        await world.check()


async def test_a_budget_that_only_warns_warns_at_its_percentage_and_cuts_nothing(folder: Path) -> None:
    async with books(folder, NANOS_PER_USD) as world:
        await world.put(daily_nano=10 * CENT, warn_percent=50, auto_cutoff=False)
        call = await world.call()
        await world.run(150)
        assert len(call.story.all(fx.Warned)) == 1
        assert call.story.call.spending.meter.nano > 5 * CENT
        await world.run(120)
        assert call.story.call.spending.meter.nano > 10 * CENT
        await world.end(call, hang_up=True)
        assert await rows(world.database, "SELECT DISTINCT limit_nano FROM budget_periods") == [(None,)]
        await world.check()


async def test_a_limit_that_is_lowered_in_mid_call_holds_from_the_next_renewal_on(folder: Path) -> None:
    """A45: what is held already stays held, and nothing is taken beyond it."""
    async with books(folder, NANOS_PER_USD) as world:
        call = await world.call()
        await world.run(30)
        await world.put(per_call_nano=CENT)
        final = await world.end(call)
        assert call.outside.ended is not None
        assert call.outside.ended.reason is EndReason.BUDGET
        assert final.operator == 0
        assert all(grant.held == call.account.held for grant in call.grants[-2:])
        await world.check()


async def test_a45_another_time_zone_in_mid_call_gives_it_no_second_day(folder: Path) -> None:
    """Kiritimati is a day ahead: the call goes on in the day it began in."""
    async with books(folder, NANOS_PER_USD) as world:
        await world.put(daily_nano=12 * CENT)
        call = await world.call()
        await world.run(60)
        async with world.database.write() as tx:
            await tx.execute(text("UPDATE users SET timezone = 'Pacific/Kiritimati'"))
        final = await world.end(call)
        assert call.outside.ended is not None
        assert call.outside.ended.reason is EndReason.BUDGET
        assert final.total <= 12 * CENT
        days = await rows(world.database, "SELECT key, spent_nano FROM budget_periods WHERE key LIKE 'day:%'")
        assert [spent for _, spent in days] == [final.from_user]
        await world.check()


async def test_a_call_whose_hang_up_is_not_confirmed_is_noted_as_given_up(folder: Path) -> None:
    """Its answer's webhook may land on another node, which knows the row alone."""
    async with books(folder, NANOS_PER_USD) as world:
        lingering = await world.call()
        await world.run(5)
        lingering.story.carrier_speaks = False
        lingering.story.post(lambda at: ev.HangUpAsked(at, EndReason.USER_HUNG_UP))
        await world.run(2)
        given_up = f"SELECT given_up_at IS NOT NULL FROM calls WHERE id = '{lingering.account.call_id}'"
        assert await rows(world.database, given_up) == [(1,)]
        assert not lingering.account.given_up, "once is enough"
        await world.end(lingering)
        await world.check()


async def test_a_call_that_was_taken_over_gets_no_more_money(folder: Path) -> None:
    async with books(folder, NANOS_PER_USD) as world:
        call = await world.call()
        async with world.database.write() as tx:
            assert await calls.claim(tx, call.account.call_id, 1, "other") is not None
        await world.run(1)
        assert call.fenced
        assert call.grants == []
        call.account.journal.close()
