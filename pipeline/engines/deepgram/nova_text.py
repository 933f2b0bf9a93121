"""The result messages of Deepgram Nova (v1/listen), and the text they come to between two silences.

Results come over one another: interim before final, some left out, some twice. Must not know sockets or time.
"""

from __future__ import annotations

import msgspec

from pipeline.engines.base import Partial, Segment

JITTER_S = 0.05
"""Spans of sound that follow each other may seem to overlap by so much."""


class _Message(msgspec.Struct):
    type: str = ""


class _Word(msgspec.Struct):
    word: str = ""
    punctuated_word: str | None = None
    start: float | None = None


class _Alternative(msgspec.Struct):
    transcript: str = ""
    words: list[_Word] = []


class _Channel(msgspec.Struct):
    alternatives: list[_Alternative] = []


class Results(msgspec.Struct):
    """Text of one span of sound, its place in seconds of the sound sent."""

    channel: _Channel
    start: float = 0.0
    duration: float = 0.0
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False

    @property
    def end(self) -> float:
        return self.start + self.duration

    @property
    def text(self) -> str:
        return self.channel.alternatives[0].transcript.strip() if self.channel.alternatives else ""


_message = msgspec.json.Decoder(_Message).decode
results_of = msgspec.json.Decoder(Results).decode
"""A message of the kind `Results`. Raises `msgspec.DecodeError`."""


def kind_of(raw: str) -> str:
    """Of a message; nothing where it names none. Raises `msgspec.DecodeError`."""
    return _message(raw).type


class NovaText:
    """The text since the last segment."""

    def __init__(self) -> None:
        self._finals: list[str] = []
        self._interim = ""
        self._interim_end = 0.0
        self._cut = 0.0
        """Until where the text is known for good; what comes of before comes once more."""
        self._shown = ""

    def take(self, results: Results) -> Partial | None:
        """Note one result; the whole text so far if it is a new one."""
        text = self._fresh(results)
        if results.start >= self._interim_end - JITTER_S:
            self._keep()  # the result that would have made it final was left out
        if results.is_final:
            self._interim = ""
            self._cut = max(self._cut, results.end)
            if text:
                self._finals.append(text)
        else:
            self._interim, self._interim_end = text, results.end
        whole = self._whole()
        if not whole or whole == self._shown:
            return None
        self._shown = whole
        return Partial(whole)

    def end(self) -> Segment:
        """The segment that ends here, with words that are not final yet if there are any."""
        self._keep()
        segment = Segment(self._whole())
        self._finals, self._shown = [], ""
        return segment

    def _keep(self) -> None:
        """What is not final yet stands as it is."""
        if self._interim:
            self._finals.append(self._interim)
            self._interim, self._cut = "", max(self._cut, self._interim_end)

    def _whole(self) -> str:
        return " ".join([*self._finals, self._interim] if self._interim else self._finals)

    def _fresh(self, results: Results) -> str:
        known = self._cut - JITTER_S
        if results.start >= known or not results.text:
            return results.text
        if results.end <= self._cut:
            return ""
        words = results.channel.alternatives[0].words
        if not words or any(word.start is None for word in words):
            return results.text
        later = [word for word in words if word.start is not None and word.start >= known]
        return " ".join(word.punctuated_word or word.word for word in later)
