"""Writing down what live calls bought: the only writer of cost tiles and of a call's running total.

One flush is one transaction for all calls of a node and touches no account; the money was set aside
beforehand (`storage.ledger.hold`). A charge is written exactly once: `calls.last_seq` says how far a call's
charges are written, and `calls.epoch` who may write them. Nothing here decides what a charge costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from pipeline.core.effects import Charge
from pipeline.core.money import Nanos
from pipeline.core.tariff import service_of
from storage.db import Tx, insert
from storage.records import CostLine, CostSecond
from storage.rows import columns, every
from storage.tables import call_cost_breakdowns as breakdowns
from storage.tables import call_cost_events as tiles
from storage.tables import calls

CALLS_AT_ONCE = 20
"""Calls whose tiles are removed by one statement: some ten thousand tiles, as a rule."""
IN_LIST = 500
"""Ids in one IN list; SQLite takes 32,766 parameters a statement, older builds 999."""


@dataclass(frozen=True, slots=True)
class CallCharges:
    """The charges of one call since its last flush, by rising `seq`, as of a second since the answer."""

    call_id: str
    epoch: int
    charges: tuple[Charge, ...]
    as_of_second: int


@dataclass(frozen=True, slots=True)
class _Written:
    epoch: int
    last_seq: int
    final: bool


async def flush(
    tx: Tx, batch: Sequence[CallCharges], *, node: str = "", now: datetime | None = None
) -> list[str]:
    """Writes all charges that are not yet written; the ids of calls that are no longer the caller's.

    A call is lost when its epoch moved on, when it is final, when it is gone, or when charges before these
    are missing; nothing of it is written then. Repeating a flush whose COMMIT got no answer changes nothing.
    """
    ordered = sorted(batch, key=lambda of_call: of_call.call_id)
    written = await _lock(tx, [of_call.call_id for of_call in ordered])
    lost: list[str] = []
    fresh: list[CallCharges] = []
    for of_call in ordered:
        now_there = written.get(of_call.call_id)
        if now_there is None or now_there.epoch != of_call.epoch:
            lost.append(of_call.call_id)
            continue
        new = tuple(charge for charge in of_call.charges if charge.seq > now_there.last_seq)
        expected = range(now_there.last_seq + 1, now_there.last_seq + 1 + len(new))
        if [charge.seq for charge in new] != list(expected) or (new and now_there.final):
            lost.append(of_call.call_id)
        elif new:
            fresh.append(CallCharges(of_call.call_id, of_call.epoch, new, of_call.as_of_second))
    if fresh:
        await tx.execute(insert(tx, tiles), list(_tiles(fresh, node, now)))
        await _add_up(tx, fresh)
        await tx.execute(_ADVANCE, [_advance(of_call) for of_call in fresh])
    return lost


async def correct(
    tx: Tx, call_id: str, charges: Sequence[Charge], *, node: str = "", now: datetime | None = None
) -> None:
    """Writes what a settled call's lines are corrected by, upwards or downwards. The caller has locked the call and
    keeps its totals."""
    (as_of,) = {charge.second for charge in charges}
    batch = [CallCharges(call_id, 0, tuple(charges), as_of)]
    await tx.execute(insert(tx, tiles), [{**tile, "status": "adjust"} for tile in _tiles(batch, node, now)])
    await _add_up(tx, batch)


async def forget(tx: Tx, call_ids: Sequence[str]) -> None:
    """The tiles of these calls go, a few calls at a time.

    They are most of what an account has: all of them in the one statement that removes the account may take longer
    than a statement may on PostgreSQL, and the account could never be deleted.
    """
    for start in range(0, len(call_ids), CALLS_AT_ONCE):
        some = call_ids[start : start + CALLS_AT_ONCE]
        await tx.execute(delete(tiles).where(tiles.c.call_id.in_(some)))


async def tile(tx: Tx, call_id: str, seq: int) -> tuple[str, int, int] | None:
    """Line, beginning and end of the charge with this number."""
    query = select(tiles.c.line, tiles.c.from_qty, tiles.c.to_qty)
    row = (await tx.execute(query.where(tiles.c.call_id == call_id, tiles.c.seq == seq))).first()
    return None if row is None else (str(row.line), int(row.from_qty), int(row.to_qty))


async def cost_lines(tx: Tx, call_id: str) -> list[CostLine]:
    query = select(*columns(breakdowns, CostLine)).where(breakdowns.c.call_id == call_id)
    return await every(tx, CostLine, query.order_by(breakdowns.c.line))


async def cost_seconds(tx: Tx, call_id: str) -> list[CostSecond]:
    """Seconds in which something was bought or refunded, in order; they add up to the call's total."""
    nano = func.sum(tiles.c.nano)
    query = select(tiles.c.second, tiles.c.line, nano)
    query = query.where(tiles.c.call_id == call_id, tiles.c.status != "unconfirmed")
    query = query.group_by(tiles.c.second, tiles.c.line).order_by(tiles.c.second, tiles.c.line)
    seconds: dict[int, dict[str, Nanos]] = {}
    for second, line, total in await tx.execute(query):
        services, service = seconds.setdefault(int(second), {}), service_of(line)
        services[service] = Nanos(services.get(service, 0) + int(total))
    return [
        CostSecond(second, Nanos(sum(services.values())), services) for second, services in seconds.items()
    ]


async def _lock(tx: Tx, ids: Sequence[str]) -> dict[str, _Written]:
    """How far each call is written. On PostgreSQL the rows stay locked, always in the order of their ids."""
    found: dict[str, _Written] = {}
    for start in range(0, len(ids), IN_LIST):
        query = select(calls.c.id, calls.c.epoch, calls.c.last_seq, calls.c.final_at.is_not(None))
        query = query.where(calls.c.id.in_(ids[start : start + IN_LIST])).order_by(calls.c.id)
        for call_id, epoch, last_seq, final in await tx.execute(query.with_for_update(key_share=True)):
            found[call_id] = _Written(epoch, last_seq, bool(final))
    return found


def _tiles(fresh: Iterable[CallCharges], node: str, now: datetime | None) -> Iterable[dict[str, Any]]:
    for of_call in fresh:
        for charge in of_call.charges:
            tile: dict[str, Any] = {
                "call_id": of_call.call_id,
                "line": charge.line,
                "from_qty": charge.from_qty,
                "to_qty": charge.to_qty,
                "nano": charge.nano,
                "seq": charge.seq,
                "second": charge.second,
                "node": node,
                "status": "adjust" if charge.to_qty < charge.from_qty else "confirmed",
            }
            yield tile if now is None else {**tile, "at": now}


async def _add_up(tx: Tx, fresh: Iterable[CallCharges]) -> None:
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for of_call in fresh:
        for charge in of_call.charges:
            service, rest = charge.line.split(":", 1)
            model, unit = rest.rsplit(":", 1)
            line = sums.setdefault(
                (of_call.call_id, charge.line),
                {
                    "call_id": of_call.call_id, "line": charge.line, "service": service, "model": model,
                    "unit": unit, "amount_nano": 0,
                },
            )  # fmt: skip
            line["amount_nano"] += charge.nano
            line["quantity"] = charge.to_qty
            line["as_of_second"] = of_call.as_of_second
    upsert = insert(tx, breakdowns)
    grown = {
        "quantity": upsert.excluded.quantity,
        "amount_nano": breakdowns.c.amount_nano + upsert.excluded.amount_nano,
        "as_of_second": upsert.excluded.as_of_second,
    }
    upsert = upsert.on_conflict_do_update(index_elements=["call_id", "line"], set_=grown)
    await tx.execute(upsert, list(sums.values()))


# The rows are locked and were compared; the conditions say it once more where it counts.
_ADVANCE = (
    update(calls)
    .where(
        calls.c.id == bindparam("of_id"),
        calls.c.epoch == bindparam("of_epoch"),
        calls.c.last_seq == bindparam("before"),
    )
    .values(total_nano=calls.c.total_nano + bindparam("more"), last_seq=bindparam("after"))
)


def _advance(of_call: CallCharges) -> dict[str, Any]:
    return {
        "of_id": of_call.call_id,
        "of_epoch": of_call.epoch,
        "before": of_call.charges[0].seq - 1,
        "after": of_call.charges[-1].seq,
        "more": sum(charge.nano for charge in of_call.charges),
    }
