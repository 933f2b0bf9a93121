"""Credit packs: orders, their payment, and what is taken back of it.

What the payment provider tells comes repeatedly, late and in any order. So it is kept as facts that only grow
(a purchase is paid; so many cents of a charge were refunded; a refund was made, has failed; a dispute was opened,
was won), and the ledger is brought to what the facts say, once, in the same transaction. All that touches a
purchase queues on its row; the account's row is locked after it, by `storage.ledger`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.core.money import Nanos
from storage import ledger
from storage.db import Tx, insert
from storage.ids import new_id
from storage.records import Page, Purchase, PurchaseStatus
from storage.rows import columns, every, first, newest_page, record
from storage.tables import payment_reversals, purchases

NANOS_PER_CENT = 10_000_000

Outcome = Literal["granted", "repeated", "unknown", "amount_differs", "other_mode", "other_checkout"]
"""What a payment came to; only `granted` changed a balance."""

_UNPAID: tuple[PurchaseStatus, ...] = ("open", "expired", "failed")


async def alone(tx: Tx, what: str) -> None:
    """Transactions that name the same thing go one after the other. SQLite has but one writer anyway."""
    if tx.dialect.name == "postgresql":
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(what, 0))))


async def order(
    tx: Tx,
    *,
    user_id: str,
    pack: str,
    amount_cents: int,
    livemode: bool,
    idem_key: str | None,
    twin_since: datetime,
    now: datetime,
) -> Purchase:
    """The order of a pack, made before anything is asked of the payment provider.

    The same `idem_key` answers with the same order, whatever its pack and mode; without one, so does an order of this
    pack that is still open and not older than `twin_since`: two clicks are one purchase.
    """
    await alone(tx, f"checkout:{user_id}")
    same = select(*columns(purchases, Purchase)).where(purchases.c.user_id == user_id)
    if idem_key is not None:
        known = await first(tx, Purchase, same.where(purchases.c.idem_key == idem_key))
    else:
        alike = (
            purchases.c.livemode == livemode,
            purchases.c.pack == pack,
            purchases.c.amount_cents == amount_cents,
            purchases.c.status == "open",
        )
        twins = same.where(*alike, purchases.c.idem_key.is_(None), purchases.c.created_at >= twin_since)
        known = await first(tx, Purchase, twins.order_by(purchases.c.created_at.desc()).limit(1))
    if known is not None:
        return known
    row = insert(tx, purchases).values(
        id=new_id(), user_id=user_id, pack=pack, amount_cents=amount_cents, livemode=livemode, idem_key=idem_key,
        created_at=now, updated_at=now,
    )  # fmt: skip
    return record(Purchase, (await tx.execute(row.returning(*columns(purchases, Purchase)))).one())


async def get(tx: Tx, purchase_id: str) -> Purchase | None:
    return await first(
        tx, Purchase, select(*columns(purchases, Purchase)).where(purchases.c.id == purchase_id)
    )


async def get_for(tx: Tx, user_id: str, purchase_id: str) -> Purchase | None:
    """None as well when it is somebody else's."""
    mine = (purchases.c.id == purchase_id, purchases.c.user_id == user_id)
    return await first(tx, Purchase, select(*columns(purchases, Purchase)).where(*mine))


async def page(tx: Tx, user_id: str, cursor: str | None, limit: int) -> Page[Purchase]:
    return await newest_page(tx, Purchase, purchases, purchases.c.user_id == user_id, cursor, limit)


async def open_before(tx: Tx, before: datetime, limit: int) -> list[Purchase]:
    """Orders made before a moment and still open; what was not touched for longest comes first."""
    made = purchases.c.created_at < before
    query = select(*columns(purchases, Purchase)).where(purchases.c.status == "open", made)
    return await every(tx, Purchase, query.order_by(purchases.c.updated_at, purchases.c.id).limit(limit))


async def asked_after(tx: Tx, purchase_id: str, now: datetime) -> None:
    """The provider is asked how it stands: of those that are open it is the last to be asked again."""
    await tx.execute(update(purchases).where(purchases.c.id == purchase_id).values(updated_at=now))


async def opened(tx: Tx, purchase_id: str, *, session_id: str, url: str, now: datetime) -> Purchase | None:
    """Notes the checkout that was opened for an order. None when it has another one, or is gone.

    An order that had none is open again, whatever became of its first try; one that is paid meanwhile stays so.
    """
    its_own = purchases.c.session_id.is_(None) | (purchases.c.session_id == session_id)
    change = update(purchases).where(purchases.c.id == purchase_id, its_own)
    tried = purchases.c.session_id.is_(None) & purchases.c.status.in_(_UNPAID)
    status = case((tried, "open"), else_=purchases.c.status)
    change = change.values(session_id=session_id, checkout_url=url, status=status, updated_at=now)
    row = (await tx.execute(change.returning(*columns(purchases, Purchase)))).first()
    return None if row is None else record(Purchase, row)


async def unpaid(tx: Tx, purchase_id: str, status: Literal["expired", "failed"], now: datetime) -> bool:
    """Marks an order that came to nothing. False when it is marked so already, or paid: paid is stronger.

    `failed` is stronger than `expired`, so that their order does not matter.
    """
    weaker: tuple[PurchaseStatus, ...] = ("open",) if status == "expired" else ("open", "expired")
    change = update(purchases).where(purchases.c.id == purchase_id, purchases.c.status.in_(weaker))
    return (await tx.execute(change.values(status=status, updated_at=now))).rowcount == 1


async def fulfil(
    tx: Tx,
    *,
    purchase_id: str,
    session_id: str,
    payment_intent: str | None,
    amount_cents: int | None,
    currency: str | None,
    livemode: bool,
    now: datetime,
) -> Outcome:
    """Grants a pack that the provider says is paid: once, however often and from wherever this is called.

    Nothing is granted unless the payment is of this very order: its checkout, amount, currency and mode.
    """
    if payment_intent is not None:
        await alone(tx, payment_intent)
    found = await _locked(tx, purchases.c.id == purchase_id)
    if found is None:
        return "unknown"
    if found.session_id not in {None, session_id}:
        return "other_checkout"
    if found.livemode != livemode:
        return "other_mode"
    if (found.amount_cents, found.currency) != (amount_cents, currency):
        return "amount_differs"
    change = update(purchases).where(purchases.c.id == purchase_id, purchases.c.status.in_(_UNPAID))
    paid = change.values(
        status="paid", session_id=session_id, payment_intent=payment_intent, paid_at=now, updated_at=now
    )
    if (await tx.execute(paid)).rowcount != 1:
        return "repeated"
    # The key is the second lock on the door: a session that was granted never is again, whatever the row says.
    granted = await ledger.grant(
        tx,
        user_id=found.user_id,
        amount=Nanos(found.amount_cents * NANOS_PER_CENT),
        kind="purchase",
        idem_key=f"stripe:{session_id}",
        note=f"credit pack {found.pack}",
        now=now,
    )
    if payment_intent is not None:
        await _settle(tx, payment_intent, now)
    return "granted" if granted else "repeated"


async def refunded(tx: Tx, *, charge: str, payment_intent: str, cents: int, now: datetime) -> Purchase | None:
    """So many cents of a charge were refunded, in all. The purchase as it is now, None while none is known.

    Takes totals, not single refunds, so that a lower one that comes late changes nothing.
    """
    await alone(tx, payment_intent)
    row = insert(tx, payment_reversals).values(
        id=charge, payment_intent=payment_intent, kind="refund", cents=cents, created_at=now, updated_at=now
    )
    more = row.on_conflict_do_update(
        index_elements=["id"],
        set_={"cents": row.excluded.cents, "updated_at": now},
        where=payment_reversals.c.cents < row.excluded.cents,
    )
    await tx.execute(more)
    return await _settle(tx, payment_intent, now)


async def refund_told(
    tx: Tx, *, refund: str, charge: str, payment_intent: str, cents: int, failed: bool, now: datetime
) -> Purchase | None:
    """One refund was made; `failed`: the card's bank sent it back, so the customer has nothing of it.

    A refund that has failed stays so, whatever is told of it later.
    """
    await alone(tx, payment_intent)
    row = insert(tx, payment_reversals).values(
        id=refund, payment_intent=payment_intent, kind="refund", cents=cents, charge=charge, status="won",
        failed_at=now if failed else None, created_at=now, updated_at=now,
    )  # fmt: skip
    await tx.execute(_unless_known(row, {"failed_at": now, "updated_at": now} if failed else {}))
    return await _settle(tx, payment_intent, now, "refund failed")


async def has_failed(tx: Tx, refund: str) -> bool:
    """Whether that refund was told of as failed."""
    query = select(payment_reversals.c.id).where(
        payment_reversals.c.id == refund, payment_reversals.c.failed_at.is_not(None)
    )
    return (await tx.execute(query)).first() is not None


async def disputed(
    tx: Tx, *, dispute: str, payment_intent: str, cents: int, won: bool, now: datetime
) -> Purchase | None:
    """The customer's bank takes `cents` back; once it is `won` by us, it has given them back for good."""
    await alone(tx, payment_intent)
    row = insert(tx, payment_reversals).values(
        id=dispute, payment_intent=payment_intent, kind="dispute", cents=cents,
        status="won" if won else "standing", created_at=now, updated_at=now,
    )  # fmt: skip
    await tx.execute(_unless_known(row, {"status": "won", "updated_at": now} if won else {}))
    return await _settle(tx, payment_intent, now, "dispute settled")


def _unless_known(
    row: sqlite.Insert | postgresql.Insert, changed: Mapping[str, object]
) -> sqlite.Insert | postgresql.Insert:
    """A row that is there stays as it is, but for what is `changed`."""
    if not changed:
        return row.on_conflict_do_nothing(index_elements=["id"])
    return row.on_conflict_do_update(index_elements=["id"], set_=dict(changed))


async def _standing_cents(tx: Tx, payment_intent: str) -> int:
    """What of a payment is given back or disputed, as far as it is known: never more than there truly is.

    Of refunds the total of the charge is told, and each by itself; either may be missing or be late, and the total may
    or may not go down again when a refund fails. So the highest total less what has failed is as much as there is at
    least, and so are the single refunds that have not failed.
    """
    rows, single = payment_reversals.c, payment_reversals.c.charge.is_not(None)

    def cents(*of: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(rows.cents).filter(*of), 0)

    refund, failed = rows.kind == "refund", rows.failed_at.is_not(None)
    of_totals = cents(refund, ~single) - cents(refund, single, failed)
    of_single = cents(refund, single, ~failed)
    refunds = case((of_totals > of_single, of_totals), else_=of_single)
    known = select(cents(rows.kind == "dispute", rows.status == "standing") + refunds)
    return int((await tx.execute(known.where(rows.payment_intent == payment_intent))).scalar_one())


async def _settle(tx: Tx, payment_intent: str, now: datetime, back: str = "") -> Purchase | None:
    """Brings the ledger to what is known of a payment: what was reversed and is not taken back yet, or too much.

    Taken is what the user has available; what is spent or held by a live call is the operator's loss. When a
    dispute is won or a refund fails, the operator's loss is made good first. `back`: why the user gets something back.
    """
    found = await _locked(tx, purchases.c.payment_intent == payment_intent)
    if found is None:
        return None
    target = min(found.amount_cents, await _standing_cents(tx, payment_intent))
    if target == found.reversed_cents:
        return found
    reversed_nano = target * NANOS_PER_CENT
    if target > found.reversed_cents:
        account = await ledger.lock_account(tx, found.user_id)
        available = 0 if account is None else account.balance_nano - account.held_nano
        taken = found.taken_nano + min(available, (target - found.reversed_cents) * NANOS_PER_CENT)
    else:
        taken = min(found.taken_nano, reversed_nano)
    change = found.taken_nano - taken
    if change:
        await ledger.grant(
            tx,
            user_id=found.user_id,
            amount=Nanos(change),
            kind="refund",
            idem_key=f"refund:{found.id}:{found.takebacks + 1}",
            note=f"credit pack {found.pack}" + (" refunded" if change < 0 else f", {back}"),
            now=now,
        )
    settled = update(purchases).where(purchases.c.id == found.id).values(
        status="refunded" if target == found.amount_cents else "paid", reversed_cents=target, taken_nano=taken,
        lost_nano=reversed_nano - taken, takebacks=found.takebacks + 1, updated_at=now,
    )  # fmt: skip
    return record(Purchase, (await tx.execute(settled.returning(*columns(purchases, Purchase)))).one())


async def _locked(tx: Tx, condition: Any) -> Purchase | None:
    query = select(*columns(purchases, Purchase)).where(condition).with_for_update()
    return await first(tx, Purchase, query)
