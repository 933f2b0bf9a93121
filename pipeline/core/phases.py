"""The phases of a call, and which of them belong together. How one follows another is in `call.py`."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    RINGING = "ringing"
    CONNECTING = "connecting"
    BROKEN = "broken"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    INTERRUPTED = "interrupted"
    MACHINE = "machine"
    CLOSING = "closing"
    HUNG_UP = "hung_up"
    REMEMBERING = "remembering"
    ENDED = "ended"


ANSWERING = (Phase.THINKING, Phase.SPEAKING)
"""It is the agent's turn."""
TALKING = (Phase.LISTENING, *ANSWERING, Phase.INTERRUPTED)
RENEWING = (*TALKING, Phase.CONNECTING, Phase.BROKEN, Phase.MACHINE)
"""More money is of use."""
PAID = (*RENEWING, Phase.CLOSING)
