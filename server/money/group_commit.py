"""Group commit: who comes while a transaction runs is served with all others who wait, in the next one.

A transaction on a busy account costs much the same for one as for many, and those on one account run one after the
other anyway. Nobody waits for a timer: who finds nobody before them begins at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from server.metrics import SURPRISES
from storage.db import DatabaseDown

log = structlog.get_logger()

A = TypeVar("A")
R = TypeVar("R")

LARGEST = 64
"""In one transaction, so that one is neither held for long nor in the way of the event loop."""


@dataclass(eq=False, slots=True)
class _Member(Generic[A, R]):
    """`outcome` None: not served yet."""

    asked: A
    outcome: tuple[R] | Exception | None = None


@dataclass(eq=False, slots=True)
class _Queue(Generic[A, R]):
    """Those of one key, oldest first. `lock` is held by whoever serves."""

    waiting: list[_Member[A, R]] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    present: int = 0


class GroupCommit(Generic[A, R]):
    """`serve` is one transaction for several members of one key, with an outcome for each of them in its place."""

    def __init__(
        self, serve: Callable[[Sequence[A]], Awaitable[Sequence[R | Exception]]], largest: int = LARGEST
    ) -> None:
        self._serve = serve
        self._largest = largest
        self._queues: dict[str, _Queue[A, R]] = {}

    async def join(self, key: str, asked: A) -> R:
        """The outcome, raised where it is an error.

        Whoever is at the head of those that wait serves them all. One that is cancelled meanwhile takes its
        transaction back; the others are served by the next. One whose turn has not come yet leaves nothing behind.
        """
        queue = self._queues.setdefault(key, _Queue())
        member: _Member[A, R] = _Member(asked)
        queue.waiting.append(member)
        queue.present += 1
        try:
            async with queue.lock:
                if member.outcome is None:
                    await self._serve_next(queue)
        finally:
            if member in queue.waiting:
                queue.waiting.remove(member)
            queue.present -= 1
            if not queue.present:
                del self._queues[key]
        assert member.outcome is not None, "whoever has the lock is the oldest that waits"
        if isinstance(member.outcome, Exception):
            raise member.outcome
        return member.outcome[0]

    async def _serve_next(self, queue: _Queue[A, R]) -> None:
        group = queue.waiting[: self._largest]
        del queue.waiting[: self._largest]
        try:
            await self._together(group)
        finally:
            queue.waiting[:0] = [member for member in group if member.outcome is None]

    async def _together(self, group: Sequence[_Member[A, R]]) -> None:
        try:
            outcomes = await self._serve([member.asked for member in group])
        except DatabaseDown as error:  # it may have been carried out, so it is not tried again here
            for member in group:
                member.outcome = error
        except Exception as error:  # edge: what is wrong with one must not keep the others from being served
            if len(group) == 1:
                group[0].outcome = error
                return
            SURPRISES.labels("group_commit").inc()
            log.warning("group_refused", members=len(group), why=type(error).__name__)
            for member in group:
                await self._together([member])
        else:
            for member, outcome in zip(group, outcomes, strict=True):
                member.outcome = outcome if isinstance(outcome, Exception) else (outcome,)
