"""The far end of a media stream: one person on the phone, a frame every 20 ms, as lean as it goes.

They listen until the agent is quiet and say the next recorded line; every third line they say
into the agent's voice. What they wait for is timed here, at the far end of the wire.
"""

from __future__ import annotations

import binascii
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.engines import TAG, TAG_BYTES
from benchmarks.wire import Wire
from pipeline.audio.mulaw import is_loud
from pipeline.audio.wav import read_wav
from pipeline.clock import real_seconds

FRAME_BYTES, FRAME_S = 160, 0.02
CALLERS = Path(__file__).parent.parent / "server" / "callers"
LINES = (
    "hobbies",
    "interview",
    "interrupt",
    "sister",
    "bakery",
    "interrupt",
    "weaknesses",
    "thanks",
    "interrupt",
)
PAUSE_S = 0.4
"""Quiet of the agent before the next line."""
INTO_S = 0.7
"""How far into the agent's voice an interruption begins."""
PATIENCE_S = 6.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A recorded line in frames, ready to send; `voiced` is the first frame that is more than noise."""

    frames: tuple[bytes, ...]
    voiced: int
    interrupts: bool


def _frame(mulaw: bytes) -> bytes:
    return binascii.b2a_base64(mulaw.ljust(FRAME_BYTES, b"\xff"), newline=False)


SILENCE = _frame(b"")


def spoken(name: str) -> Spoken:
    sound = read_wav(CALLERS / f"{name}.wav")
    pieces = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    voiced = next(number for number, piece in enumerate(pieces) if is_loud(piece))
    return Spoken(tuple(map(_frame, pieces)), voiced, name == "interrupt")


@dataclass(slots=True)
class Tally:
    """What the callers of one stretch of time saw, in milliseconds. `answers` are (turn, when it began to sound)."""

    on: bool = False
    greetings: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    barge_ins: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    answers: list[tuple[int, float, Caller]] = field(default_factory=list)

    def start(self) -> None:
        for seen in (self.greetings, self.first_words, self.barge_ins, self.late, self.answers):
            seen.clear()
        self.on = True


class _Payload(msgspec.Struct):
    payload: bytes


class _Name(msgspec.Struct):
    name: str


class _Order(msgspec.Struct):
    event: str
    media: _Payload | None = None
    mark: _Name | None = None


_decode = msgspec.json.Decoder(_Order).decode


class Caller:
    """One person. `frame` is called every 20 ms by `Pacer`, `hear` with each message of the server."""

    def __init__(self, stream_sid: str, lines: Sequence[Spoken], start: int, tally: Tally) -> None:
        self.wire: Wire | None = None
        self.greeted_at: tuple[float, float] = (0.0, 0.0)
        """When the answer was told, and when the stream was started."""
        self._stream = stream_sid.encode()
        self._lines = lines
        self._next = start
        self._tally = tally
        self._sequence = 1
        self._sent = array("d")
        self._saying: Spoken | None = None
        self._at = 0
        self._quiet_since = self._agent_until = real_seconds()
        self._agent_began = 0.0
        self._agent_spoke = self._heard_agent = self._answered = False
        self._barged_at = 0.0
        self._marks: deque[tuple[float, str]] = deque()

    def frame(self, now: float, due: float) -> None:
        if self.wire is None:
            return
        if self._tally.on:
            self._tally.late.append(1000 * (now - due))
        payload = self._sound(now)
        self._sequence += 1
        self._sent.append(now)
        number = len(self._sent)
        self.wire.send(
            b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d",'
            b'"payload":"%s"},"streamSid":"%s"}'
            % (self._sequence, number, 20 * number, payload, self._stream)
        )
        while self._marks and self._marks[0][0] <= now:
            self._echo(self._marks.popleft()[1])

    def _sound(self, now: float) -> bytes:
        line = self._saying
        if line is None:
            if not self._turn_to_speak(now):
                return SILENCE
            line = self._saying = self._lines[self._next % len(self._lines)]
            self._next += 1
            self._at = 0
        if line.interrupts and self._at == line.voiced and self._agent_until > now:
            self._barged_at = now
        payload = line.frames[self._at]
        self._at += 1
        if self._at == len(line.frames):
            self._saying, self._quiet_since, self._agent_spoke = None, now, False
        return payload

    def _turn_to_speak(self, now: float) -> bool:
        if self._lines[self._next % len(self._lines)].interrupts and self._answered:
            playing = self._agent_until - now
            if self._agent_spoke and now - self._agent_began > INTO_S and playing > 1.0:
                return True
        if self._agent_spoke:
            return now - self._agent_until > PAUSE_S
        return now - self._quiet_since > PATIENCE_S

    def hear(self, text: bytes) -> None:
        now = real_seconds()
        order = _decode(text)
        if order.media is not None:
            self._play(order.media.payload, now)
        elif order.mark is not None:
            self._marks.append((self._agent_until, order.mark.name))
        elif order.event == "clear":
            self._agent_until = now
            if self._barged_at and self._tally.on:
                self._tally.barge_ins.append(1000 * (now - self._barged_at))
            self._barged_at = 0.0
            while self._marks:
                self._echo(self._marks.popleft()[1])

    def _play(self, sound: bytes, now: float) -> None:
        if not self._heard_agent and self._tally.on:
            self._tally.greetings.append(1000 * (now - self.greeted_at[0]))
            self._tally.first_words.append(1000 * (now - self.greeted_at[1]))
        self._heard_agent = True
        if now > self._agent_until:
            self._agent_began = now
        self._agent_until = max(now, self._agent_until) + len(sound) / 8000
        self._agent_spoke = True
        if sound.startswith(TAG):
            self._answered = True
            if self._tally.on:
                self._tally.answers.append((int(sound[len(TAG) : TAG_BYTES]), now, self))

    def _echo(self, name: str) -> None:
        if self.wire is not None:
            self._sequence += 1
            self.wire.send(
                b'{"event":"mark","sequenceNumber":"%d","mark":{"name":"%s"},"streamSid":"%s"}'
                % (self._sequence, name.encode(), self._stream)
            )

    def sent_by(self, windows: int) -> float:
        """When the last sound of so many windows of 256 samples was sent."""
        return self._sent[min(len(self._sent), -(-windows * 256 // FRAME_BYTES)) - 1]

    def stop(self) -> None:
        if self.wire is not None:
            self._sequence += 1
            self.wire.send(
                b'{"event":"stop","sequenceNumber":"%d","stop":{},"streamSid":"%s"}'
                % (self._sequence, self._stream)
            )
            self.wire.close()
            self.wire = None
