"""How a call ended, as everybody is told: live listeners, late readers, the call's own page."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.money import usd
from server.money import by_service
from storage.records import CallRow, CostLine


def duration(call: CallRow) -> int | None:
    """Whole seconds: the carrier's count where it is known, else what we saw; None until answered and over."""
    if call.carrier_seconds is not None:
        return call.carrier_seconds
    if call.answered_at is None or call.ended_at is None:
        return None
    return max(0, int((call.ended_at - call.answered_at).total_seconds()))


def spent(call: CallRow, lines: Iterable[CostLine]) -> dict[str, object]:
    """The data of the last event `cost`."""
    total = usd(call.total_nano)
    return {"second": duration(call) or 0, "total_usd": total, "services": by_service.of_lines(lines)}


def ending(call: CallRow) -> dict[str, object]:
    """The data of the event `ended`."""
    return {
        "status": call.status,
        "end_reason": call.end_reason,
        "duration_seconds": duration(call),
        "total_usd": usd(call.total_nano),
    }
