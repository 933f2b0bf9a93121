"""The sound that belongs to each voice-activity window, kept until the window's probability is known.

Probabilities come a moment later than the sound, in order; beside each window stands how loud
the agent was at the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_BYTES = 256
KEPT = 1_000
"""Windows that may wait: half a minute, as much as voice activity itself keeps."""


class Windows:
    def __init__(self) -> None:
        self._rest = b""
        self._waiting: deque[tuple[bytes, int]] = deque(maxlen=KEPT)

    def feed(self, mulaw: bytes, agent: Callable[[], int]) -> None:
        """Take sound of any length. `agent`: loudness of the agent's own sound about now."""
        sound = self._rest + mulaw
        whole = len(sound) - len(sound) % WINDOW_BYTES
        for start in range(0, whole, WINDOW_BYTES):
            self._waiting.append((sound[start : start + WINDOW_BYTES], agent()))
        self._rest = sound[whole:]

    def take(self) -> tuple[bytes, int]:
        """The oldest window and the agent's loudness at its time; nothing where none is known."""
        return self._waiting.popleft() if self._waiting else (b"", 0)
