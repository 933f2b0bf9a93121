"""A closed call brought to the carrier's own count, when that comes late or differs. Visible, and never above the hold.

The tiles of the carrier's lines go on, up or down; what the user owes more is taken as far as the call's hold went and
the balance allows, and what they owe less is given back. The rest is the operator's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import STEP_SERVICES, cost
from storage import ledger, pricing
from storage.db import Tx, insert
from storage.records import Final
from storage.tables import (
    budget_periods,
    call_cost_breakdowns,
    call_cost_events,
    calls,
    credit_holds,
    operator_losses,
)

STEP_S = 60


async def adjust(tx: Tx, *, call_id: str, seconds: int, now: datetime) -> Final:
    """Settle a final call anew for so many seconds of the carrier. Again with the same seconds changes nothing.

    Raises `LookupError` when there is no such call, or it is not final.
    """
    query = select(calls).where(calls.c.id == call_id, calls.c.final_at.is_not(None))
    call = (await tx.execute(query.with_for_update(key_share=True))).mappings().one_or_none()
    if call is None:
        raise LookupError(call_id)
    await ledger.lock_account(tx, call["user_id"])
    charges = await _charges(tx, call, -(-seconds // STEP_S) * STEP_S)
    total = call["total_nano"] + sum(charge.nano for charge in charges)
    hold = await ledger.hold_of(tx, call_id)
    most = 0 if hold is None else hold.amount_nano
    settled = call["settled_nano"]
    wanted = min(total, most) - settled
    if wanted > 0:
        wanted = min(wanted, max(0, (await ledger.balance(tx, call["user_id"])).available))
    if charges:
        await _write(tx, call, charges, total, settled + wanted, seconds, now)
    final = Final(Nanos(total), Nanos(settled + wanted), Nanos(total - settled - wanted))
    if wanted:
        await ledger.post_adjustment(
            tx, user_id=call["user_id"], call_id=call_id, amount=Nanos(-wanted),
            idem_key=f"adjust:{call_id}:{call['last_seq']}", now=now,
        )  # fmt: skip
    await tx.execute(update(calls).where(calls.c.id == call_id).values(carrier_seconds=seconds))
    return final


async def _charges(tx: Tx, call: Any, quantity: int) -> list[Charge]:
    lines = {line.line: line for line in await ledger.cost_lines(tx, call["id"])}
    made: list[Charge] = []
    for priced in await pricing.by_ids(tx, call["price_ids"]):
        price = priced.price
        if price.service not in STEP_SERVICES:
            continue
        known = lines.get(price.line)
        before = 0 if known is None else known.quantity
        if before != quantity:
            seq = call["last_seq"] + len(made) + 1
            second = max((line.as_of_second for line in lines.values()), default=0)
            nano = Nanos(cost(price, quantity) - cost(price, before))
            made.append(Charge(seq, price.line, before, quantity, nano, second))
    return made


async def _write(
    tx: Tx, call: Any, charges: list[Charge], total: int, settled: int, seconds: int, now: datetime
) -> None:
    for charge in charges:
        service, model, unit = charge.line.split(":")
        await tx.execute(
            insert(tx, call_cost_events).values(
                call_id=call["id"], line=charge.line, from_qty=charge.from_qty, to_qty=charge.to_qty,
                nano=charge.nano, seq=charge.seq, second=charge.second, at=now,
                status="adjust" if charge.nano < 0 else "confirmed",
            )
        )  # fmt: skip
        row = insert(tx, call_cost_breakdowns).values(
            call_id=call["id"], line=charge.line, service=service, model=model, unit=unit,
            quantity=charge.to_qty, amount_nano=charge.nano, as_of_second=charge.second,
        )  # fmt: skip
        more = {
            "quantity": row.excluded.quantity,
            "amount_nano": call_cost_breakdowns.c.amount_nano + row.excluded.amount_nano,
        }
        await tx.execute(row.on_conflict_do_update(index_elements=["call_id", "line"], set_=more))
    this = update(calls).where(calls.c.id == call["id"])
    await tx.execute(this.values(total_nano=total, settled_nano=settled, last_seq=charges[-1].seq))
    held = update(credit_holds).where(credit_holds.c.call_id == call["id"])
    await tx.execute(held.values(used_nano=settled))
    period = update(budget_periods).where(
        budget_periods.c.user_id == call["user_id"], budget_periods.c.key == f"call:{call['id']}"
    )
    await tx.execute(period.values(spent_nano=settled))
    loss = insert(tx, operator_losses).values(
        call_id=call["id"], reason=ledger.OVER_HOLD, amount_nano=total - settled, created_at=now
    )
    anew = {"amount_nano": loss.excluded.amount_nano}
    known = select(func.count()).select_from(operator_losses)
    known = known.where(operator_losses.c.call_id == call["id"], operator_losses.c.reason == ledger.OVER_HOLD)
    if total > settled or (await tx.execute(known)).scalar_one():
        await tx.execute(loss.on_conflict_do_update(index_elements=["call_id", "reason"], set_=anew))
