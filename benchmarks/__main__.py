"""`python -m benchmarks [--quick] [--json FILE]`: measures everything, prints a table, keeps the bars beside it."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import (
    books,
    concurrency,
    due,
    first_view,
    flushing,
    interrupting,
    machine,
    remembering,
    replaying,
    starting,
    talking_over,
    vendors,
)
from benchmarks.concurrency import Plan
from benchmarks.figures import Figure
from pipeline.clock import real_seconds
from server.logs import configure

QUICK = Plan(levels=(10, 100), window_s=3.0, echo_window_s=1.0, ramp_s=0.05, settle_s=3.5)
FULL = Plan(levels=(1, 10, 50, 100), window_s=20.0, echo_window_s=8.0, ramp_s=0.1, settle_s=5.0)


WIDTH = 150
"""Of a table that goes to a file."""


async def measure(console: Console, *, quick: bool, only: str | None = None) -> list[Figure]:
    """All parts, or the one that is named. Raises `ValueError`, which names them, for one there is not."""
    figures: list[Figure] = []
    parts: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
        "replay": lambda: asyncio.to_thread(replaying.measure, 3 if quick else 9),
        "interruptions": lambda: asyncio.to_thread(interrupting.measure),
        "calls talked over": lambda: asyncio.to_thread(talking_over.measure, 21 if quick else 1),
        "hosted engines, one call": lambda: vendors.measure(2 if quick else 20, 1),
        "hosted engines, ten calls": lambda: vendors.measure(20 if quick else 200, 10),
        "flush": lambda: flushing.measure(21 if quick else 201, with_postgres=not quick),
        "books": lambda: books.measure(
            copies=1_000 if quick else 10_000, seconds=1.0 if quick else 5.0, with_postgres=not quick
        ),
        "schedules": lambda: due.measure(*((50, 5.0) if quick else (300, 60.0))),
        "start": lambda: starting.measure(with_local=not quick),
        "console": lambda: first_view.measure(3 if quick else 11),
        "calls": lambda: concurrency.measure(QUICK if quick else FULL),
        "memory": lambda: remembering.measure(*((100, 100, 20) if quick else (2_300, 1_000, 60))),
    }
    if only is not None and only not in parts:
        raise ValueError(f"there is no part {only!r}, only {', '.join(parts)}")
    for name, part in parts.items():
        if only not in {None, name}:
            continue
        begun = real_seconds()
        try:
            figures += await part()
        except Exception:  # edge: of one part; what the others found is shown
            console.print_exception()
            figures.append(Figure(name, "not measured", math.nan, ""))
        console.print(f"[dim]measured {name}: {real_seconds() - begun:.0f} s[/]")
    return figures


def show(console: Console, figures: list[Figure]) -> None:
    table = Table("", "what", "measured", "bar", "", "note", title="What a call costs", title_justify="left")
    table.columns[2].justify = table.columns[3].justify = "right"
    group = ""
    for figure in figures:
        if figure.group != group:
            table.add_section()
        verdict = {None: "", True: "[green]✓[/]", False: f"[red]✗ {figure.missed_by:+.0%}[/]"}[figure.met]
        sign = "≤" if figure.sense == "at most" else "≥"
        table.add_row(
            "" if figure.group == group else figure.group,
            figure.name,
            f"{figure.value:,.4g} {figure.unit}",
            "" if figure.bar is None else f"{sign} {figure.bar:,g}",
            verdict,
            f"[dim]{figure.note}[/]",
        )
        group = figure.group
    console.print(table)
    judged = [figure for figure in figures if figure.met is not None]
    missed = [figure for figure in judged if not figure.met]
    console.print(f"{len(judged) - len(missed)} of {len(judged)} bars met")


def write(path: Path, figures: list[Figure], *, quick: bool) -> None:
    result = {
        "machine": machine.describe(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "figures": [figure.plain() for figure in figures],
    }
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    """0 however the bars fare: a benchmark is no test."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of ten")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--only", metavar="PART", help="one part, such as console")
    given = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.exit(2, "The benchmarks read Linux's /proc.\n")
    configure("error")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(machine.describe())
    server_core, load_core = machine.cores()
    if server_core == load_core:
        console.print("[yellow]only one core: the load takes its time from the server's[/]")
    machine.pin(load_core)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            figures = runner.run(measure(console, quick=given.quick, only=given.only))
        except ValueError as error:
            parser.exit(2, f"{error}\n")
    show(console, figures)
    if given.json is not None:
        write(given.json, figures, quick=given.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
