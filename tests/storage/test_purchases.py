"""Credit packs in the ledger: credited once, taken back once, whatever order the provider's reports come in.

Long because it has every order in which reports may come.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from pipeline.clock import run_virtual
from pipeline.core.money import Nanos
from storage import ledger, purchases
from storage.audit import Invariant, audit
from storage.db import Database, Tx
from storage.records import Purchase, User
from tests.storage.world import DOLLAR, NOON, audited, held_call, later, migrated, patiently, person, rows

INTENT = "pi_1"
SESSION = "cs_test_1"


async def ordered(tx: Tx, user: User, *, pack: str = "10", key: str | None = None, at: float = 0) -> Purchase:
    return await purchases.order(
        tx, user_id=user.id, pack=pack, amount_cents=int(pack) * 100, livemode=False, idem_key=key,
        twin_since=later(at - 60), now=later(at),
    )  # fmt: skip


async def paid(tx: Tx, order_id: str, **other: object) -> purchases.Outcome:
    told: dict[str, object] = {
        "purchase_id": order_id, "session_id": SESSION, "payment_intent": INTENT, "amount_cents": 1_000,
        "currency": "usd", "livemode": False, "now": NOON, **other,
    }  # fmt: skip
    return await purchases.fulfil(tx, **told)  # type: ignore[arg-type]


async def refunded(tx: Tx, cents: int) -> Purchase | None:
    return await purchases.refunded(tx, charge="ch_1", payment_intent=INTENT, cents=cents, now=NOON)


async def refund_told(tx: Tx, cents: int, *, failed: bool = False, refund: str = "re_1") -> Purchase | None:
    return await purchases.refund_told(
        tx, refund=refund, charge="ch_1", payment_intent=INTENT, cents=cents, failed=failed, now=NOON
    )


async def disputed(tx: Tx, cents: int, *, won: bool = False) -> Purchase | None:
    return await purchases.disputed(tx, dispute="du_1", payment_intent=INTENT, cents=cents, won=won, now=NOON)


async def bought(tx: Tx) -> tuple[User, Purchase]:
    user = await person(tx)
    order = await ordered(tx, user)
    assert await paid(tx, order.id) == "granted"
    return user, order


async def postings(database: Database) -> list[tuple[object, ...]]:
    return await rows(database, "SELECT kind, amount_nano FROM credit_transactions ORDER BY id")


# -- orders ----------------------------------------------------------------------------


async def test_an_order_is_open_until_it_is_paid(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        order = await ordered(tx, user)
        assert (order.status, order.amount_cents, order.session_id) == ("open", 1_000, None)
        opened = await purchases.opened(tx, order.id, session_id=SESSION, url="https://pay", now=NOON)
        assert opened is not None
        assert (opened.status, opened.checkout_url) == ("open", "https://pay")
        assert await purchases.opened(tx, order.id, session_id="cs_2", url="https://pay", now=NOON) is None
        assert await paid(tx, order.id) == "granted"
        found = await purchases.get(tx, order.id)
        assert found is not None
        assert (found.status, found.paid_at, found.payment_intent) == ("paid", NOON, INTENT)
        assert (await ledger.balance(tx, user.id)).balance == 10 * DOLLAR


async def test_two_clicks_are_one_order_and_two_purchases_are_two(database: Database) -> None:
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)
        first = await ordered(tx, user)
        assert (await ordered(tx, user, at=59)).id == first.id
        different = [
            await ordered(tx, user, pack="5"), await ordered(tx, other), await ordered(tx, user, at=61),
            await ordered(tx, user, key="k"),
        ]  # fmt: skip
        await paid(tx, first.id)
        different.append(await ordered(tx, user, at=200))
        assert len({first.id, *(order.id for order in different)}) == 6
        assert (await ordered(tx, user, key="k", at=9_999)).id == different[3].id
        assert (await ordered(tx, other, key="k")).id not in {order.id for order in different}


async def test_clicks_at_once_are_one_order(two_nodes: tuple[Database, Database]) -> None:
    async with two_nodes[0].write() as tx:
        user = await person(tx)

    async def click(number: int, key: str | None) -> str:
        return (await patiently(two_nodes[number % 2], lambda tx: ordered(tx, user, key=key))).id

    assert len(set(await asyncio.gather(*(click(number, None) for number in range(8))))) == 1
    assert len(set(await asyncio.gather(*(click(number, "key") for number in range(8))))) == 1


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_an_order_without_a_checkout_can_be_tried_again(
    database: Database, status: Literal["failed", "expired"]
) -> None:
    async with database.write() as tx:
        order = await ordered(tx, await person(tx), key="k")
        assert await purchases.unpaid(tx, order.id, status, NOON)
        again = await purchases.opened(tx, order.id, session_id=SESSION, url="https://pay", now=NOON)
        assert again is not None
        assert again.status == "open"


async def test_everybody_sees_only_theirs_newest_first(database: Database) -> None:
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)
        made = [(await ordered(tx, user, pack=str(number), at=number)).id for number in (1, 2, 3)]
        await ordered(tx, other)
        page = await purchases.page(tx, user.id, None, 2)
        rest = await purchases.page(tx, user.id, page.next_cursor, 2)
        assert [item.id for item in (*page.items, *rest.items)] == made[::-1]
        assert await purchases.get_for(tx, other.id, made[0]) is None
        assert await purchases.get_for(tx, user.id, made[0]) is not None


async def test_orders_that_have_been_open_for_a_while(database: Database) -> None:
    async with database.write() as tx:
        old, new, done = [await ordered(tx, await person(tx), at=at) for at in (0, 600, -100)]
        await paid(tx, done.id)
        assert [item.id for item in await purchases.open_before(tx, NOON + timedelta(minutes=5), 9)] == [
            old.id
        ]
        assert [item.id for item in await purchases.open_before(tx, later(601), 9)] == [old.id, new.id]


# -- payment ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({"amount_cents": 999}, "amount_differs"),
        ({"amount_cents": 100_000}, "amount_differs"),
        ({"amount_cents": None}, "amount_differs"),
        ({"currency": "eur"}, "amount_differs"),
        ({"livemode": True}, "other_mode"),
        ({"session_id": "cs_other"}, "other_checkout"),
        ({"purchase_id": "nobody"}, "unknown"),
    ],
)
async def test_a_payment_that_is_not_this_order_grants_nothing(
    database: Database, told: dict[str, object], outcome: str
) -> None:
    async with database.write() as tx:
        order = await ordered(tx, await person(tx))
        await purchases.opened(tx, order.id, session_id=SESSION, url="https://pay", now=NOON)
        assert await paid(tx, order.id, **told) == outcome
        found = await purchases.get(tx, order.id)
        assert found is not None
        assert found.status == "open"
    assert await postings(database) == []


async def test_a44_a_payment_told_five_times_and_at_once_is_granted_once(
    two_nodes: tuple[Database, Database],
) -> None:
    async with two_nodes[0].write() as tx:
        order = await ordered(tx, await person(tx))

    async def tell(number: int) -> purchases.Outcome:
        return await patiently(two_nodes[number % 2], lambda tx: paid(tx, order.id))

    outcomes = await asyncio.gather(*(tell(number) for number in range(10)))
    assert sorted(outcomes) == ["granted", *["repeated"] * 9]
    assert await postings(two_nodes[0]) == [("purchase", 10 * DOLLAR)]


class Crash(Exception):
    """The process is gone."""


@pytest.mark.parametrize("at", range(1, 13))
async def test_a44_a_crash_between_any_two_statements_leaves_all_or_nothing(
    database: Database, at: int
) -> None:
    """`at`: the statement of the transaction before which the process dies; beyond the last, none does."""
    async with database.write() as tx:
        user = await person(tx)
        order = await ordered(tx, user)
    crashed = True
    try:
        async with database.write() as tx:
            count = itertools.count(1)

            def executes(*_: object) -> None:
                if next(count) == at:
                    raise Crash

            event.listen(tx.sync_connection, "before_cursor_execute", executes)
            await paid(tx, order.id)
            crashed = False
    except Crash:
        pass
    assert crashed or at > 7
    assert await postings(database) == ([] if crashed else [("purchase", 10 * DOLLAR)])
    async with database.write() as tx:
        assert await paid(tx, order.id) == ("granted" if crashed else "repeated")
    assert await postings(database) == [("purchase", 10 * DOLLAR)]
    assert (await audited(database)).breaches == []


# -- refunds ---------------------------------------------------------------------------


async def test_a43_a_refund_is_taken_back_once_and_never_more_than_was_paid(database: Database) -> None:
    async with database.write() as tx:
        user, _ = await bought(tx)
        told: list[tuple[object, ...]] = []
        for cents, left in ((300, 7), (300, 7), (200, 7), (1_000, 0), (1_000, 0), (5_000, 0), (2**62, 0)):
            found = await refunded(tx, cents)
            assert found is not None
            assert (await ledger.balance(tx, user.id)).balance == left * DOLLAR
            told.append((found.status, found.reversed_cents, found.lost_nano))
        assert told[-1] == ("refunded", 1_000, 0)
    assert await postings(database) == [
        ("purchase", 10 * DOLLAR),
        ("refund", -3 * DOLLAR),
        ("refund", -7 * DOLLAR),
    ]
    assert (await audited(database)).breaches == []


async def test_what_was_spent_already_is_the_operators_loss(database: Database) -> None:
    async with database.write() as tx:
        user, _ = await bought(tx)
        await ledger.grant(
            tx, user_id=user.id, amount=Nanos(-6 * DOLLAR), kind="grant", idem_key="spent", now=NOON
        )
        found = await refunded(tx, 1_000)
        assert found is not None
        assert (found.taken_nano, found.lost_nano) == (4 * DOLLAR, 6 * DOLLAR)
        assert (await ledger.balance(tx, user.id)).balance == 0
    assert (await audited(database)).breaches == []


async def test_what_a_live_call_holds_is_not_taken(database: Database) -> None:
    async with database.write() as tx:
        user, _ = await bought(tx)
        await held_call(tx, user, 3 * DOLLAR)
        found = await disputed(tx, 1_000)
        assert found is not None
        assert (found.taken_nano, found.lost_nano) == (7 * DOLLAR, 3 * DOLLAR)
        left = await ledger.balance(tx, user.id)
        assert (left.balance, left.held, left.available) == (3 * DOLLAR, 3 * DOLLAR, 0)
    assert (await audited(database)).breaches == []


async def test_a_dispute_that_is_won_gives_back_what_was_taken(database: Database) -> None:
    async with database.write() as tx:
        user, order = await bought(tx)
        await ledger.grant(
            tx, user_id=user.id, amount=Nanos(-6 * DOLLAR), kind="grant", idem_key="spent", now=NOON
        )
        await disputed(tx, 1_000)
        won = await disputed(tx, 1_000, won=True)
        assert won is not None
        assert (won.status, won.reversed_cents, won.lost_nano) == ("paid", 0, 0)
        assert (await ledger.balance(tx, user.id)).balance == 4 * DOLLAR
        assert await disputed(tx, 1_000) == won
        assert await paid(tx, order.id) == "repeated"
    assert (await audited(database)).breaches == []


@pytest.mark.parametrize("lowered", [True, False])
@pytest.mark.parametrize("again", [0, 1, 2])
async def test_a_refund_that_fails_is_credited_again_once_and_another_one_taken_back(
    database: Database, lowered: bool, again: int
) -> None:
    """The charge's total may go down with it or not: then the next refund brings it to 10 or to 20 dollars."""
    async with database.write() as tx:
        user, _ = await bought(tx)
        await ledger.grant(
            tx, user_id=user.id, amount=Nanos(-6 * DOLLAR), kind="grant", idem_key="spent", now=NOON
        )
        await refunded(tx, 1_000)
        made = await refund_told(tx, 1_000)
        assert made is not None
        assert (made.status, made.taken_nano, made.lost_nano) == ("refunded", 4 * DOLLAR, 6 * DOLLAR)
        for _ in range(1 + again):
            back = await refund_told(tx, 1_000, failed=True)
            assert back is not None
            assert (back.status, back.taken_nano, back.lost_nano) == ("paid", 0, 0)
            assert (await ledger.balance(tx, user.id)).balance == 4 * DOLLAR
        late = await refund_told(tx, 1_000)
        assert late is not None
        assert late.reversed_cents == 0, "what was told before comes late"
        assert await purchases.has_failed(tx, "re_1")
        assert not await purchases.has_failed(tx, "re_2")
        await refund_told(tx, 300, refund="re_2")
        second = await refunded(tx, 300 if lowered else 1_300)
        assert second is not None
        assert (second.reversed_cents, second.taken_nano) == (300, 3 * DOLLAR)
    notes = await rows(
        database, "SELECT note FROM credit_transactions WHERE kind = 'refund' AND amount_nano > 0"
    )
    assert notes == [("credit pack 10, refund failed",)]
    assert (await audited(database)).breaches == []


async def test_a_version_that_knows_no_single_refunds_beside_this_one_counts_the_same(
    database: Database,
) -> None:
    """In a rolling restart it adds up whatever is `standing` of a payment, and takes that back."""
    async with database.write() as tx:
        await bought(tx)
        await refunded(tx, 300)
        made = await refund_told(tx, 300)
    assert made is not None
    standing = "SELECT SUM(cents) FROM payment_reversals WHERE status = 'standing'"
    assert await rows(database, standing) == [(made.reversed_cents,)] == [(300,)]


@pytest.mark.parametrize("first", ["refund", "payment"])
async def test_a_refund_and_the_payment_at_once_are_both_applied(
    postgres_pair: tuple[Database, Database], first: str
) -> None:
    """Neither sees the other's uncommitted rows: the second has to wait for the first, or the refund is lost."""
    one, other = postgres_pair
    async with one.write() as tx:
        user = await person(tx)
        order = await ordered(tx, user)

    async def pay(tx: Tx) -> None:
        assert await paid(tx, order.id) == "granted"

    async def give_back(tx: Tx) -> None:
        await refunded(tx, 400)

    now, then = (give_back, pay) if first == "refund" else (pay, give_back)

    async def second() -> None:
        async with other.write() as tx:
            await then(tx)

    async with asyncio.TaskGroup() as tasks, one.write() as tx:
        await now(tx)
        task = tasks.create_task(second())
        waiting: list[tuple[object, ...]] = [(0,)]
        while not task.done() and waiting == [(0,)]:
            waiting = await rows(one, "SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with one.read() as tx:
        assert (await ledger.balance(tx, user.id)).balance == 6 * DOLLAR
    assert (await audited(one)).breaches == []


# -- any order -------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """One thing the provider may report of one purchase."""

    name: str
    tell: Callable[[Tx, str], Awaitable[object]]


REPORTS = [
    Report("completed", paid),
    Report("expired", lambda tx, order: purchases.unpaid(tx, order, "expired", NOON)),
    Report("failed", lambda tx, order: purchases.unpaid(tx, order, "failed", NOON)),
    Report("refunded 3", lambda tx, _: refunded(tx, 300)),
    Report("refunded 8", lambda tx, _: refunded(tx, 800)),
    Report("refunded 10", lambda tx, _: refunded(tx, 1_000)),
    Report("made 3", lambda tx, _: refund_told(tx, 300)),
    Report("3 came back", lambda tx, _: refund_told(tx, 300, failed=True)),
    Report("made 5", lambda tx, _: refund_told(tx, 500, refund="re_2")),
    Report("5 came back", lambda tx, _: refund_told(tx, 500, refund="re_2", failed=True)),
    Report("disputed", lambda tx, _: disputed(tx, 500)),
    Report("won", lambda tx, _: disputed(tx, 500, won=True)),
]


EACH_TWICE_AT_LEAST = st.lists(st.sampled_from(REPORTS), min_size=1, max_size=8).flatmap(
    lambda some: st.permutations(some * 2)
)
"""Some of the reports, each at least twice, in any order."""


async def ledger_after(database: Database, reports: list[Report]) -> tuple[object, ...]:
    """The books of one new purchase after these reports; the world is rolled back."""
    async with database.write() as tx:
        savepoint = await tx.begin_nested()
        user = await person(tx)
        order = await ordered(tx, user)
        for report in reports:
            await report.tell(tx, order.id)
        assert (await audit(tx)).breaches == []
        found = await purchases.get(tx, order.id)
        assert found is not None
        query = "SELECT kind, SUM(amount_nano) FROM credit_transactions WHERE user_id = :user GROUP BY kind ORDER BY 1"
        sums = [tuple(row) for row in await tx.execute(text(query), {"user": user.id})]
        balance = (await ledger.balance(tx, user.id)).balance
        bought_for = found.amount_cents if found.status in {"paid", "refunded"} else 0
        assert bought_for * purchases.NANOS_PER_CENT - found.taken_nano == balance
        await savepoint.rollback()
    return (found.status, found.reversed_cents, found.taken_nano, found.lost_nano, balance, [
        (kind, amount) for kind, amount in sums if amount
    ])  # fmt: skip


@given(told=EACH_TWICE_AT_LEAST)
def test_any_order_and_number_of_reports_come_to_the_same_books(
    tmp_path_factory: pytest.TempPathFactory, told: list[Report]
) -> None:
    in_order = [report for report in REPORTS if report in told]

    async def compare() -> None:
        url = f"sqlite:///{tmp_path_factory.mktemp('any') / 'test.db'}"
        migrated(url)
        database = Database.open(url)
        assert await ledger_after(database, told) == await ledger_after(database, in_order)
        await database.aclose()

    run_virtual(compare())


async def test_every_order_of_a_refunded_purchase(database: Database) -> None:
    told = [
        report for report in REPORTS if report.name in {"completed", "expired", "refunded 3", "refunded 8"}
    ]
    outcomes = {str(await ledger_after(database, list(some))) for some in itertools.permutations(told)}
    assert len(outcomes) == 1


# -- the audit -------------------------------------------------------------------------

BREACHES: list[tuple[Invariant, str]] = [
    ("I12", "DELETE FROM purchases"),
    ("I12", "UPDATE purchases SET status = 'open'"),
    ("I12", "UPDATE purchases SET amount_cents = amount_cents + 1"),
    ("I12", "UPDATE purchases SET session_id = 'cs_other'"),
    ("I12", "UPDATE purchases SET taken_nano = taken_nano - 1, lost_nano = lost_nano + 1"),
    ("I12", "UPDATE credit_transactions SET amount_nano = amount_nano + 1 WHERE kind = 'refund'"),
    ("I12", "DELETE FROM credit_transactions WHERE kind = 'purchase'"),
    ("I12", "UPDATE payment_reversals SET cents = cents + 1"),
    ("I12", "DELETE FROM payment_reversals"),
]


async def test_the_audit_finds_every_planted_breach(database: Database) -> None:
    async with database.write() as tx:
        await bought(tx)
        await refunded(tx, 300)
    assert (await audited(database)).breaches == []
    for invariant, change in BREACHES:
        async with database.write() as tx:
            savepoint = await tx.begin_nested()
            assert (await tx.execute(text(change))).rowcount > 0, change
            assert invariant in {breach.invariant for breach in (await audit(tx)).breaches}, change
            await savepoint.rollback()
