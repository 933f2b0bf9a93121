"""Calls: that closed ones were paid, are over and cover the carrier's count, and that none is forgotten
(I5, I6, I7, I14)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, text

from pipeline.core.tariff import Price
from storage.audit.report import Breach, broken
from storage.columns import Moment
from storage.db import Tx
from storage.pricing import by_ids
from storage.records import OVER
from storage.tables import call_cost_breakdowns, calls

IN_LIST = 500
STEPS = ("carrier", "stream")
"""Services billed by the telephone's time."""

ALIVE = timedelta(seconds=10)
"""A process that showed itself so recently runs."""
SUPERVISION = timedelta(seconds=120 + 30)
"""How long a hold may outlive its process's last sign of life: its supervision, and the sweeper's time."""
SETTLING = timedelta(minutes=5)
"""How long a call that is over may wait for its ledger to be closed."""
LONGEST = timedelta(hours=5)
"""Longer than any call: a hold of a call that is over, by whatever clock, is forgotten then."""


async def somebody_paid(tx: Tx) -> list[Breach]:
    """I5: a final call's total, and its unconfirmed purchases, are what the user and the operator paid; before that
    the hold covers what is written."""
    final = """
        SELECT c.id AS subject, c.total_nano AS total, c.settled_nano AS settled,
            COALESCE(u.nano, 0) AS unconfirmed, COALESCE(t.paid, 0) AS paid_by_user,
            COALESCE(o.paid, 0) AS paid_by_operator
        FROM calls c
        LEFT JOIN (SELECT call_id, -SUM(amount_nano) AS paid FROM credit_transactions
            WHERE kind IN ('usage', 'adjustment') GROUP BY call_id) AS t ON t.call_id = c.id
        LEFT JOIN (SELECT call_id, SUM(amount_nano) AS paid FROM operator_losses
            WHERE reason NOT LIKE 'unconfirmed:%' GROUP BY call_id) AS o ON o.call_id = c.id
        LEFT JOIN (SELECT call_id, SUM(nano) AS nano FROM call_cost_events WHERE status = 'unconfirmed'
            GROUP BY call_id) AS u ON u.call_id = c.id
        WHERE c.final_at IS NOT NULL AND (c.settled_nano <> COALESCE(t.paid, 0)
            OR c.total_nano + COALESCE(u.nano, 0) <> COALESCE(t.paid, 0) + COALESCE(o.paid, 0))"""
    running = """
        SELECT c.id AS subject, c.total_nano AS total, c.settled_nano AS settled, COALESCE(h.amount_nano, 0) AS hold
        FROM calls c LEFT JOIN credit_holds h ON h.call_id = c.id AND h.status = 'open'
        WHERE c.final_at IS NULL AND c.total_nano - c.settled_nano > COALESCE(h.amount_nano, 0)"""
    return [*await broken(tx, "I5", final), *await broken(tx, "I5", running)]


async def final_is_final(tx: Tx) -> list[Breach]:
    """I6: a final call is over, holds nothing, and was settled by exactly one posting."""
    query = """
        SELECT * FROM (
            SELECT c.id AS subject, c.status AS status, c.status_rank AS status_rank,
                (SELECT COUNT(*) FROM credit_holds h WHERE h.call_id = c.id AND h.status = 'open') AS open_holds,
                (SELECT COUNT(*) FROM credit_transactions t
                    WHERE t.call_id = c.id AND t.idem_key = 'final:' || c.id) AS final_postings,
                (SELECT COUNT(*) FROM credit_transactions t
                    WHERE t.call_id = c.id AND t.kind = 'usage') AS usage_postings
            FROM calls c WHERE c.final_at IS NOT NULL) AS closed
        WHERE status_rank < :over OR open_holds <> 0 OR final_postings <> 1 OR usage_postings <> 1"""
    return await broken(tx, "I6", query, over=OVER)


async def carrier_seconds_are_charged(tx: Tx) -> list[Breach]:
    """I7: the lines billed by the telephone's time cover the carrier's seconds, in whole increments of the price.

    A count of 0 of a call that was answered is no count: the carrier was not asked, or did not say. A call that was
    answered after its process had died was never taken: at most one increment a crash, which is the operator's.
    """
    query = select(
        calls.c.id, calls.c.carrier_seconds, calls.c.answered_at, calls.c.epoch, calls.c.price_ids
    ).where(calls.c.final_at.is_not(None), calls.c.carrier_seconds.is_not(None), calls.c.channel == "phone")
    breaches: list[Breach] = []
    steps: dict[int, Price | None] = {}
    for chunk in (await tx.execute(query.order_by(calls.c.id))).partitions(IN_LIST):
        missing = {ident for row in chunk for ident in row.price_ids} - steps.keys()
        found = {priced.price.price_id: priced.price for priced in await by_ids(tx, missing)}
        steps |= {ident: _step(found.get(ident)) for ident in missing}
        charged = await _by_the_telephone(tx, [row.id for row in chunk])
        for call_id, seconds, answered_at, epoch, price_ids in chunk:
            if seconds == 0 and answered_at is not None:
                continue
            for price in filter(None, map(steps.get, price_ids)):
                quantity = charged.get((call_id, price.line), 0)
                if quantity == 0 and seconds <= price.increment * (epoch - 1):
                    continue
                if not seconds <= quantity < seconds + price.increment:
                    figures = f"line {price.line}, carrier seconds {seconds}, charged {quantity}"
                    breaches.append(Breach("I7", call_id, figures))
    return breaches


def _step(price: Price | None) -> Price | None:
    """The price if it is one of the telephone's seconds."""
    return price if price is not None and price.service in STEPS and price.unit == "second" else None


async def _by_the_telephone(tx: Tx, ids: list[str]) -> dict[tuple[str, str], int]:
    lines = call_cost_breakdowns
    query = select(lines.c.call_id, lines.c.line, lines.c.quantity)
    query = query.where(lines.c.call_id.in_(ids), lines.c.service.in_(STEPS))
    return {(call_id, line): quantity for call_id, line, quantity in await tx.execute(query)}


async def no_hold_is_forgotten(tx: Tx, now: datetime) -> list[Breach]:
    """I14: while any process runs, a hold ends soon after the process that owned its call, or after the call.

    Holds are dated by the database's clock, the end of a call by that of a server, which may be wrong: an end before
    the hold was opened is not believed.
    """
    query = text("""
        SELECT h.call_id AS subject, h.amount_nano AS held, c.owner AS owner, c.status AS status,
            COALESCE(n.heartbeat_at, h.opened_at) AS last_sign_of_life
        FROM credit_holds h JOIN calls c ON c.id = h.call_id LEFT JOIN nodes n ON n.boot_id = c.owner
        WHERE h.status = 'open' AND EXISTS (SELECT 1 FROM nodes WHERE heartbeat_at > :alive)
            AND ((h.opened_at < :supervised AND COALESCE(n.heartbeat_at, h.opened_at) < :supervised)
                OR (c.status_rank >= :over AND (h.opened_at < :longest
                    OR (h.opened_at <= c.ended_at AND c.ended_at < :settling))))""")
    query = query.bindparams(
        *(bindparam(name, type_=Moment()) for name in ("alive", "supervised", "settling", "longest"))
    )
    figures = {
        "alive": now - ALIVE, "supervised": now - SUPERVISION, "settling": now - SETTLING,
        "longest": now - LONGEST, "over": OVER,
    }  # fmt: skip
    return [
        Breach(
            "I14",
            str(row.subject),
            f"held {row.held}, owner {row.owner}, status {row.status}, last sign of life "
            f"{row.last_sign_of_life}",
        )
        for row in await tx.execute(query, figures)
    ]
