"""Old calls lose their words: transcript, context, number, journal, recording. Their costs and dates stay.

With them goes whatever else is only kept for a while (`storage/ageing.py`).

The database is cleared by a daily job, on whichever node takes it. Files lie on the node that was on the call, so
each node looks for itself which of the calls in its folder have been cleared, or are not there any more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from pipeline.clock import Clock
from storage import ageing, jobs, retention, schedules, search
from storage.db import Database, DatabaseDown

log = structlog.get_logger()

KIND = "retention"
EVERY = timedelta(days=1)
FILES_EVERY_S = 3600.0
BATCH = 200
NEW_S = 3600.0
"""A file is older than this before its call counts as gone: a call's files are opened before its row is committed."""
_CALL_ID = re.compile(r"[0-9a-f]{32}")


class Retention:
    def __init__(self, database: Database, clock: Clock, calls_dir: Path, days: int) -> None:
        self._database = database
        self._clock = clock
        self._calls_dir = calls_dir
        self._kept = timedelta(days=days)

    async def plan(self) -> None:
        """The daily job is there, once for all nodes; where it was given up it is due again."""
        async with self._database.write() as tx:
            await jobs.keep(tx, KIND, KIND, "{}", self._clock.utc())

    async def clear(self, _payload: dict[str, Any]) -> datetime:
        """The job: clears what is too old, in short transactions. When to run next."""
        now = self._clock.utc()
        before = now - self._kept
        calls = gone = 0
        while True:
            async with self._database.write() as tx:
                ids = await retention.clear_calls(tx, before, now, BATCH)
                removed = await schedules.delete_before(tx, before) + await jobs.delete_before(tx, before)
                removed += await ageing.purge(tx, now, BATCH)
            calls, gone = calls + len(ids), gone + removed
            if not ids and not removed:
                break
        async with self._database.write() as tx:
            await search.forget(tx)
        log.info("retention", calls=calls, others=gone, days=self._kept.days)
        return now + EVERY

    async def tidy_files(self) -> None:
        """Until cancelled: the files of cleared calls go, now and every hour."""
        while True:
            try:
                await self.unlink_cleared()
            except (DatabaseDown, OSError) as error:
                log.warning("files_not_tidied", kind=type(error).__name__)
            await asyncio.sleep(FILES_EVERY_S)

    async def unlink_cleared(self) -> int:
        """Unlinks what cleared calls, and calls that are gone, left in this node's folder; how many files."""
        before = (self._clock.utc() - timedelta(seconds=NEW_S)).timestamp()
        by_call, settled = await asyncio.to_thread(_by_call, self._calls_dir, before)
        count = 0
        for ids in _chunks(list(by_call)):
            async with self._database.read() as tx:
                old = await retention.cleared(tx, ids)
                old |= await retention.gone(tx, [call_id for call_id in ids if call_id in settled])
            doomed = [file for call_id in sorted(old) for file in by_call[call_id]]
            await asyncio.to_thread(_unlink, doomed)
            count += len(doomed)
        return count


def _by_call(folder: Path, before: float) -> tuple[dict[str, list[Path]], set[str]]:
    """The files of each call, and which of the calls have none that was written since `before`.

    Files that are named after no call are somebody else's.
    """
    by_call: dict[str, list[Path]] = {}
    fresh: set[str] = set()
    for file in folder.iterdir():
        call_id = file.name.partition(".")[0]
        if not _CALL_ID.fullmatch(call_id) or not file.is_file():
            continue
        by_call.setdefault(call_id, []).append(file)
        if file.stat().st_mtime >= before:
            fresh.add(call_id)
    return by_call, set(by_call) - fresh


def _chunks(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def _unlink(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
