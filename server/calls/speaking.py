"""Who is heard just now, for whoever watches the call: worked out from what passes through it, told a few times a turn.

A caller counts from when a voice is speech and no click; the agent from its first audible sample until the carrier
has played what it was given. In a pause of the agent, as while a noise is looked into, nobody counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipeline.core import effects as fx
from pipeline.core import events as ev

Role = Literal["agent", "caller"]
Change = tuple[Role, bool]

_SILENCES = (ev.LineBroken, ev.LineDropped, ev.CarrierDone)


class Speaking:
    """Of one call."""

    def __init__(self) -> None:
        self._heard: dict[Role, bool] = {"agent": False, "caller": False}
        self._queued = -1  # the latest chunk that the carrier was given

    def changes(self, event: ev.Event, effects: Sequence[fx.Effect]) -> list[Change]:
        """Who begins or ends with this step; each role at most once."""
        before = dict(self._heard)
        match event:
            case ev.SpeechHeld() | ev.SpeechReturned():
                self._heard["caller"] = True
            case ev.SpeechStopped():
                self._heard["caller"] = False
            case ev.Audible():
                self._heard["agent"] = True
            case ev.AudioQueued(chunk=chunk):
                self._queued = chunk
            case ev.MarkReached(chunk=chunk) if chunk >= self._queued:
                self._heard["agent"] = False
            case _:
                pass
        for effect in effects:
            if isinstance(effect, fx.Hush | fx.Pause):
                self._heard["agent"] = False
            elif isinstance(effect, fx.Resume):
                self._heard["agent"] = True
        if isinstance(event, _SILENCES) or any(isinstance(effect, fx.HangUp) for effect in effects):
            self._heard = {"agent": False, "caller": False}
        return [(role, now) for role, now in self._heard.items() if now is not before[role]]
