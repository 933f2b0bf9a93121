"""Files of calls whose account was deleted: where that is done they go at once, on other machines their node finds out.

A call's journal and recording lie where it was conducted, which need not be the node that is
asked to delete the account. Each node looks at what was erased: at its start, for all the
time it may have been away, then every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import structlog

from pipeline.clock import Clock
from storage import erasures
from storage.db import Database, DatabaseDown
from storage.erasures import AWAY

EVERY_S = 10.0
OVERLAP = timedelta(minutes=5)
"""Looked at again each time: clocks differ, and a transaction commits after the moment it notes."""

log = structlog.get_logger(__name__)


def unlink(folder: Path, call_ids: Iterable[str]) -> None:
    """Whatever is named after these calls, of whatever kind. Raises `OSError` for a file that cannot be removed."""
    wanted = frozenset(call_ids)
    for file in folder.iterdir() if wanted else ():
        if file.name.partition(".")[0] in wanted:
            file.unlink(missing_ok=True)


class Erasing:
    """`run` is a task of a node that is one of several."""

    def __init__(self, database: Database, clock: Clock, folder: Path) -> None:
        self._database = database
        self._clock = clock
        self._folder = folder
        self._seen = clock.utc() - AWAY

    async def run(self) -> None:
        while True:
            try:
                await self.once()
            except DatabaseDown as error:
                log.warning("erasures_not_read", retryable=error.retryable)
            except OSError as error:  # tried again, and told again, until somebody looks
                log.error("file_not_erased", error=error.strerror)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """Remove what was erased since the last time. Raises `DatabaseDown`, `OSError`; then it is all tried again."""
        now = self._clock.utc()
        async with self._database.read() as tx:
            erased = await erasures.since(tx, self._seen - OVERLAP)
        await asyncio.to_thread(unlink, self._folder, erased)
        self._seen = now
