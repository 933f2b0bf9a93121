"""Charges: the tiles of each line, what they add up to, and who wrote them (I3, I4, I8, I11, I13)."""

from __future__ import annotations

from sqlalchemy import select, text

from pipeline.core.tariff import Price, PriceBook, cost
from storage.audit.report import Breach, broken
from storage.db import Tx
from storage.pricing import by_ids
from storage.tables import call_cost_breakdowns, calls

CHUNK = 1_000
"""Price lines re-rated at a time."""


async def tiles_have_no_gap(tx: Tx) -> list[Breach]:
    """I3: a line's tiles follow each other from 0 and end at the line's quantity; only corrections go back.

    A correction goes up only where the carrier counted more after the call was settled.
    """
    gaps = """
        SELECT call_id AS subject, line, seq, from_qty AS begins, expected, to_qty AS ends FROM (
            SELECT call_id, line, seq, from_qty, to_qty, nano, status,
                COALESCE(LAG(to_qty) OVER (PARTITION BY call_id, line ORDER BY seq), 0) AS expected
            FROM call_cost_events WHERE status <> 'unconfirmed') AS laid
        WHERE from_qty <> expected
            OR (status = 'confirmed' AND (to_qty <= from_qty OR nano < 0))
            OR (status = 'adjust' AND (to_qty = from_qty OR (to_qty < from_qty AND nano > 0) OR (to_qty > from_qty
                AND (nano < 0 OR (line NOT LIKE 'carrier:%' AND line NOT LIKE 'stream:%')))))"""
    ends = """
        SELECT b.call_id AS subject, b.line AS line, b.quantity AS quantity,
            COALESCE(SUM(e.to_qty - e.from_qty), 0) AS tiles
        FROM call_cost_breakdowns b LEFT JOIN call_cost_events e
            ON e.call_id = b.call_id AND e.line = b.line AND e.status <> 'unconfirmed'
        GROUP BY b.call_id, b.line, b.quantity HAVING b.quantity <> COALESCE(SUM(e.to_qty - e.from_qty), 0)"""
    unlisted = """
        SELECT DISTINCT e.call_id AS subject, e.line AS line_without_breakdown FROM call_cost_events e
        WHERE e.status <> 'unconfirmed' AND NOT EXISTS (
            SELECT 1 FROM call_cost_breakdowns b WHERE b.call_id = e.call_id AND b.line = e.line)"""
    return [*await broken(tx, "I3", gaps), *await broken(tx, "I3", ends), *await broken(tx, "I3", unlisted)]


async def totals_are_their_tiles(tx: Tx) -> list[Breach]:
    """I4: tiles add up to each line, lines to the call, and both to what the pinned prices make of the quantities."""
    lines = """
        SELECT b.call_id AS subject, b.line AS line, b.amount_nano AS amount, COALESCE(SUM(e.nano), 0) AS tiles
        FROM call_cost_breakdowns b LEFT JOIN call_cost_events e
            ON e.call_id = b.call_id AND e.line = b.line AND e.status <> 'unconfirmed'
        GROUP BY b.call_id, b.line, b.amount_nano HAVING b.amount_nano <> COALESCE(SUM(e.nano), 0)"""
    totals = """
        SELECT c.id AS subject, c.total_nano AS total, COALESCE(SUM(b.amount_nano), 0) AS lines
        FROM calls c LEFT JOIN call_cost_breakdowns b ON b.call_id = c.id
        GROUP BY c.id, c.total_nano HAVING c.total_nano <> COALESCE(SUM(b.amount_nano), 0)"""
    return [*await broken(tx, "I4", lines), *await broken(tx, "I4", totals), *await _rerated(tx)]


async def _rerated(tx: Tx) -> list[Breach]:
    query = select(
        call_cost_breakdowns.c.call_id,
        call_cost_breakdowns.c.line,
        call_cost_breakdowns.c.quantity,
        call_cost_breakdowns.c.amount_nano,
        calls.c.price_ids,
    ).join(calls, calls.c.id == call_cost_breakdowns.c.call_id)
    breaches: list[Breach] = []
    known: dict[int, Price] = {}
    rows = (await tx.execute(query)).partitions(CHUNK)
    for chunk in rows:
        missing = {ident for row in chunk for ident in row.price_ids} - known.keys()
        known |= {priced.price.price_id: priced.price for priced in await by_ids(tx, missing)}
        for call_id, line, quantity, amount, price_ids in chunk:
            book = PriceBook(tuple(known[ident] for ident in price_ids if ident in known))
            try:
                right = cost(book.line(line), quantity)
            except KeyError:
                breaches.append(Breach("I4", call_id, f"line {line}, not in the call's price book"))
                continue
            if right != amount:
                breaches.append(Breach("I4", call_id, f"line {line}, amount {amount}, re-rated {right}"))
    return breaches


async def unconfirmed_are_few(tx: Tx) -> list[Breach]:
    """I8: what was perhaps bought as a process died is one loss of the operator's a crash, and no part of a call's
    charges. Each crash begins an epoch, which the loss names."""
    query = """
        SELECT o.call_id, o.reason, o.amount_nano, c.epoch FROM operator_losses o JOIN calls c ON c.id = o.call_id
        WHERE o.reason LIKE 'unconfirmed%' ORDER BY o.call_id, o.reason"""
    charged = "SELECT call_id AS subject, line, seq FROM call_cost_events WHERE status = 'unconfirmed'"
    breaches = await broken(tx, "I8", charged)
    for call_id, reason, amount, epoch in await tx.execute(text(query)):
        crash = reason.removeprefix("unconfirmed:")
        if reason not in {f"unconfirmed:{known}" for known in range(2, epoch + 1)} or amount <= 0:
            figures = f"crash {crash}, of the epochs 2 to {epoch}, amount {amount}"
            breaches.append(Breach("I8", call_id, figures))
    return breaches


async def nobody_wrote_after_losing_it(tx: Tx) -> list[Breach]:
    """I11: a process writes one run of numbers each time it takes the call, so there are no more runs than epochs, and
    what closed a call is of its last epoch.

    One that lost a call may have it again later. What is corrected after the books are closed is no process's.
    """
    runs = """
        SELECT call_id AS subject, COUNT(*) AS runs, epoch FROM (
            SELECT e.call_id, e.node, c.epoch AS epoch,
                LAG(e.node) OVER (PARTITION BY e.call_id ORDER BY e.seq) AS earlier
            FROM call_cost_events e JOIN calls c ON c.id = e.call_id
            WHERE NOT (e.status = 'adjust' AND e.node = '')) AS written
        WHERE earlier IS NULL OR earlier <> node
        GROUP BY call_id, epoch HAVING COUNT(*) > epoch"""
    holds = """
        SELECT h.call_id AS subject, h.epoch AS hold_epoch, c.epoch AS epoch
        FROM credit_holds h JOIN calls c ON c.id = h.call_id WHERE h.epoch > c.epoch"""
    return [*await broken(tx, "I11", runs), *await broken(tx, "I11", holds)]


async def numbers_have_no_hole(tx: Tx) -> list[Breach]:
    """I13: a call's tiles are numbered 1 to its last number, so its total only ever grew by what is written."""
    query = """
        SELECT c.id AS subject, c.last_seq AS last_number, COALESCE(e.tiles, 0) AS tiles, e.least AS least,
            e.most AS most
        FROM calls c LEFT JOIN (
            SELECT call_id, COUNT(*) AS tiles, MIN(seq) AS least, MAX(seq) AS most FROM call_cost_events
            WHERE status <> 'unconfirmed' GROUP BY call_id) AS e ON e.call_id = c.id
        WHERE c.last_seq <> COALESCE(e.tiles, 0) OR c.last_seq <> COALESCE(e.most, 0) OR e.least <> 1"""
    return await broken(tx, "I13", query)
