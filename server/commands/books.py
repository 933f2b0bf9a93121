"""The report of an audit, for a person at a terminal and as JSON for a script. What is checked is `storage/audit`'s."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.core.money import usd
from storage.audit import AuditReport

SHOWN = 50
"""Breaches listed at a terminal; JSON has them all."""


def show(console: Console, report: AuditReport) -> None:
    checks = Table("", "holds", "checked on", "breaches")
    checks.columns[3].justify = "right"
    for check in report.checks:
        found = f"[red]{check.breaches}[/]" if check.breaches else "0"
        promise = check.promise
        checks.add_row(promise.invariant, promise.holds, f"{check.looked_at:,} {promise.over}", found)
    console.print(checks)
    if report.breaches:
        table = Table("invariant", "where", "what")
        for breach in report.breaches[:SHOWN]:
            table.add_row(breach.invariant, breach.subject, breach.detail)
        console.print(table)
        if len(report.breaches) > SHOWN:
            console.print(f"and {len(report.breaches) - SHOWN:,} more: callmeback audit --json")
        for check in report.checks:
            if check.breaches:
                console.print(f"{check.promise.invariant}: {check.promise.advice}", markup=False)
    figures = report.figures
    losses = ", ".join(f"{reason} {usd(nano)}" for reason, nano in figures.losses.items()) or "none"
    console.print(
        f"held for open calls {usd(figures.held)} USD, used of it {usd(figures.used_by_open_calls)} USD\n"
        f"the operator's losses in USD: {losses}; unconfirmed {usd(figures.unconfirmed)}; "
        f"exposed beyond holds {usd(figures.exposed)}; seconds of calls nobody took {figures.unbilled_seconds}\n"
        f"{usd(figures.explained)} of {usd(figures.volume)} USD moved are explained"
    )
    console.print(
        f"{report.calls} calls, {report.events} charges, {report.explained_share:.2%} explained, "
        f"{len(report.breaches)} breaches"
    )


def plain(report: AuditReport) -> dict[str, Any]:
    """Amounts are decimal strings of dollars, as in the REST interface."""
    figures = report.figures
    return {
        "ok": not report.breaches,
        "checks": [
            {
                "invariant": check.promise.invariant,
                "holds": check.promise.holds,
                "over": check.promise.over,
                "looked_at": check.looked_at,
                "breaches": check.breaches,
                "advice": check.promise.advice if check.breaches else None,
            }
            for check in report.checks
        ],
        "breaches": [
            {"invariant": breach.invariant, "subject": breach.subject, "detail": breach.detail}
            for breach in report.breaches
        ],
        "calls": report.calls,
        "charges": report.events,
        "explained_share": report.explained_share,
        "volume_usd": usd(figures.volume),
        "explained_usd": usd(figures.explained),
        "held_usd": usd(figures.held),
        "used_by_open_calls_usd": usd(figures.used_by_open_calls),
        "operator": {
            "losses_usd": {reason: usd(nano) for reason, nano in figures.losses.items()},
            "unconfirmed_usd": usd(figures.unconfirmed),
            "exposed_usd": usd(figures.exposed),
            "unbilled_seconds": figures.unbilled_seconds,
        },
    }
