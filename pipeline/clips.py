"""Rendered phrases, shared by all calls of the process.

What no model wrote is spoken from here, so that a greeting starts within a frame and a
goodbye works when the engines are down. Least recently used clips make room.
"""

from __future__ import annotations

from collections import OrderedDict

CAPACITY_BYTES = 16 * 1024 * 1024
"""About half an hour of 8 kHz mu-law."""


class Clips:
    def __init__(self, capacity: int = CAPACITY_BYTES) -> None:
        self._capacity = capacity
        self._size = 0
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    def get(self, engine: str, voice: str, text: str) -> bytes | None:
        key = (engine, voice, text)
        clip = self._kept.get(key)
        if clip is not None:
            self._kept.move_to_end(key)
        return clip

    def put(self, engine: str, voice: str, text: str, mulaw: bytes) -> None:
        key = (engine, voice, text)
        self._size += len(mulaw) - len(self._kept.pop(key, b""))
        self._kept[key] = mulaw
        while self._size > self._capacity and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
