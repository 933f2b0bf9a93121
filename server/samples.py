"""A persona's voice to hear before it calls: rendered once a process, at the operator's cost."""

from __future__ import annotations

import asyncio

from pipeline.clips import Clips
from pipeline.engines.base import Speaker

PATIENCE_S = 20.0


class Samples:
    """Two people who ask at once have it rendered once."""

    def __init__(self, speaker: Speaker, clips: Clips) -> None:
        self._speaker = speaker
        self._clips = clips
        self._rendering = asyncio.Lock()

    async def mulaw(self, voice: str, text: str) -> bytes:
        """8 kHz mu-law. Raises `EngineError`, or `TimeoutError` for a voice that does not come."""
        model = self._speaker.models[0]
        async with self._rendering:
            if (kept := self._clips.get(model, voice, text)) is not None:
                return kept
            sound = bytearray()
            async with asyncio.timeout(PATIENCE_S), self._speaker.open(voice) as opened:
                async for piece in opened.speak(text):
                    sound += piece
            self._clips.put(model, voice, text, bytes(sound))
            return bytes(sound)
