"""A scheduled call asked for again under its `Idempotency-Key` is the same one: a lost answer makes no second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pipeline.core.errors import Refused
from server.routes.scheduled_views import ScheduleView, dials_of, shown
from server.routing import Ask
from storage import schedules
from storage.schedule_records import Schedule, ScheduleKeyTaken


async def once(ask: Ask[Any, None], made: Callable[[Mapping[str, str]], Awaitable[Schedule]]) -> ScheduleView:
    """`made` is told what to keep with it. Of an earlier one nothing is checked anew: its moment may be past."""
    if (asked := ask.idempotency()) is None:
        return await shown(await made({}), [])
    idem = dict(zip(("idem_key", "idem_hash"), asked, strict=True))
    known = await _earlier(ask, idem)
    if known is not None:
        return known
    try:
        return await shown(await made(idem), [])
    except ScheduleKeyTaken:  # by a request of the same moment
        known = await _earlier(ask, idem)
        if known is None:
            raise LookupError("the schedule that has the key is gone") from None
        return known


async def _earlier(ask: Ask[Any, None], idem: Mapping[str, str]) -> ScheduleView | None:
    """Raises `Refused` where the key was another request's."""
    async with ask.parts.database.read() as tx:
        schedule = await schedules.by_key(tx, ask.user.id, idem["idem_key"])
        if schedule is None:
            return None
        if schedule.idem_hash != idem["idem_hash"]:
            raise Refused(
                "idempotency_conflict", "This Idempotency-Key was used with another request.", status=409
            )
        dials = await dials_of(tx, schedule)
    return await shown(schedule, dials)
