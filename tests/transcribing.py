"""What was said in a sound, by the local speech to text: the judge of what a person would have heard."""

from __future__ import annotations

import re

from pipeline.engines.base import Segment
from pipeline.engines.loading import Chosen, EngineLoader

PIECE_S = 8


async def transcribed(sound: bytes) -> str:
    """What speech to text makes of 8 kHz mu-law, a few seconds at a time; small letters."""
    texts = []
    async with EngineLoader(Chosen(("local",), ("scripted",), ("scripted",))).open() as engines:
        for start in range(0, len(sound), PIECE_S * 8000):
            async with engines.transcriber.open() as ear:
                ear.voice(True)
                ear.feed(sound[start : start + PIECE_S * 8000])
                ear.voice(False)
                async for heard in ear.heard():
                    assert isinstance(heard, Segment)
                    texts.append(heard.text)
                    break
    return " ".join(texts).lower()


def share_heard(said: str, heard: str) -> float:
    """How much of the words said occur among those heard, 0..1. Small words count as much as long ones."""
    words, known = re.findall(r"[a-z']+", said.lower()), set(re.findall(r"[a-z']+", heard.lower()))
    return sum(word in known for word in words) / len(words)
