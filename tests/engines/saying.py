"""Having a voice say something, for the tests of the hosted ones."""

from __future__ import annotations

from contextlib import aclosing
from enum import Enum

from pipeline.core.errors import EngineError
from pipeline.engines.base import Voice

TEXT = "It was lovely to talk with you, Jordan."
NEXT = "Take good care of yourself!"


class Heard(Enum):
    """What an utterance comes to that is hit by a fault."""

    WHOLE = "all of it, and no failure"
    NOTHING = "nothing, then a failure"
    SOME = "the beginning, then a failure"
    NO_END = "all of it, then a failure, as the end was never told"

    def fits(self, part: bytes, whole: bytes) -> bool:
        """Whether `part` is what is heard of `whole` before a failure."""
        lengths = {
            Heard.NOTHING: range(1),
            Heard.SOME: range(1, len(whole) // 2),
            Heard.NO_END: range(len(whole), len(whole) + 1),
        }
        return whole.startswith(part) and len(part) in lengths[self]


async def said(voice: Voice, text: str, pieces: int | None = None) -> bytes:
    """The sound of a text, or of its first pieces; then it is cancelled."""
    heard = bytearray()
    async with aclosing(voice.speak(text)) as stream:
        async for piece in stream:
            heard += piece
            if pieces is not None and (pieces := pieces - 1) <= 0:
                break
    return bytes(heard)


async def failed(voice: Voice, text: str) -> tuple[bytes, EngineError]:
    """What is heard of a text whose speech fails, and the failure."""
    heard = bytearray()
    try:
        async with aclosing(voice.speak(text)) as stream:
            async for piece in stream:
                heard += piece
    except EngineError as error:
        return bytes(heard), error
    raise AssertionError("nothing failed")
