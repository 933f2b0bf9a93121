"""Replays that somebody asked for over REST: each in a process of its own, so that no live call waits for it.

One at a time, at low priority, and not for ever. What it runs is `callmeback replay --json`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from pipeline.core.errors import Refused
from server.replay_verdict import Verdict

LIMIT_S = 60.0
NICENESS = 10

log = structlog.get_logger(__name__)


class Replays:
    """Those of this process."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._busy = False

    async def run(self, journals: list[Path]) -> Verdict:
        """The parts of one call, all of them; exact if each is. Raises `Refused`."""
        if self._busy:
            raise Refused(
                "overloaded", "Another call is being replayed; this takes seconds.", status=503, retry_after=5
            )
        self._busy = True
        try:
            async with asyncio.timeout(self._limit_s):
                found = [await _replayed(journal) for journal in journals]
        except TimeoutError:
            raise Refused(
                "overloaded",
                "The replay takes too long here. Fetch the journal and run: callmeback replay FILE",
                status=503,
                retry_after=60,
            ) from None
        finally:
            self._busy = False
        return found[0] if len(found) == 1 else _joined(found)


def _joined(parts: list[Verdict]) -> Verdict:
    """Of a call that went on in another process."""
    worst = next((part for part in parts if not part.exact), min(parts, key=lambda part: part.level))
    return Verdict(
        exact=worst.exact,
        level=min(part.level for part in parts),
        steps=sum(part.steps for part in parts),
        seconds=max(part.seconds for part in parts),
        summary=" Then: ".join(part.summary for part in parts),
        first_difference=worst.first_difference,
    )


async def _replayed(journal: Path) -> Verdict:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server.cli", "replay", str(journal), "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        with suppress(OSError):  # it may be over already
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return Verdict(**json.loads(said))
    except (TypeError, ValueError):
        log.warning("replay_failed", journal=journal.name, code=process.returncode)
        raise Refused(
            "invalid_request", "The journal of this call cannot be read; nothing can be replayed.", status=409
        ) from None
