"""The phases of a call, and which of them belong together. How one follows another is in `call.py`."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    RINGING = "ringing"
    CONNECTING = "connecting"
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
PAID = (*TALKING, Phase.CONNECTING, Phase.MACHINE, Phase.CLOSING)
