"""The `callmeback` command. Each subcommand says what it does and hands over; nothing is decided here.

Only the command line library is imported at the top: `callmeback --help` must not wait for engines or drivers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from server.settings import Settings
    from storage.db import Database
    from storage.shell import Parameter

T = TypeVar("T")

app = typer.Typer(
    name="callmeback",
    help="A voice server that calls you back. Settings come from the environment; docs/settings.md lists them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def serve() -> None:
    """Run the server, on the database and under the address the environment says."""
    from server.logs import configure

    settings = _settings()
    configure(settings.log_level, plain=sys.stderr.isatty())
    _run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from server.app import serve as run_server
    from server.live import open_desk

    if not sys.stderr.isatty():
        await run_server(settings, open_desk)
        return
    from server.terminal import Terminal

    with closing(Terminal()) as terminal:
        await run_server(settings, partial(open_desk, on_progress=terminal.loading), terminal.ready)


@app.command()
def demo() -> None:
    """Play one whole call, offline: it rings, hears, answers, is cut off by its budget, and is accounted for."""
    from server.demo import main as run_demo

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
) -> None:
    """Run a recorded call again. A journal: prints `exact`, or the first line that differs and exits 1."""
    from server.logs import configure
    from server.replaying import main as run_replay

    configure("error")  # what failed then fails again, and is no news
    raise typer.Exit(run_replay(file, timeline=timeline, persona=persona, engines=engines.value, out=out))


@app.command()
def migrate() -> None:
    """Bring the database up to date. `serve` does the same when it starts."""
    from storage.migrate import migrate as run_migrations

    applied = _run(run_migrations(_settings().database_url))
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
        _fail("give either a statement or --file", code=2)
    if param and arg:
        _fail("give either --param or --arg", code=2)
    text = statement if statement is not None else _read(file)
    values: dict[str, Parameter] | list[Parameter] = [*arg] if arg else dict(map(_parameter, param or []))

    async def work() -> None:
        async with _database() as database:
            for row in await run_sql(database, text, values):
                typer.echo(json.dumps(row, ensure_ascii=False))

    _run(work())


def _read(file: Path | None) -> str:
    try:
        return Path(file or "").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{file}: {error}")


def _parameter(given: str) -> tuple[str, Parameter]:
    name, equals, value = given.partition("=")
    name, _, kind = name.partition(":")
    if not equals or not name.isidentifier():
        _fail(f"--param is name=value, not {given!r}", code=2)
    readers: dict[str, Callable[[str], Parameter]] = {
        "": str,
        "str": str,
        "int": int,
        "float": float,
        "bool": {"true": True, "false": False}.__getitem__,
    }
    if kind not in readers:
        _fail(f"--param {name}: {kind!r} is none of str, int, float, bool", code=2)
    try:
        return name, readers[kind](value)
    except (ValueError, KeyError):
        _fail(f"--param {name}: {value!r} is no {kind}", code=2)


@app.command()
def credit(
    email: Annotated[str, typer.Argument(help="Whose account.")],
    amount: Annotated[str, typer.Argument(metavar="USD", help="Dollars, such as 12.50.")],
    note: Annotated[str, typer.Option(help="What the ledger says about it.")] = "granted by the operator",
    key: Annotated[str | None, typer.Option(help="Grant at most once under this key.")] = None,
) -> None:
    """Give an account credit."""
    from pipeline.core.money import parse_usd, usd
    from storage import ledger, users
    from storage.ids import new_id

    try:
        nanos = parse_usd(amount)
    except ValueError as error:
        _fail(str(error), code=2)
    if nanos == 0:
        _fail("the amount is nothing", code=2)

    async def work() -> None:
        from pipeline.clock import Clock

        async with _database() as database, database.write() as tx:
            user = await users.by_email(tx, email)
            if user is None:
                _fail("there is no account with this address")
            granted = await ledger.grant(
                tx,
                user_id=user.id,
                amount=nanos,
                kind="grant",
                idem_key=f"grant:{key or new_id()}",
                note=note,
                now=Clock().utc(),
            )
            balance = await ledger.balance(tx, user.id)
        typer.echo(f"{'granted' if granted else 'granted before'}: balance {usd(balance.balance)} USD")

    _run(work())


@app.command()
def audit(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as one JSON document.")
    ] = False,
) -> None:
    """Check the books against every invariant of the ledger. Exits 1 on any breach."""
    from rich.console import Console

    from server.books import plain, show
    from storage.audit import AuditReport
    from storage.audit import audit as run_audit

    async def work() -> AuditReport:
        async with _database() as database, database.read() as tx:
            return await run_audit(tx)

    report = _run(work())
    if as_json:
        typer.echo(json.dumps(plain(report)))
    else:
        show(Console(), report)
    raise typer.Exit(1 if report.breaches else 0)


@app.command()
def openapi() -> None:
    """Print the description of the REST interface, as /openapi.json has it."""
    from server.openapi import describe
    from server.routes import OPS

    typer.echo(json.dumps(describe(OPS), indent=2))


def main() -> None:
    """The entry point of the command."""
    app()


def _settings() -> Settings:
    from server.settings import BadSettings, load

    try:
        return load()
    except BadSettings as error:
        _fail(*error.problems)


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    """The configured database, brought up to date. Beside a running server it only takes the writer's turn."""
    from storage.db import Database, database_url
    from storage.migrate import migrate as run_migrations
    from storage.migrate import pending

    settings = _settings()
    url = settings.database_url
    if settings.sqlite and not (path := Path(database_url(url).database or "")).is_file():
        _fail(f"there is no database at {path}; start the server or run: callmeback migrate")
    if await pending(url):
        await run_migrations(url)
    database = Database.open(url, checkpoint=False)
    try:
        yield database
    finally:
        await database.aclose()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; what a person can do something about becomes one line on standard error."""
    import asyncio

    import uvloop

    from pipeline.core.errors import CallMeBackError
    from server.settings import BadSettings

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (BadSettings, CallMeBackError, OSError, ExceptionGroup) as error:
        # What stops a start comes out of the task groups it was in.
        cause: Exception = error
        while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]
        match cause:
            case BadSettings():
                _fail(*cause.problems)
            case CallMeBackError():
                _fail(str(cause))
            case OSError(filename=str(where), strerror=str(why)):
                _fail(f"{where}: {why}")
        raise


def _fail(*problems: str, code: int = 1) -> NoReturn:
    for line in problems:
        print(f"callmeback: {line}", file=sys.stderr)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
