"""From the command to the first `/readyz` that says yes, as an operator would see it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import suppress

from benchmarks.concurrency import free_port
from benchmarks.figures import Figure
from pipeline.clock import real_seconds

LOOK_EVERY_S = 0.01
PATIENCE_S = 60.0
_ASK = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def _ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(_ASK)
        return (await reader.read(64)).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False
    finally:
        writer.close()


async def start(data_dir: str, engines: str) -> float:
    """Seconds from the start of `callmeback serve` until it is ready; it is stopped again."""
    port = free_port()
    environment = {
        **os.environ, "DATA_DIR": data_dir, "PORT": str(port), "LOG_LEVEL": "error", "STT_ENGINE": engines,
        "LLM_ENGINE": engines, "TTS_ENGINE": engines,
    }  # fmt: skip
    begun = real_seconds()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.cli", "serve", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await _ready(port):
                if process.returncode is not None:
                    raise RuntimeError("callmeback serve has ended; what it said is above")
                await asyncio.sleep(LOOK_EVERY_S)
        return real_seconds() - begun
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def measure(*, with_local: bool) -> list[Figure]:
    figures = []
    for engines in ("scripted", "local") if with_local else ("scripted",):
        with tempfile.TemporaryDirectory(prefix="callmeback-bench-") as data_dir:
            first, again = await start(data_dir, engines), await start(data_dir, engines)
        figures += [
            Figure(
                "start", f"{engines} engines, no database yet", first, "s", 2.0, note="SQLite; all migrations"
            ),
            Figure("start", f"{engines} engines, again", again, "s", 2.0),
        ]
    return figures
