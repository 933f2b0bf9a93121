"""`callmeback prices`: what the operator's carrier asks for a minute, by destination."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.commands.command import configured, fail, on_record, open_database, run

commands = typer.Typer(
    no_args_is_help=True, help="What calls cost: bring the carrier's prices in, look at them."
)


@commands.command("import")
def import_prices(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with a first line of names: destination, usd_per_minute; source, seen_on, note.",
            exists=True, dir_okay=False,
        ),
    ],
) -> None:  # fmt: skip
    """Put the prices of a sheet in force from now on, all of them or none. Calls that are on keep theirs."""
    from pipeline.clock import Clock
    from server.calls.casting import CARRIER_MODEL
    from server.money.destinations import BadSheet, read
    from storage import pricing

    now = Clock().utc()
    try:
        rates = read(file, now.date())
    except BadSheet as bad:
        fail(*(f"{file.name}: {problem}" for problem in bad.problems))

    async def work() -> int:
        async with open_database() as database, database.write() as tx:
            new = await pricing.set_rates(tx, CARRIER_MODEL, rates, now)
            await on_record(tx, "prices.imported", file.name, f"{new} new of {len(rates)}")
            return new

    new = run(work())
    typer.echo(f"{new} new, {len(rates) - new} as they were")


@commands.command("list")
def list_prices() -> None:
    """The carrier's prices in force, and which countries that may be rung have none."""
    from pipeline.clock import Clock
    from pipeline.core.money import usd
    from server.money.destinations import price_of, without_price
    from storage import pricing
    from storage.records import PriceRow

    async def work() -> list[PriceRow]:
        async with open_database() as database, database.read() as tx:
            return await pricing.current(tx, Clock().utc(), configured().price_list)

    rows = run(work())
    for row in sorted(rows, key=lambda row: row.destination):
        if (nano := price_of([row.price])) is not None:
            seen = "" if row.seen_on is None else f", seen {row.seen_on}"
            typer.echo(f"{row.destination or 'anywhere':10} {usd(nano)} USD a minute  {row.source}{seen}")
    for country in without_price(rows, configured().operator_country):
        typer.echo(f"{country:10} no price: its numbers are not rung", err=True)
