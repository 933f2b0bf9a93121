"""The wire format of the carrier's media socket (Twilio Media Streams), both directions.

Decides what a message is and whether it may be believed; must not decide what a call does
about it. `decode` turns one text frame into a frozen value or raises `BadStream`, never
anything else. `Guard` holds one socket to its limits on a time passed in.

Sound is raw mu-law, 8 kHz, mono, any length; a mark comes back when what was sent before it
has been played or flushed.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Annotated

import msgspec

from pipeline.core.errors import BadStream

MAX_MESSAGE = 64 * 1024
"""Characters of one message; anything longer ends the call."""

FRAMES_A_SECOND = 60.0
"""Sustained message rate a call may send: 50 of sound and some to spare."""

BURST = 250.0
"""Messages that may come at once: five seconds of sound after a stall of the network."""

LONGEST_GAP = 10_000
"""Messages a stream may have lost at once, over three minutes; a number further off is wrong."""
BAD_FRAMES = 100
"""The bad message that ends the call. Fewer are dropped one by one."""

BYTES_A_SECOND = 8_000
"""mu-law bytes in a second of sound."""


# -- what arrives ----------------------------------------------------------------------


class Connected(msgspec.Struct, frozen=True, gc=False):
    """The socket speaks Media Streams. Comes first, carries no sequence and no stream."""

    protocol: str
    version: str


class Start(msgspec.Struct, frozen=True):
    """A stream begins. `parameters` are the names and values the TwiML attached to it."""

    sequence: int
    stream_sid: str
    account_sid: str
    call_sid: str
    parameters: Mapping[str, str]


class Media(msgspec.Struct, frozen=True, gc=False):
    """Caller sound, `mulaw` already decoded. `at_ms` is media time since the stream began."""

    sequence: int
    at_ms: int
    mulaw: bytes


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The mark of this name was played or flushed."""

    sequence: int
    name: str


class Dtmf(msgspec.Struct, frozen=True, gc=False):
    """The caller pressed a key: 0-9 * # A-D."""

    sequence: int
    digit: str


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The stream or the call is over; nothing follows."""

    sequence: int
    call_sid: str


Message = Connected | Start | Media | Mark | Dtmf | Stop


# -- how it is spelled -------------------------------------------------------------------

# Every number arrives as a string (but for the media format); lax decoding takes both spellings.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Sid = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{2,64}\Z")]
_Name = Annotated[str, msgspec.Meta(max_length=256)]


class _Wire(msgspec.Struct, tag_field="event", rename="camel", frozen=True, gc=False):
    pass


class _Part(msgspec.Struct, rename="camel", frozen=True, gc=False):
    pass


class _Format(_Part, frozen=True, gc=False):
    encoding: str
    sample_rate: int
    channels: int


class _StartPart(_Part, frozen=True):
    account_sid: _Sid
    call_sid: _Sid
    stream_sid: _Sid
    media_format: _Format
    custom_parameters: dict[_Name, Annotated[str, msgspec.Meta(max_length=512)]] = {}


class _MediaPart(_Part, frozen=True, gc=False):
    payload: bytes
    timestamp: _Count
    track: str = "inbound"


class _MarkPart(_Part, frozen=True, gc=False):
    name: _Name


class _DtmfPart(_Part, frozen=True, gc=False):
    digit: Annotated[str, msgspec.Meta(pattern=r"^[0-9*#A-D]\Z")]


class _StopPart(_Part, frozen=True, gc=False):
    call_sid: str = ""


class _Connected(_Wire, tag="connected", frozen=True, gc=False):
    protocol: _Name = ""
    version: _Name = ""


class _Start(_Wire, tag="start", frozen=True):
    sequence_number: _Count
    stream_sid: _Sid
    start: _StartPart


class _Media(_Wire, tag="media", frozen=True, gc=False):
    sequence_number: _Count
    stream_sid: str
    media: _MediaPart


class _Mark(_Wire, tag="mark", frozen=True, gc=False):
    sequence_number: _Count
    stream_sid: str
    mark: _MarkPart


class _Dtmf(_Wire, tag="dtmf", frozen=True, gc=False):
    sequence_number: _Count
    stream_sid: str
    dtmf: _DtmfPart


class _Stop(_Wire, tag="stop", frozen=True, gc=False):
    sequence_number: _Count
    stream_sid: str
    stop: _StopPart = _StopPart()


_decode = msgspec.json.Decoder(_Connected | _Start | _Media | _Mark | _Dtmf | _Stop, strict=False).decode
_quote = msgspec.json.Encoder().encode


def decode(text: str | bytes, stream_sid: str | None = None) -> Message:
    """One text frame. With `stream_sid` given, a message of another stream is refused.

    Unknown fields are ignored, as new ones appear without notice; unknown events are not.
    Raises `BadStream` for everything that is not a message the carrier documents.
    """
    if len(text) > MAX_MESSAGE:
        raise BadStream("message too long")
    try:
        wire = _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError) as error:
        raise BadStream("not a media stream message") from error
    if isinstance(wire, _Media):  # first: nearly every message is one
        if stream_sid is not None and wire.stream_sid != stream_sid:
            raise BadStream("message of another stream")
        part = wire.media
        if part.track != "inbound":
            raise BadStream("sound of another track")
        return Media(wire.sequence_number, part.timestamp, part.payload)
    if isinstance(wire, _Connected):
        return Connected(wire.protocol, wire.version)
    if stream_sid is not None and wire.stream_sid != stream_sid:
        raise BadStream("message of another stream")
    if isinstance(wire, _Mark):
        return Mark(wire.sequence_number, wire.mark.name)
    if isinstance(wire, _Dtmf):
        return Dtmf(wire.sequence_number, wire.dtmf.digit)
    if isinstance(wire, _Stop):
        return Stop(wire.sequence_number, wire.stop.call_sid)
    return _start(wire)


def _start(wire: _Start) -> Start:
    part = wire.start
    if part.stream_sid != wire.stream_sid:
        raise BadStream("two stream names in one start")
    sound = part.media_format
    if (sound.encoding, sound.sample_rate, sound.channels) != ("audio/x-mulaw", 8000, 1):
        raise BadStream("not mu-law at 8 kHz, mono")
    return Start(
        wire.sequence_number, wire.stream_sid, part.account_sid, part.call_sid, part.custom_parameters
    )


# -- what is sent ------------------------------------------------------------------------


def media(stream_sid: str, mulaw: bytes) -> str:
    """Sound for the caller: played in order behind what was sent before, 8000 bytes a second."""
    payload = binascii.b2a_base64(mulaw, newline=False).decode("ascii")
    return f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"{payload}"}}}}'


def mark(stream_sid: str, name: str) -> str:
    """Ask for `name` back once everything sent before has been played or flushed."""
    return f'{{"event":"mark","streamSid":"{stream_sid}","mark":{{"name":{_quote(name).decode()}}}}}'


def clear(stream_sid: str) -> str:
    """Drop all sound not played yet; every mark still waiting comes back."""
    return f'{{"event":"clear","streamSid":"{stream_sid}"}}'


# -- how much of it ----------------------------------------------------------------------


class Guard:
    """The limits of one socket. Times are seconds that never go backwards.

    A bad message is dropped and counted; the call goes on until there are too many. A
    message that comes too fast or is too long ends the call at once. A sequence number that
    jumps is counted in `gaps` and forgiven (the carrier drops sound when we read too
    slowly); one that does not rise is a bad message.
    """

    def __init__(self, now: float) -> None:
        self.bad = 0
        self.gaps = 0
        self._room = BURST
        self._filled = now
        self._sequence = -1

    def arrived(self, now: float, size: int) -> None:
        """Count one message of `size` characters. Raises `BadStream` when the call must end."""
        if size > MAX_MESSAGE:
            raise BadStream("message too long")
        self._room = min(BURST, self._room + (now - self._filled) * FRAMES_A_SECOND) - 1.0
        self._filled = now
        if self._room < 0.0:
            raise BadStream("messages come too fast")

    def in_order(self, sequence: int) -> bool:
        """Whether the message may be used; if not, it is for `spoiled`."""
        if sequence <= self._sequence or sequence > self._sequence + LONGEST_GAP:
            return False
        if self._sequence >= 0 and sequence != self._sequence + 1:
            self.gaps += 1
        self._sequence = sequence
        return True

    def spoiled(self) -> None:
        """Count one bad message. Raises `BadStream` when it was one too many."""
        self.bad += 1
        if self.bad >= BAD_FRAMES:
            raise BadStream("too many bad messages")
