"""What the carrier says of a call after its books are closed: booked, visible, and never charged to the user again.

The carrier may correct its seconds late. Fewer give the user back what they paid too much; more are the operator's,
for the user's hold is gone. Either way tiles, lines, totals and postings stay in step.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import STEP_SERVICES, Price, billable, cost
from storage import budgets, charges
from storage.accounts import post
from storage.db import Tx, insert
from storage.pricing import by_ids
from storage.records import Adjustment
from storage.tables import call_cost_breakdowns as breakdowns
from storage.tables import calls, operator_losses

LATE = "late_carrier"
"""Why the operator paid, or was given back: the carrier's count came after the call was settled."""


async def adjust(
    tx: Tx, *, call_id: str, carrier_seconds: int, now: datetime, node: str = ""
) -> Adjustment | None:
    """Brings a settled call to the carrier's own seconds. None when they change nothing.

    Raises `LookupError` for a call that does not exist or is not settled yet: its own end still has a say.
    """
    query = select(
        calls.c.user_id, calls.c.price_ids, calls.c.total_nano, calls.c.settled_nano, calls.c.last_seq,
        calls.c.final_at,
    )  # fmt: skip
    found = await tx.execute(query.where(calls.c.id == call_id).with_for_update(key_share=True))
    call = found.one_or_none()
    if call is None or call.final_at is None:
        raise LookupError(call_id)
    made = await _tiles(tx, call_id, call.price_ids, call.last_seq, carrier_seconds)
    if not made:
        return None
    await charges.correct(tx, call_id, made, node=node, now=now)
    total = Nanos(call.total_nano + sum(tile.nano for tile in made))
    paid = Nanos(min(call.settled_nano, total))
    refunded = Nanos(call.settled_nano - paid)
    if refunded:
        await post(
            tx, user_id=call.user_id, amount=refunded, release=0, kind="adjustment", call_id=call_id,
            idem_key=f"adjust:{call_id}:{made[-1].seq}", note="the carrier counted less", now=now,
        )  # fmt: skip
        await budgets.give_back(tx, call.user_id, call_id, refunded)
    operator = Nanos(total - paid - (call.total_nano - call.settled_nano))
    if operator:
        loss = insert(tx, operator_losses).values(
            call_id=call_id, reason=LATE, amount_nano=operator, created_at=now
        )
        more = {"amount_nano": operator_losses.c.amount_nano + loss.excluded.amount_nano}
        await tx.execute(loss.on_conflict_do_update(index_elements=["call_id", "reason"], set_=more))
    this = update(calls).where(calls.c.id == call_id)
    await tx.execute(
        this.values(
            total_nano=total, settled_nano=paid, last_seq=made[-1].seq, carrier_seconds=carrier_seconds
        )
    )
    return Adjustment(total, refunded, operator)


async def _tiles(
    tx: Tx, call_id: str, price_ids: tuple[int, ...], last_seq: int, seconds: int
) -> list[Charge]:
    """One tile for each line of the carrier's that does not stand at these seconds."""
    query = select(breakdowns.c.line, breakdowns.c.quantity, breakdowns.c.as_of_second)
    rows = {row.line: row for row in await tx.execute(query.where(breakdowns.c.call_id == call_id))}
    second = max((row.as_of_second for row in rows.values()), default=0)
    made: list[Charge] = []
    for price in await _steps(tx, price_ids):
        begin = rows[price.line].quantity if price.line in rows else 0
        end = billable(price, seconds)
        if end != begin:
            nano = Nanos(cost(price, end) - cost(price, begin))
            made.append(Charge(last_seq + len(made) + 1, price.line, begin, end, nano, second))
    return made


async def _steps(tx: Tx, price_ids: tuple[int, ...]) -> list[Price]:
    """The lines billed by the started minute, of the prices pinned to a call."""
    pinned = [priced.price for priced in await by_ids(tx, set(price_ids))]
    return sorted((price for price in pinned if price.service in STEP_SERVICES), key=lambda price: price.line)
