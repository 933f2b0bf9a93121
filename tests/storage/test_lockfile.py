"""One server on one data directory, until it is gone, however it goes."""

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import storage
from storage.db import Database
from storage.lockfile import NAME, DataDirBusy, hold_data_dir
from storage.migrate import migrate

ROOT = Path(storage.__file__).parent.parent
HOLD = """
import sys
from pathlib import Path
from storage.lockfile import hold_data_dir
with hold_data_dir(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_directory_is_held_and_given_back(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    for _ in range(2):
        with hold_data_dir(data), pytest.raises(DataDirBusy, match=r"process \d+"), hold_data_dir(data):
            pass
    with hold_data_dir(tmp_path / "other"), hold_data_dir(data):
        pass


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in folder.iterdir()}


@pytest.fixture
def _lax_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_lax_umask")
async def test_what_is_made_is_its_owner_s_only_whatever_the_umask(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    url = f"sqlite+aiosqlite:///{data}/callmeback.db"
    with hold_data_dir(data):
        await migrate(url)
        database = Database.open(url)
        async with database.write() as tx:
            await tx.run_sync(lambda _: None)
        files = modes(data)
        await database.aclose()
    assert mode(data) == 0o700
    names = {"callmeback.db", "callmeback.db-wal", "callmeback.db-shm", "callmeback.db.migrate.lock", NAME}
    assert files == dict.fromkeys(names, 0o600)


@pytest.mark.usefixtures("_lax_umask")
async def test_a_directory_that_is_there_keeps_its_mode_and_gets_private_files(tmp_path: Path) -> None:
    folder = tmp_path / "loose"
    os.mkdir(folder, 0o755)  # the umask is 0
    await migrate(f"sqlite+aiosqlite:///{folder}/callmeback.db")
    with hold_data_dir(folder):
        pass
    assert mode(folder) == 0o755
    assert set(modes(folder).values()) == {0o600}


@pytest.mark.usefixtures("_lax_umask")
async def test_migrate_alone_makes_a_private_directory(tmp_path: Path) -> None:
    await migrate(f"sqlite+aiosqlite:///{tmp_path}/new/callmeback.db")
    assert mode(tmp_path / "new") == 0o700


async def test_a_killed_server_holds_nothing(tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLD,
        tmp_path,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    assert await server.stdout.readline() == b"held\n"
    with pytest.raises(DataDirBusy, match=f"process {server.pid}"), hold_data_dir(tmp_path):
        pass
    server.kill()
    await server.wait()
    with hold_data_dir(tmp_path):
        pass
