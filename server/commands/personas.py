"""`callmeback personas`: the operator's personas from a file and into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.commands.command import configured, on_record, open_database, run

commands = typer.Typer(no_args_is_help=True, help="Who can ring people: bring personas in, take them out.")


@commands.command("import")
def import_personas(
    file: Annotated[
        Path, typer.Argument(help="JSON, or TOML with [[persona]].", exists=True, dir_okay=False)
    ],
) -> None:
    """Add the personas of a file, or put them in the place of those with the same ids. All of them or none."""
    from server.personas import read
    from storage import personas

    async def work() -> None:
        found = read(file, configured())
        async with open_database() as database, database.write() as tx:
            known = {persona.id for persona in await personas.all(tx)}
            for persona in found:
                await personas.put(tx, persona)
                action = "persona.changed" if persona.id in known else "persona.added"
                await on_record(tx, action, persona.id)
        for persona in found:
            typer.echo(f"{'changed' if persona.id in known else 'added'} {persona.id}: {persona.name}")

    run(work())


@commands.command("export")
def export_personas(
    out: Annotated[Path | None, typer.Option(help="Where to write; standard output unless said.")] = None,
) -> None:
    """All personas as JSON, as import takes them."""
    from server.personas import written
    from storage import personas

    async def work() -> str:
        async with open_database() as database, database.read() as tx:
            return written(await personas.all(tx))

    text = run(work())
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
