"""The sound that belongs to each voice-activity window, kept until the window's probability is known.

Probabilities come a moment later than the sound, in order; beside each window stands how loud
the agent was at the time. While the agent can be heard, sound waits here for the verdict on its
window before it goes to be transcribed, and the agent's echo goes there as silence; at any
other time it goes at once. As long as verdicts come in time, what goes there follows from sound,
loudness and verdicts alone, not from when they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.audio.mulaw import SILENCE

WINDOW_BYTES = 256
KEPT = 1_000
"""Windows that may wait: half a minute, as much as voice activity itself keeps."""
PATIENCE = 8
"""Windows that sound waits for a verdict at most, where voice activity is late: a quarter of a second."""

_SILENCE = bytes([SILENCE]) * WINDOW_BYTES


@dataclass(slots=True)
class _Window:
    """`agent`: how loud it was; `kept`: of how many bytes at the end it is not yet known whether they are an echo."""

    sound: bytes
    agent: int
    kept: int
    beside: bool
    """The agent could be heard before it too, so that all of it was kept."""


class Windows:
    def __init__(self) -> None:
        self._rest = b""
        self._kept = 0  # bytes at the end of the rest
        self._beside = False
        self._waiting: deque[_Window] = deque(maxlen=KEPT)
        self._latest: _Window | None = None

    def feed(self, mulaw: bytes, agent: Callable[[], int]) -> bytes:
        """Take sound of any length, and return what of it is to be transcribed without waiting.

        `agent`: loudness of the agent's own sound about now, asked for once a window.
        """
        at_once = b""
        while mulaw:
            part = mulaw[: WINDOW_BYTES - len(self._rest)]
            mulaw = mulaw[len(part) :]
            self._rest += part
            if self._beside or self._keeps:
                self._kept += len(part)
            else:
                at_once += part
            if len(self._rest) == WINDOW_BYTES:
                self._complete(agent())
        if len(self._waiting) > PATIENCE and self._keeps:
            return at_once + self._overdue()
        return at_once

    def take(self) -> tuple[bytes, int]:
        """The oldest window and the agent's loudness at its time; nothing where none is known."""
        if not self._waiting:
            self._latest = None
            return b"", 0
        self._latest = window = self._waiting.popleft()
        return window.sound, window.agent

    def judged(self, *, echo: bool) -> bytes:
        """What is to be transcribed now that it is known whether the window last taken is but the agent's echo."""
        window, self._latest = self._latest, None
        if window is None:
            return b""
        muted = echo and window.beside and window.agent > 0
        released = (_SILENCE if muted else window.sound)[WINDOW_BYTES - window.kept :]
        if not self._beside and not self._queued:
            released += self._rest[len(self._rest) - self._kept :]
            self._kept = 0
        return released

    @property
    def _keeps(self) -> bool:
        """Whether sound waits that would be overtaken."""
        return self._kept > 0 or self._queued

    @property
    def _queued(self) -> bool:
        return len(self._waiting) > 0 and self._waiting[-1].kept > 0

    def _complete(self, agent: int) -> None:
        self._waiting.append(_Window(self._rest, agent, self._kept, self._beside))
        self._rest, self._kept = b"", 0
        self._beside = agent > 0

    def _overdue(self) -> bytes:
        """All that waits, unjudged."""
        sound = b""
        for window in self._waiting:
            sound += window.sound[WINDOW_BYTES - window.kept :]
            window.kept = 0
        sound += self._rest[len(self._rest) - self._kept :]
        self._kept = 0
        return sound
