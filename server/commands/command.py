"""What every subcommand of `callmeback` stands on: settings, the database, running to the end, one line for an error.

Nothing heavy is imported at the top: `callmeback --help` must not wait for engines or drivers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from server.settings import Settings
    from storage.db import Database, Tx

T = TypeVar("T")


def configured() -> Settings:
    from server.settings import BadSettings, load

    tell_misspelt()
    try:
        return load()
    except BadSettings as error:
        fail(*error.problems)


def tell_misspelt() -> None:
    """A setting with a wrong name would be left out without a word."""
    from server.settings import misspelt

    for name, meant in misspelt().items():
        typer.echo(f"callmeback: warning: {name} is no setting; did you mean {meant}?", err=True)


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    """The configured database, brought up to date. Beside a running server it only takes the writer's turn."""
    from storage.db import Database, database_url
    from storage.migrate import migrate as run_migrations
    from storage.migrate import pending

    given = configured()
    url = given.database_url
    if given.sqlite and not (path := Path(database_url(url).database or "")).is_file():
        fail(f"there is no database at {path}; start the server or run: callmeback migrate")
    if await pending(url):
        await run_migrations(url)
    opened = Database.open(url, checkpoint=False)
    try:
        yield opened
    finally:
        await opened.aclose()


async def on_record(tx: Tx, action: str, subject: str, detail: str = "") -> None:
    """What is done by a command stands in the operators' log as what is done on their page."""
    from storage import audit_trail

    await audit_trail.note(tx, actor="command line", action=action, subject=subject, detail=detail)


def run(work: Coroutine[Any, Any, T]) -> T:
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
    except (BadSettings, CallMeBackError, OSError, ExceptionGroup) as error:  # edge: of the process
        # What stops a start comes out of the task groups it was in.
        cause: Exception = error
        while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]
        match cause:
            case BadSettings():
                fail(*cause.problems)
            case CallMeBackError():
                fail(str(cause))
            case OSError(filename=str(where), strerror=str(why)):
                fail(f"{where}: {why}")
        raise


def fail(*problems: str, code: int = 1) -> NoReturn:
    for line in problems:
        typer.echo(f"callmeback: {line}", err=True)
    raise typer.Exit(code)
