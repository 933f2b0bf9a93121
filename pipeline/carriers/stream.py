"""The carrier's end of a media socket: plays what arrives, sends what the callee says.

Spelled independently of `pipeline/media.py`, which it is the counterpart of, so that one of
them misreading the protocol shows. Knows the socket and the callee, not the call.
"""

from __future__ import annotations

import asyncio
import binascii
import json
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pipeline.carriers.callee import FRAME_BYTES, FRAME_MS, Callee, HangUp, Press, Vanish
from pipeline.clock import Clock

LONGEST_STALL_S = 1.0
"""Lateness that is caught up with; what lies beyond is lost time."""


class StreamEnd(Enum):
    """Who ended the stream."""

    SERVER = "the server closed the socket"
    CALLEE = "the callee hung up"
    BROKEN = "the socket broke"


class Playout:
    """The carrier's play buffer: sound in order at 8000 bytes a second, marks between it."""

    def __init__(self) -> None:
        self._sound = bytearray()
        self._marks: deque[tuple[int, str]] = deque()
        self._queued = 0
        self._played = 0
        self.longest = 0
        """The most bytes ever buffered."""

    def media(self, mulaw: bytes) -> None:
        self._sound += mulaw
        self._queued += len(mulaw)
        self.longest = max(self.longest, len(self._sound))

    def mark(self, name: str) -> list[str]:
        """The names to echo at once: this one when nothing is buffered, else none."""
        if self._sound:
            self._marks.append((self._queued, name))
            return []
        return [name]

    def clear(self) -> list[str]:
        """Drop the sound; every mark still waiting is echoed."""
        self._sound.clear()
        self._played = self._queued
        return self._reached()

    def frame(self) -> tuple[bytes, list[str]]:
        """The next 20 ms, short or empty when there is no more, and the marks it plays past."""
        if not self._sound:
            return b"", []
        sound = bytes(self._sound[:FRAME_BYTES])
        del self._sound[:FRAME_BYTES]
        self._played += len(sound)
        return sound, self._reached()

    def _reached(self) -> list[str]:
        names = []
        while self._marks and self._marks[0][0] <= self._played:
            names.append(self._marks.popleft()[1])
        return names


# The three events the carrier takes, and no field more.


class _Order(
    msgspec.Struct,
    tag_field="event",
    rename={"stream_sid": "streamSid"},
    forbid_unknown_fields=True,
    frozen=True,
):
    stream_sid: str


class _Payload(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    payload: bytes


class _Named(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str


class _Media(_Order, tag="media", frozen=True):
    media: _Payload


class _Mark(_Order, tag="mark", frozen=True):
    mark: _Named


class _Clear(_Order, tag="clear", frozen=True):
    pass


_decode = msgspec.json.Decoder(_Media | _Mark | _Clear).decode


class MediaSocket:
    """One stream over one socket. `happened` hears of marks, clears and the like for the record."""

    def __init__(
        self,
        socket: ClientConnection,
        sid: str,
        callee: Callee,
        clock: Clock,
        happened: Callable[[str], None],
    ) -> None:
        self.sid = sid
        self.playout = Playout()
        self.warning = ""
        """Why the carrier ignored a message; it says so once a stream (31950, 31951)."""
        self._socket = socket
        self._callee = callee
        self._clock = clock
        self._happened = happened
        self._sequence = 0
        self._chunk = 0
        self._gone = False

    async def run(self, account_sid: str, call_sid: str, parameters: Mapping[str, str]) -> StreamEnd:
        """From `connected` until somebody ends it. When cancelled, says `stop` and closes."""
        end = StreamEnd.SERVER
        async with asyncio.TaskGroup() as tasks:
            try:
                await self._socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
                await self._begin(account_sid, call_sid, parameters)
                tasks.create_task(self._read())
                end = await self._pace()
            except ConnectionClosed:
                end = StreamEnd.SERVER
            finally:
                await self._finish(account_sid, call_sid, end)
        return end

    async def _begin(self, account_sid: str, call_sid: str, parameters: Mapping[str, str]) -> None:
        start = {
            "accountSid": account_sid,
            "callSid": call_sid,
            "streamSid": self.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        }
        await self._send("start", start)

    async def _pace(self) -> StreamEnd:
        """A frame every 20 ms by the absolute schedule, so that lateness never adds up.

        After a long stall of this machine the schedule moves on: a burst to catch up would look like a flood.
        """
        due = self._clock.seconds()
        while not self._gone:
            due = max(due + FRAME_MS / 1000, self._clock.seconds() - LONGEST_STALL_S)
            if (wait := due - self._clock.seconds()) > 0:
                await asyncio.sleep(wait)
            sound, names = self.playout.frame()
            done = self._callee.step(sound)
            if isinstance(done, HangUp):
                return StreamEnd.CALLEE
            if isinstance(done, Vanish):
                return StreamEnd.BROKEN
            if isinstance(done, Press):
                await self._send("dtmf", {"track": "inbound_track", "digit": done.digit})
                done = b"\xff" * FRAME_BYTES
            await self._media(done)
            if names:
                await self._echo(names)
        return StreamEnd.SERVER

    async def _media(self, sound: bytes) -> None:
        self._sequence += 1
        self._chunk += 1
        payload = binascii.b2a_base64(sound, newline=False).decode("ascii")
        await self._socket.send(
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{self._chunk * FRAME_MS - 15}","payload":"{payload}"}},'
            f'"streamSid":"{self.sid}"}}'
        )

    async def _send(self, event: str, body: Mapping[str, object]) -> None:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), event: body, "streamSid": self.sid}
        await self._socket.send(json.dumps(message))

    async def _echo(self, names: list[str]) -> None:
        for name in names:
            self._happened(f"mark {name}")
            await self._send("mark", {"name": name})

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                await self._obey(message)
        except ConnectionClosed:
            pass
        finally:
            self._gone = True

    async def _obey(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.warning = self.warning or "31950 binary message"
            return
        try:
            order = _decode(message)
        except msgspec.MsgspecError as error:
            self.warning = self.warning or f"31951 {error}"
            return
        if order.stream_sid != self.sid:
            self.warning = self.warning or "31951 another stream"
        elif isinstance(order, _Media):
            self.playout.media(order.media.payload)
        elif isinstance(order, _Mark):
            await self._echo(self.playout.mark(order.mark.name))
        else:
            self._happened("clear")
            await self._echo(self.playout.clear())

    async def _finish(self, account_sid: str, call_sid: str, end: StreamEnd) -> None:
        if end is StreamEnd.BROKEN:
            self._socket.transport.abort()
            return
        if not self._gone:
            try:
                await self._send("stop", {"accountSid": account_sid, "callSid": call_sid})
            except ConnectionClosed:
                return
        await self._socket.close()
