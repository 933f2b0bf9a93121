"""The ledger against a plain model, whatever happens in whatever order, with answers lost and databases away.

Each example lives in one transaction that is rolled back; what is a transaction of the server is a savepoint in it.
A savepoint that is rolled back is a database that failed before COMMIT; one whose result is withheld, a COMMIT whose
answer got lost. After each step the invariants hold: I1 to I6 by the audit (in short runs after every fifth and at
the end), I7, I9, I11 to I13 and the model here.

Long because model and rules are one machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import PriceBook, cost
from storage import calls, ledger, pricing
from storage.audit import audit
from storage.db import Database, Tx
from storage.ids import new_id
from storage.records import Budget, Fenced, Final, Grant, NewCall, Overdrawn, User
from tests.storage.money_model import AccountModel, CallModel
from tests.storage.world import LINES, charges, completed, person, tile

T = TypeVar("T")

LEAST = 50_000_000
STARTS = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)
"""Before a midnight, a month's end and a change of the clocks, wherever the users are."""
MODELS = ("twilio", "whisper-tiny.en", "hibari", "companion")
LIMIT = st.none() | st.integers(0, 300_000_000)
MODE = st.sampled_from(["done", "done", "done", "failed", "lost"])
"""How a transaction ends: as it should, before its COMMIT, or with nobody told of it."""


class Undone(Exception):
    """An example is over."""


@dataclass
class Live:
    """A call as its node knows it; `unwritten` is in its journal."""

    model: CallModel
    user: User
    prices: PriceBook
    epoch: int = 1
    known: int = 0
    seconds: int = 0
    quantities: dict[str, int] = field(default_factory=dict)
    seq: int = 0
    spent: int = 0
    unwritten: list[Charge] = field(default_factory=list)
    written: int = 0

    @property
    def id(self) -> str:
        return self.model.id

    def buy(self, line: str, total: int, *, beyond: bool = False) -> None:
        """Up to a running total, if the hold that is known of covers it."""
        begin = self.quantities.get(line, 0)
        if total == begin:
            return
        bought = tile(self.prices, self.seq + 1, line, begin, total, self.seconds)
        if beyond or self.spent + bought.nano <= self.known:
            self.seq, self.spent = self.seq + 1, self.spent + bought.nano
            self.quantities[line] = total
            self.unwritten.append(bought)


class Money(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, database: Database, *, thorough: bool) -> None:
        super().__init__()
        self.runner = runner
        self.now = STARTS
        self.stack = AsyncExitStack()
        self.tx: Tx = runner.run(self.stack.enter_async_context(database.write()))
        self.live: list[Live] = []
        self.over: list[Live] = []
        self.numbers = 0
        self.checks = 0
        self.thorough = thorough

    def write(self, work: Callable[[Tx], Awaitable[T]], mode: str = "done") -> T | None:
        """A transaction of the server; None where its caller does not learn what came of it."""

        async def transaction() -> T | None:
            savepoint = await self.tx.begin_nested()
            try:
                done = await work(self.tx)
            except BaseException:
                await savepoint.rollback()
                raise
            await (savepoint.rollback() if mode == "failed" else savepoint.commit())
            return done if mode == "done" else None

        return self.runner.run(transaction())

    @initialize()
    def two_users(self) -> None:
        users = [self.write(person), self.write(person)]
        self.users = [(user, AccountModel()) for user in users if user is not None]
        for which in (0, 1):
            self.buy_credit(which, 400_000_000)
        for which in (0, 0, 1):
            self.start_call(which, "done")

    # -- accounts --------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), amount=st.integers(1, 200_000_000))
    def buy_credit(self, which: int, amount: int) -> None:
        """Delivered twice, as payments are."""
        user, account = self.users[which]
        self.numbers += 1
        key = f"buy:{user.id}:{self.numbers}"
        for first in (True, False):
            added = self.write(
                lambda tx: ledger.grant(
                    tx, user_id=user.id, amount=Nanos(amount), kind="purchase", idem_key=key, now=self.now
                )
            )
            assert added is first
        account.balance += amount
        account.granted += amount

    @rule(which=st.integers(0, 1), amount=st.integers(1, 400_000_000))
    def refund(self, which: int, amount: int) -> None:
        """Never of money that is set aside."""
        user, account = self.users[which]
        self.numbers += 1
        key = f"refund:{user.id}:{self.numbers}"
        try:
            self.write(
                lambda tx: ledger.grant(
                    tx, user_id=user.id, amount=Nanos(-amount), kind="refund", idem_key=key, now=self.now
                )
            )
        except Overdrawn:
            assert account.balance - account.held < amount
        else:
            account.balance -= amount
            account.granted -= amount
            assert account.balance >= account.held

    @rule(which=st.integers(0, 1), per_call=LIMIT, daily=LIMIT, monthly=LIMIT, hard=st.booleans())
    def set_budget(
        self, which: int, per_call: int | None, daily: int | None, monthly: int | None, hard: bool
    ) -> None:
        user, account = self.users[which]
        account.limits, account.hard = (per_call, daily, monthly), hard
        call, day, month = (None if limit is None else Nanos(limit) for limit in account.limits)
        wanted = Budget(call, day, month, auto_cutoff=hard)
        self.write(lambda tx: ledger.put_budget(tx, user.id, wanted))

    @rule(which=st.integers(0, 1), zone=st.sampled_from(["Pacific/Auckland", "America/New_York", "UTC"]))
    def move_house(self, which: int, zone: str) -> None:
        user, account = self.users[which]
        account.zone = zone

        async def moved(tx: Tx) -> None:
            await tx.execute(
                text("UPDATE users SET timezone = :zone WHERE id = :id"), {"zone": zone, "id": user.id}
            )

        self.write(moved)

    # -- calls -----------------------------------------------------------------------------

    @precondition(lambda self: len(self.live) < 4)
    @rule(which=st.integers(0, 1), mode=MODE)
    def start_call(self, which: int, mode: str) -> None:
        user, account = self.users[which]
        model = CallModel(new_id(), account)

        async def place(tx: Tx) -> Nanos:
            rows = await pricing.current(tx, self.now)
            prices = PriceBook(tuple(row.price for row in rows if row.price.model in MODELS))
            ids = tuple(price.price_id for price in prices)
            await calls.create(tx, NewCall(model.id, user.id, "sarah", "phone", self.now, ids, "node"))
            held = await ledger.hold(
                tx, user_id=user.id, call_id=model.id, epoch=1, at_least=Nanos(LEAST), wanted=Nanos(LEAST),
                now=self.now,
            )  # fmt: skip
            if held == 0:
                raise LookupError("refused")
            return held

        free = model.free(self.now)
        try:
            placed = self.write(place, mode)
        except LookupError:
            assert free < LEAST
            return
        assert free >= LEAST
        if mode == "failed":
            return
        # With the answer lost it is found by whoever looks for calls without a conductor.
        prices = self.write(lambda tx: self._book(tx, model.id))
        assert prices is not None
        assert placed in (None, LEAST)
        model.take(LEAST, self.now)
        self.live.append(Live(model, user, prices, known=LEAST))

    async def _book(self, tx: Tx, call_id: str) -> PriceBook:
        row = await calls.get(tx, call_id)
        assert row is not None
        return PriceBook(tuple(priced.price for priced in await pricing.by_ids(tx, row.price_ids)))

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 3), seconds=st.integers(1, 70))
    def time_passes_in_a_call(self, which: int, seconds: int) -> None:
        call = self.live[which % len(self.live)]
        for _ in range(seconds):
            if call.seconds % 60 == 0:
                call.buy(LINES["carrier"], call.seconds + 60)
            call.buy(LINES["stt"], call.seconds + 1)
            call.seconds += 1

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 3), chars=st.integers(1, 400))
    def it_says_something(self, which: int, chars: int) -> None:
        call = self.live[which % len(self.live)]
        call.buy(LINES["tts"], call.quantities.get(LINES["tts"], 0) + chars)

    @precondition(lambda self: self.live)
    @rule(mode=MODE)
    def flush(self, mode: str) -> None:
        batch = [charges(call.id, call.unwritten, epoch=call.epoch) for call in self.live]
        lost = self.write(lambda tx: ledger.flush(tx, batch, now=self.now), mode)
        assert not lost
        for call in self.live:
            if mode != "failed":
                call.model.total, call.written = call.spent, call.seq
            if mode == "done":
                call.unwritten.clear()

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 3), wanted=st.integers(0, 90_000_000), mode=MODE)
    def renew(self, which: int, wanted: int, mode: str) -> None:
        """As the flush does it: what was not answered is asked again, and what an earlier try got is told first."""
        call = self.live[which % len(self.live)]
        share = self.share(call)
        grant = self.write(lambda tx: self._renew(tx, call, wanted), mode)
        more = min(wanted, share)
        if mode != "failed":
            call.model.take(more, self.now)
        if grant is None:
            share, more = self.share(call), 0 if more and mode == "lost" else min(wanted, self.share(call))
            grant = self.write(lambda tx: self._renew(tx, call, wanted))
            call.model.take(more, self.now)
        assert grant is not None
        assert (grant.held, grant.reach) == (call.model.hold, call.model.hold + share - more)
        call.known = grant.held

    @precondition(lambda self: self.live)
    @rule(wanted=st.integers(20_000_000, 120_000_000), mode=MODE, hours=st.sampled_from([0, 0, 3, 24]))
    def everybody_asks(self, wanted: int, mode: str, hours: int) -> None:
        """Perhaps with a midnight behind the last time."""
        self.now += timedelta(hours=hours)
        for which in range(len(self.live)):
            self.renew(which, wanted, mode)

    def share(self, call: Live) -> int:
        return call.model.free(self.now, sum(other.user is call.user for other in self.live))

    async def _renew(self, tx: Tx, call: Live, wanted: int) -> Grant:
        return await ledger.renew(
            tx, user_id=call.user.id, call_id=call.id, epoch=call.epoch, known=Nanos(call.known),
            wanted=Nanos(wanted), now=self.now,
        )  # fmt: skip

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 3))
    def its_node_crashes(self, which: int) -> None:
        """Another takes the call over with its journal; the first one wakes up and may write nothing."""
        call = self.live[which % len(self.live)]
        assert self.write(lambda tx: calls.claim(tx, call.id, call.epoch, "other")) is not None
        late = charges(call.id, [tile(call.prices, call.seq + 1, LINES["tts"], 0, 9)], epoch=call.epoch)
        assert self.write(lambda tx: ledger.flush(tx, [late], now=self.now)) == [call.id]
        for zombie in (self._renew, self._final):
            try:
                self.write(lambda tx, zombie=zombie: zombie(tx, call, 1_000))  # type: ignore[misc]
                raise AssertionError("a zombie wrote")
            except Fenced:
                pass
        call.epoch += 1
        held = self.write(lambda tx: ledger.hold_of(tx, call.id))
        assert held is not None
        call.known = held.amount_nano

    async def _final(self, tx: Tx, call: Live, _unused: int = 0) -> object:
        return await ledger.finalise(tx, call_id=call.id, epoch=call.epoch, now=self.now)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 3), off=st.integers(-70, 70), mode=MODE)
    def hang_up(self, which: int, off: int, mode: str) -> None:
        """The carrier's own count may be more or less than ours; what exceeds the hold is the operator's."""
        call = self.live[which % len(self.live)]
        seconds = max(0, call.seconds + off)
        call.buy(LINES["carrier"], -(-seconds // 60) * 60, beyond=True)

        async def close(tx: Tx) -> object:
            assert not await ledger.flush(
                tx, [charges(call.id, call.unwritten, epoch=call.epoch)], now=self.now
            )
            await completed(tx, call.id, at=self.now, seconds=seconds)
            return await self._final(tx, call)

        self.write(close, mode)
        if mode != "done":
            self.write(close)  # whoever does not know, does it again
        call.model.total, call.written = call.spent, call.seq
        call.model.settle()
        paid = Final(Nanos(call.model.total), Nanos(call.model.settled), Nanos(call.model.operator))
        assert self.write(lambda tx: self._final(tx, call)) == paid
        call.seconds = seconds
        self.live.remove(call)
        self.over.append(call)

    @precondition(lambda self: self.over)
    @rule(which=st.integers(0, 9), seconds=st.integers(0, 400), mode=MODE)
    def a_late_report(self, which: int, seconds: int, mode: str) -> None:
        call = self.over[which % len(self.over)]
        if seconds in range(call.seconds - 59, call.seconds + 60) or call.written > call.seq:
            return  # one correction a call: a second one of the same minute finds its tile's place taken
        line = LINES["carrier"]
        before, after = call.quantities.get(line, 0), -(-seconds // 60) * 60

        async def report(tx: Tx) -> object:
            return await ledger.adjust(tx, call_id=call.id, carrier_seconds=seconds, now=self.now)

        self.write(report, mode)
        again = self.write(report)
        assert mode == "failed" or again is None
        if after != before:
            price = call.prices.line(line)
            call.spent += cost(price, after) - cost(price, before)
            call.written = call.seq + 1
            call.quantities[line] = after
        call.model.correct(call.spent)
        call.seconds = seconds

    # -- the world -------------------------------------------------------------------------

    @rule(hours=st.sampled_from([1, 1, 2, 5, 24, 24 * 31]))
    def the_clock_moves(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(price=st.integers(1, 40_000_000))
    def a_price_changes(self, price: int) -> None:
        """For calls that begin from now on."""
        self.now += timedelta(seconds=1)

        async def listed(tx: Tx) -> None:
            await tx.execute(
                text(
                    "INSERT INTO pricing (service, model, unit, price_nano, block_units, effective_from)"
                    " SELECT 'tts', 'hibari', 'char', :price, 1000, :at WHERE NOT EXISTS ("
                    " SELECT 1 FROM pricing WHERE model = 'hibari' AND effective_from = :at)"
                ),
                {"price": price, "at": at(tx, self.now)},
            )

        self.write(listed)

    # -- what holds ------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        self.runner.run(self._check())

    async def _check(self) -> None:
        tx = self.tx
        self.checks += 1
        if self.thorough or self.checks % 5 == 0:
            assert (await audit(tx)).breaches == []  # I1 to I6; a breach does not heal
        for user, account in getattr(self, "users", []):
            found = await ledger.balance(tx, user.id)
            assert (found.balance, found.held) == (account.balance, account.held)
            rows = await tx.execute(
                text("SELECT key, spent_nano, held_nano, limit_nano FROM budget_periods WHERE user_id = :id"),
                {"id": user.id},
            )
            for key, spent, held, limit in rows:
                assert (spent, held) == (account.spent[key], account.reserved[key]), key
                assert limit is None or spent + held <= limit
            ours = [call.model for call in (*self.live, *self.over) if call.user is user]
            paid = sum(call.settled for call in ours)
            assert account.granted == account.balance + paid  # I12
        for call in (*self.live, *self.over):
            row = await calls.get(tx, call.id)
            assert row is not None
            assert (row.total_nano, row.settled_nano) == (call.model.total, call.model.settled)
            assert row.last_seq == call.written  # I13, and I11: nothing of a zombie's was written
            assert call.model.settled <= call.model.was_held  # never charged above the hold
        for call in self.over:
            lines = {line.line: line.quantity for line in await ledger.cost_lines(tx, call.id)}
            assert lines.get(LINES["carrier"], 0) == -(-call.seconds // 60) * 60  # I7
            rated = sum(cost(call.prices.line(line), quantity) for line, quantity in lines.items())
            assert rated == call.model.total  # I9: however it was cut up

    def teardown(self) -> None:
        """A sweeper finds what is left, and then nothing is held any more (I14)."""
        try:
            while self.live:
                self.hang_up(0, 0, "done")
            self.thorough = True
            self.the_books_are_right()
            assert all(account.held == 0 for _, account in getattr(self, "users", []))
        finally:
            self.runner.run(self._close())

    async def _close(self) -> None:
        """By an error, so that nothing of the example stays."""
        with suppress(Undone):
            await self.stack.__aexit__(Undone, Undone(), None)


def at(tx: Tx, moment: datetime) -> object:
    """As a moment lies in a column of this database."""
    return moment if tx.dialect.name == "postgresql" else moment.strftime("%Y-%m-%d %H:%M:%S.%f")


@pytest.mark.timeout(900)
def test_the_ledger_does_what_the_model_says(url: str) -> None:
    """The full figures with the profile of `make soak`."""
    profile = settings.default
    examples = max(8, (profile.max_examples if profile else 0) // 16)
    thorough = examples > 8
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    with asyncio.Runner() as runner:
        database = Database.open(url)

        class Here(Money):
            def __init__(self) -> None:
                super().__init__(runner, database, thorough=thorough)

        try:
            run_state_machine_as_test(
                Here,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=50 if thorough else 30,
                    deadline=None,
                    suppress_health_check=quiet,
                ),
            )
        finally:
            runner.run(database.aclose())
