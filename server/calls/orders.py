"""What the carrier is asked for when a call is dialled, and when the call is over by that whatever is heard of it."""

from __future__ import annotations

from pipeline.carriers.base import DialOrder
from server.settings import Settings
from storage.records import CallRow

LIMIT_SLACK_S = 30
"""The carrier's own time limit lies this far behind the longest permitted call."""

RINGS_S, LATE_S = 120, 60
"""The longest a phone rings, and how far the clocks of the machines and the carrier's may be apart."""
CARRIERS_LIMIT_S = 4 * 3600


def longest_s(row: CallRow) -> int:
    """From when it was placed until the carrier itself has ended the call: it was told how long it may take, but not
    of a call that came in, which has the carrier's own limit."""
    if row.direction == "inbound":
        return CARRIERS_LIMIT_S + LATE_S
    return RINGS_S + row.max_minutes * 60 + LIMIT_SLACK_S + LATE_S


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
