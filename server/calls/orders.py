"""What the carrier is asked for when a call is dialled."""

from __future__ import annotations

from pipeline.carriers.base import DialOrder
from server.settings import Settings
from storage.records import CallRow

LIMIT_SLACK_S = 30
"""The carrier's own time limit lies this far behind the longest permitted call."""


def dial_order(row: CallRow, settings: Settings, sender: str) -> DialOrder:
    """Of a call to a telephone."""
    if row.phone_e164 is None:
        raise ValueError("a phone call has a number")
    base = settings.public_url
    return DialOrder(
        to=row.phone_e164,
        sender=sender,
        answer_url=f"{base}/twilio/voice?call={row.id}",
        status_url=f"{base}/twilio/status?call={row.id}",
        amd_url=f"{base}/twilio/amd?call={row.id}",
        ring_s=settings.ring_seconds,
        limit_s=row.max_minutes * 60 + LIMIT_SLACK_S,
    )
