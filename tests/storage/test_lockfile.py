"""One server on one data directory, until it is gone, however it goes."""

import asyncio
import sys
from pathlib import Path

import pytest

import storage
from storage.lockfile import DataDirBusy, hold_data_dir

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
