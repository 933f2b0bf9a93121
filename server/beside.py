"""What runs beside the calls of a node: schedules, background jobs, retention, orders whose payment was not told; and
what is looked at once."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from server.desk import Desk
from server.inbound import call_back
from server.jobs import Handler, Jobs
from server.money import auditing, reconciling
from server.money.auditing import Auditing
from server.money.reconciling import Reconciliation
from server.parts import Parts, State
from server.payments.cashier import KIND as PAYMENTS
from server.privacy.retention import KIND as RETENTION
from server.privacy.retention import Retention
from server.reach import compare
from server.schedules.due import Scheduler


async def beside(parts: Parts, desk: Desk, node: str) -> tuple[Scheduler, list[Coroutine[Any, Any, None]]]:
    """The scheduler, and everything that is to run. None of it begins anything while the server drains."""

    def taking() -> bool:
        return parts.state is State.READY

    settings, database, clock = parts.settings, parts.database, parts.clock
    retention = Retention(database, clock, settings.calls_dir, settings.retention_days)
    await retention.plan()
    scheduler = Scheduler(
        database=database,
        clock=clock,
        desk=desk,
        node=node,
        calls_per_second=settings.carrier_calls_per_second,
        taking=taking,
    )
    handlers: dict[str, Handler] = {
        RETENTION: retention.clear,
        auditing.KIND: Auditing(database, clock),
        reconciling.KIND: Reconciliation(database, parts.carrier, clock),
        call_back.KIND: call_back.CallBack(database, clock, desk),
    }
    lasting = {RETENTION}
    if parts.cashier is not None:
        await parts.cashier.plan()
        handlers[PAYMENTS] = parts.cashier.poll_job
        lasting.add(PAYMENTS)
    jobs = Jobs(database=database, clock=clock, node=node, handlers=handlers, taking=taking, lasting=lasting)
    works: list[Coroutine[Any, Any, None]] = [scheduler.run(), jobs.run(), retention.tidy_files()]
    if parts.reach is not None:
        works.append(compare(parts.reach, settings.operator_country))
    return scheduler, works
