"""How a call ended, as everybody is told: live listeners, late readers, the call's own page."""

from __future__ import annotations

from pipeline.core.money import usd
from storage.records import CallRow


def duration(call: CallRow) -> int | None:
    """Whole seconds: the carrier's count where it is known, else what we saw; None until answered and over."""
    if call.carrier_seconds is not None:
        return call.carrier_seconds
    if call.answered_at is None or call.ended_at is None:
        return None
    return max(0, int((call.ended_at - call.answered_at).total_seconds()))


def ending(call: CallRow) -> dict[str, object]:
    """The data of the event `ended`."""
    return {
        "status": call.status,
        "end_reason": call.end_reason,
        "duration_seconds": duration(call),
        "total_usd": usd(call.total_nano),
    }
