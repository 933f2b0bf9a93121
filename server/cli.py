"""The `callmeback` command. Each subcommand says what it does and hands over; nothing is decided here.

Only the command line library is imported at the top: `callmeback --help` must not wait for engines or drivers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from server.commands import accounts as account_commands
from server.commands import money as money_commands
from server.commands import personas as persona_commands
from server.commands import prices as price_commands
from server.commands.command import configured, fail, on_record, open_database, run, tell_misspelt
from server.commands.typed import OneLine

if TYPE_CHECKING:
    from server.nodes.workers import Inherited
    from server.settings import Settings
    from storage.shell import Parameter

T = TypeVar("T")

app = typer.Typer(
    name="callmeback",
    cls=OneLine,
    help="A voice server that calls you back. Settings come from the environment; docs/settings.md lists them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(persona_commands.commands, name="personas")
app.add_typer(price_commands.commands, name="prices")
for command in (
    account_commands.password, money_commands.credit, money_commands.refund, money_commands.audit,
):  # fmt: skip
    app.command()(command)


@app.command()
def serve(
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the port; more than one need PostgreSQL.")
    ] = 1,
    worker: Annotated[int, typer.Option(hidden=True)] = 0,
    listener: Annotated[int, typer.Option(hidden=True)] = -1,
    parent: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """Run the server, on the database and under the address the environment says."""
    from server.logs import configure

    settings = configured()
    configure(settings.log_level, plain=sys.stderr.isatty())
    _log_misspelt()
    if workers > 1:
        from server.nodes.workers import supervise

        run(supervise(settings, workers))
    elif worker:
        from server.nodes.workers import Inherited

        run(_serve(settings, Inherited(worker, listener, parent)))
    else:
        run(_serve(settings))


def _log_misspelt() -> None:
    """The same for whoever keeps the log and sees no terminal."""
    import structlog

    from server.settings import misspelt

    for name, meant in misspelt().items():
        structlog.get_logger("server.cli").warning("unknown_setting", name=name, meant=meant)


async def _serve(settings: Settings, inherited: Inherited | None = None) -> None:
    from server.listening import taken

    # Before all that is slow to load: a server that takes another's place is waited for from here on.
    listener = None if inherited is not None else taken(settings)

    from server.calls.live import open_desk
    from server.serving import serve as run_server

    if not sys.stderr.isatty() or inherited is not None:
        await run_server(settings, open_desk, inherited=inherited, listener=listener)
        return
    from server.commands.terminal import Terminal

    with closing(Terminal()) as terminal:
        await run_server(
            settings, partial(open_desk, on_progress=terminal.loading), terminal.ready, listener=listener
        )


@app.command()
def demo() -> None:
    """Play one whole call, offline: it rings, hears, answers, is cut off by its budget, and is accounted for."""
    from server.demo import main as run_demo

    tell_misspelt()
    raise typer.Exit(run_demo())


class EngineSet(StrEnum):
    """Which engines hear a WAV again."""

    LOCAL = "local"
    SCRIPTED = "scripted"


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="The journal of a call, or a WAV.", exists=True, dir_okay=False)
    ],
    timeline: Annotated[bool, typer.Option(help="Show what happened when, first.")] = False,
    persona: Annotated[str, typer.Option(help="Who answers a WAV.")] = "sarah",
    engines: Annotated[EngineSet, typer.Option(help="What hears a WAV.")] = EngineSet.LOCAL,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where a WAV's journal and recording go, beside it unless said; or the sound of a replay."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Of a journal: what came of it as one line of JSON.")
    ] = False,
) -> None:
    """Run a recorded call again. A journal: prints `exact`, or the first line that differs and exits 1."""
    from server.logs import configure

    configure("error")  # what failed then fails again, and is no news
    if as_json:
        _verdict(file)
    from server.commands.replaying import main as run_replay

    raise typer.Exit(run_replay(file, timeline=timeline, persona=persona, engines=engines.value, out=out))


def _verdict(journal: Path) -> NoReturn:
    from dataclasses import asdict

    from pipeline.core.errors import JournalError
    from server.replay_verdict import verdict

    try:
        found = verdict(journal)
    except (JournalError, ValueError, OSError) as error:
        fail(str(error))
    typer.echo(json.dumps(asdict(found)))
    raise typer.Exit(0 if found.exact else 1)


@app.command()
def migrate() -> None:
    """Bring the database up to date. `serve` does the same when it starts."""
    from storage.migrate import migrate as run_migrations

    applied = run(run_migrations(configured().database_url))
    typer.echo(f"{applied} migration{'' if applied == 1 else 's'} applied")


@app.command()
def sql(
    statement: Annotated[str | None, typer.Argument(help="What to run; parameters are :name or ?.")] = None,
    file: Annotated[Path | None, typer.Option(help="Run this file instead, in one transaction.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="name=value, or name:int=5 (int, float, bool).")
    ] = None,
    arg: Annotated[list[str] | None, typer.Option(help="The value of the next ?.")] = None,
) -> None:
    """Run SQL on the configured database and print each row as a line of JSON."""
    from storage.shell import run_sql

    if (statement is None) == (file is None):
        fail("give either a statement or --file", code=2)
    if param and arg:
        fail("give either --param or --arg", code=2)
    text = statement if statement is not None else _read(file)
    values: dict[str, Parameter] | list[Parameter] = [*arg] if arg else dict(map(_parameter, param or []))

    async def work() -> None:
        async with open_database() as database:
            for row in await run_sql(database, text, values):
                typer.echo(json.dumps(row, ensure_ascii=False))

    run(work())


def _read(file: Path | None) -> str:
    try:
        return Path(file or "").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}")


def _parameter(given: str) -> tuple[str, Parameter]:
    name, equals, value = given.partition("=")
    name, _, kind = name.partition(":")
    if not equals or not name.isidentifier():
        fail(f"--param is name=value, not {given!r}", code=2)
    readers: dict[str, Callable[[str], Parameter]] = {
        "": str,
        "str": str,
        "int": int,
        "float": float,
        "bool": {"true": True, "false": False}.__getitem__,
    }
    if kind not in readers:
        fail(f"--param {name}: {kind!r} is none of str, int, float, bool", code=2)
    try:
        return name, readers[kind](value)
    except (ValueError, KeyError):
        fail(f"--param {name}: {value!r} is no {kind}", code=2)


@app.command()
def admin(
    email: Annotated[str, typer.Argument(help="Whose account.")],
    revoke: Annotated[bool, typer.Option(help="Take the role away again.")] = False,
) -> None:
    """Make somebody an operator of this server: they may use /api/admin."""
    from storage import users

    async def work() -> None:
        async with open_database() as database, database.write() as tx:
            user = await users.by_email(tx, email)
            if user is None:
                fail("there is no account with this address")
            await users.update(tx, user.id, role="user" if revoke else "admin")
            action = "operator.removed" if revoke else "operator.made"
            await on_record(tx, action, user.id)
        typer.echo(f"{email} is {'no operator any more' if revoke else 'an operator'}")

    run(work())


@app.command()
def block(
    number: Annotated[str, typer.Argument(help="With its country, such as +12025550142; or: withheld.")],
    lift: Annotated[bool, typer.Option(help="Answer it again.")] = False,
) -> None:
    """Do not answer a number when it rings."""
    from pipeline.clock import Clock
    from server.auth import signing_ring
    from server.inbound.senders import named
    from server.number_key import unlock
    from storage import inbound

    async def work() -> None:
        try:
            e164 = named(number)
        except ValueError as error:
            fail(str(error))
        async with open_database() as database:
            await unlock(database, signing_ring(configured()))
            async with database.write() as tx:
                if lift:
                    await inbound.unblock(tx, e164)
                else:
                    await inbound.block(tx, e164, "operator", Clock().utc())
                action = "inbound.unblocked" if lift else "inbound.blocked"
                await on_record(tx, action, "withheld" if e164 is None else f"number ending in {e164[-2:]}")
        typer.echo(f"{number} is {'answered' if lift else 'not answered any more'}")

    run(work())


@app.command()
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE_URL", help="Where it is reached, as its log says.")],
) -> None:
    """Have one of several nodes take no new calls and stop when its live ones are over, as SIGTERM does."""
    from storage import addresses

    async def work() -> bool:
        async with open_database() as database, database.write() as tx:
            found = await addresses.drain_at(tx, node.rstrip("/")) > 0
            if found:
                await on_record(tx, "node.drained", node.rstrip("/"))
            return found

    if not run(work()):
        fail("there is no such node")


@app.command()
def openapi() -> None:
    """Print the description of the REST interface, as /openapi.json has it."""
    from server.openapi import describe
    from server.routes import OPS

    typer.echo(json.dumps(describe(OPS), indent=2))


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
