"""Writes what all calls of this process used, and sets aside what they will: one transaction a second, nothing in
the hot path.

Charges wait here in memory, and in the journals on disk, until the database has them. When
it does not answer they stay, and are offered again with the same numbers; a commit whose
answer was lost changes nothing the second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Protocol

import structlog

from pipeline.clock import Clock, real_seconds
from pipeline.core.effects import Charge, Ended, Learned, Unlearned
from pipeline.core.money import ZERO, Nanos, usd
from pipeline.core.tariff import service_of
from pipeline.journal_file import JournalFile
from server import remembering
from server.metrics import ADJUSTED, FLUSH_SECONDS, FLUSHES_FAILED, SURPRISES
from server.money import by_service, reconciling
from server.news import News
from storage import calls, ledger, notes
from storage.db import Database, DatabaseDown, Tx
from storage.ledger import CallCharges
from storage.notes import Note
from storage.records import OVER, STATUS_RANK, CallStatus, Fenced, Final, Grant

log = structlog.get_logger()

EVERY_S = 1.0
SYNCS = 4
"""Journals carried to the disk at a time: the disk takes several nearly as fast as one."""


@dataclass(slots=True)
class Account:
    """One call's unwritten facts, and the money it waits for. `settled` is set once its ledger is closed.

    `given_up`: the carrier is asked to end the call, and the other nodes do not know it yet.

    `held` is the call's hold as far as this process knows; `margin` of it the call does not get. `wanted` is how much
    more was asked for and not yet answered.
    """

    call_id: str
    epoch: int
    journal: JournalFile
    user_id: str = ""
    held: Nanos = ZERO
    margin: Nanos = ZERO
    wanted: Nanos | None = None
    charges: list[Charge] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    second: int = 0
    total: Nanos = ZERO
    services: dict[str, Nanos] = field(default_factory=dict)
    told: tuple[int, int] = (-1, -1)
    taught: Learned | Unlearned | None = None
    given_up: bool = False
    ended: Ended | None = None
    settled: asyncio.Future[Final] | None = None


class Guardian(Protocol):
    """Whoever is responsible for an account's call."""

    def fence(self) -> None:
        """The call is somebody else's now."""

    def granted(self, grant: Grant) -> None:
        """What it asked for is decided: so much is held for it now."""

    def disk_lost(self, error: OSError) -> None:
        """Its journal cannot be carried to the disk."""


@dataclass(frozen=True, slots=True)
class _Due:
    """What one flush offers of a call; more may come while it is written."""

    account: Account
    charges: tuple[Charge, ...]
    notes: tuple[Note, ...]
    ended: Ended | None
    wanted: Nanos | None
    given_up: bool

    @property
    def of_the_ledger(self) -> bool:
        """Whether it is the business of whoever has the call, and of nobody else."""
        return bool(self.charges) or self.ended is not None or self.wanted is not None or self.given_up


@dataclass(slots=True)
class _Done:
    """What came of one transaction, by call."""

    lost: set[str] = field(default_factory=set)
    finals: dict[str, Final] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)


class Flush:
    """The only writer of charges, notes and final settlements. `run` is a task of the application."""

    def __init__(self, database: Database, clock: Clock, news: News, node: str) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._node = node
        self._accounts: dict[str, Account] = {}
        self._guardians: dict[str, Guardian] = {}
        self._hurried = asyncio.Event()

    def open(self, account: Account, guardian: Guardian) -> None:
        self._accounts[account.call_id] = account
        self._guardians[account.call_id] = guardian

    def charge(self, account: Account, charge: Charge) -> None:
        account.charges.append(charge)
        account.second = max(account.second, charge.second)
        account.total = Nanos(account.total + charge.nano)
        service = service_of(charge.line)
        account.services[service] = Nanos(account.services.get(service, 0) + charge.nano)

    async def settle(self, account: Account, ended: Ended) -> Final:
        """Close a call's ledger with the next flush, however long the database makes us wait.

        Raises `Fenced` when the call is somebody else's by now.
        """
        if account.call_id not in self._accounts:
            raise Fenced(account.call_id)
        account.ended = ended
        account.settled = asyncio.get_running_loop().create_future()
        try:
            return await account.settled
        finally:
            self.forget(account)

    def forget(self, account: Account) -> None:
        """The call is somebody else's now."""
        self._accounts.pop(account.call_id, None)
        self._guardians.pop(account.call_id, None)

    async def run(self) -> None:
        due = self._clock.seconds()
        while True:
            due = max(due + EVERY_S, self._clock.seconds())
            while await self._hurried_before(due):
                await self.once()
            await self.once()

    def hurry(self) -> None:
        """What waits is written now, and not up to a second later: others have to know it."""
        self._hurried.set()

    async def _hurried_before(self, due: float) -> bool:
        try:
            async with asyncio.timeout(due - self._clock.seconds()):
                await self._hurried.wait()
        except TimeoutError:
            return False
        self._hurried.clear()
        return True

    async def once(self) -> None:
        """Write everything that waits. Never raises for a database that is down: the next second tries again."""
        waiting = [
            a for a in self._accounts.values()
            if a.charges or a.notes or a.ended is not None or a.wanted is not None or a.given_up
        ]  # fmt: skip
        if not waiting:
            return
        begun = real_seconds()
        await self._to_disk(waiting)
        batch = [_Due(a, tuple(a.charges), tuple(a.notes), a.ended, a.wanted, a.given_up) for a in waiting]
        try:
            await self._write_and_tell(batch)
        except DatabaseDown as error:
            FLUSHES_FAILED.inc()
            log.error("flush_failed", calls=len(batch), retryable=error.retryable)
        except Exception:  # edge: what one call holds must not keep the others from being written
            SURPRISES.labels("flush").inc()
            log.exception("flush_refused", calls=len(batch))
            for due in batch:
                await self._alone(due)
        else:
            FLUSH_SECONDS.observe(real_seconds() - begun)

    async def _alone(self, due: _Due) -> None:
        """One call in a transaction of its own, after the common one was refused."""
        try:
            await self._write_and_tell([due])
        except Exception:  # edge: of this call; its charges wait and are offered again
            FLUSHES_FAILED.inc()
            log.exception("flush_failed_alone", call=due.account.call_id)

    async def _write_and_tell(self, batch: Sequence[_Due]) -> None:
        """Raises only what keeps it from being written: what is written is offered to nobody again."""
        done = await self._write(batch)
        for due in batch:  # of all of them first: more may come while they are told
            del due.account.charges[: len(due.charges)]
            del due.account.notes[: len(due.notes)]
        for due in batch:
            try:
                self._answer(due, done)
            except Exception:  # edge: of this call; the others are told all the same
                SURPRISES.labels("flush").inc()
                log.exception("flush_not_told", call=due.account.call_id)

    def _answer(self, due: _Due, done: _Done) -> None:
        """What came of it, for whoever conducts the call and for who listens."""
        account, guardian = due.account, self._guardians.get(due.account.call_id)
        ADJUSTED.inc(sum(-charge.nano for charge in due.charges if charge.nano < 0))
        account.given_up = account.given_up and not due.given_up
        settled = account.settled if account.settled is not None and not account.settled.done() else None
        if account.call_id in done.lost:
            # Whoever waits first: a guardian that cannot be told must not leave them waiting.
            if settled is not None:
                settled.set_exception(Fenced(account.call_id))
            if guardian is not None:
                guardian.fence()
        elif settled is not None and account.call_id in done.finals:
            settled.set_result(done.finals[account.call_id])
        elif (grant := done.grants.get(account.call_id)) is not None:
            account.held, account.wanted = grant.held, None
            if guardian is not None:
                guardian.granted(grant)
        self._tell(account)

    async def _to_disk(self, waiting: list[Account]) -> None:
        """Money is on this machine's disk before the database hears of it."""
        owing = [account for account in waiting if account.journal.owes_sync]
        if not owing:
            return
        shares = [owing[first::SYNCS] for first in range(SYNCS)]
        async with asyncio.TaskGroup() as tasks:
            syncing = [tasks.create_task(asyncio.to_thread(_sync, share)) for share in shares if share]
        for account, error in chain.from_iterable(task.result() for task in syncing):
            log.error("journal_not_synced", call=account.call_id, error=error.strerror)
            if (guardian := self._guardians.get(account.call_id)) is not None:
                guardian.disk_lost(error)

    async def _write(self, batch: Sequence[_Due]) -> _Done:
        """All calls first, then all accounts, each in one order: two flushes never wait for each other.

        Notes come last: one may lock the number of somebody who wants no more calls, which whoever places a call does
        after the account.
        """
        done = _Done()
        async with self._database.write() as tx:
            now = self._clock.utc()
            charged = [
                CallCharges(due.account.call_id, due.account.epoch, due.charges, due.account.second)
                for due in batch
                if due.of_the_ledger
            ]
            done.lost |= set(await ledger.flush(tx, charged, node=self._node, now=now))
            ours = [due for due in batch if due.account.call_id not in done.lost]
            if given_up := [due.account.call_id for due in ours if due.given_up and due.ended is None]:
                await calls.give_up(tx, given_up, now)
            for user_id in sorted({due.account.user_id for due in ours}):
                await self._move_money(tx, [due for due in ours if due.account.user_id == user_id], now, done)
            await notes.write_all(tx, {due.account.call_id: due.notes for due in ours}, now)
        return done

    async def _move_money(self, tx: Tx, of_user: Sequence[_Due], now: datetime, done: _Done) -> None:
        """Settle what has ended; then set aside more for what goes on, for all calls of the user at once."""
        for due in sorted(of_user, key=lambda due: due.account.call_id):
            if due.ended is not None:
                await self._settle(tx, due.account, due.ended, now, done)
        asks = [
            ledger.Ask(due.account.call_id, due.account.epoch, due.account.held, due.wanted)
            for due in of_user
            if due.ended is None and due.wanted is not None
        ]
        if asks:
            granted = await ledger.renew_all(tx, user_id=of_user[0].account.user_id, asks=asks, now=now)
            done.grants |= granted
            done.lost |= {ask.call_id for ask in asks} - granted.keys()

    async def _settle(self, tx: Tx, account: Account, ended: Ended, now: datetime, done: _Done) -> None:
        try:
            await calls.advance(
                tx, account.call_id, _terminal(ended.status), at=now,
                end_reason=ended.reason, carrier_seconds=ended.seconds,
            )  # fmt: skip
            done.finals[account.call_id] = await ledger.finalise(
                tx, call_id=account.call_id, epoch=account.epoch, now=now
            )
            await reconciling.schedule(tx, account.call_id, now)
            # With the settlement or not at all: a call that is recovered is remembered once too.
            if account.taught is not None:
                await remembering.keep(tx, account.call_id, account.taught, now)
        except Fenced:
            done.lost.add(account.call_id)

    def _tell(self, account: Account) -> None:
        told = (account.second, account.total)
        if told != account.told:
            account.told = told
            cost = {
                "second": account.second,
                "total_usd": usd(account.total),
                "services": by_service.shown(account.services),
            }
            self._news.publish(account.call_id, "cost", cost)


def _sync(accounts: Sequence[Account]) -> list[tuple[Account, OSError]]:
    """Sync each journal; those that could not be, so that one bad file stops no other."""
    failed = []
    for account in accounts:
        try:
            account.journal.sync()
        except OSError as error:
            failed.append((account, error))
    return failed


def _terminal(status: str) -> CallStatus:
    """The carrier's last status as one of ours; what is no end counts as a failure."""
    return next((known for known, rank in STATUS_RANK.items() if known == status and rank == OVER), "failed")
