"""Deepgram's Aura text-to-speech socket.

    async with Aura() as vendor:
        speaker = AuraSpeaker(AuraSettings(key=vendor.key, url=vendor.url))

Spelled from their description: Speak and Flush in, binary sound and Flushed out, Clear with sound still
on its way before Cleared, one utterance at a time, limits on text and flushes. `violations` lists what a
client did that is not refused and wrong all the same. `plan` says what goes wrong; FAULTS are the plans.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from pipeline.clock import Clock
from tests.emulators.sounding import (
    HANDSHAKES,
    SOUNDS,
    Door,
    Plan,
    Spoken,
    Then,
    When,
    act,
    sent_in_pieces,
    tone,
    unless_closed,
)

LONGEST_SPEAK = 2_000
FLUSHES_A_MINUTE = 20
STALE = b"\x10" * 1600
"""Sound that was on its way when the client sent Clear; not the sound of any text."""


@dataclass(frozen=True, slots=True)
class AuraPlan(Plan):
    stale: int = 1
    """Pieces of sound between Clear and Cleared."""
    clears: bool = True
    """Clear is answered."""
    metadata_ms: int = 0
    flushes_a_minute: int = FLUSHES_A_MINUTE
    characters_a_minute: int | None = None


def _warning(code: str) -> str:
    return json.dumps({"type": "Warning", "description": "Too much, or too soon.", "code": code})


_FLUSHED = '{"type":"Flushed","sequence_id":99}'
_METADATA = '{"type":"Metadata","request_id":"r","model_name":null,"additional_model_uuids":[]}'

FAULTS: dict[str, Plan] = {
    **HANDSHAKES,
    **SOUNDS,
    "handshake_402": Plan(status=402),
    "stale_sound_after_clear": AuraPlan(stale=5),
    "clear_not_answered": AuraPlan(clears=False),
    "clear_not_answered_stale_sound": AuraPlan(clears=False, stale=3),
    "metadata_late": AuraPlan(metadata_ms=700),
    "metadata_in_mid_utterance": Plan(say=(_METADATA,)),
    "warning_before_sound": Plan(when=When.BEFORE, say=(_warning("SOMETHING"),)),
    "warning_in_mid_utterance": Plan(say=(_warning("SOMETHING"), '{"type":"Warning"}')),
    "flush_limit_warning": AuraPlan(flushes_a_minute=0),
    "text_limit_closes": AuraPlan(characters_a_minute=10),
    "flushed_twice": Plan(when=When.AFTER, say=(_FLUSHED,)),
    "cleared_unasked": Plan(say=('{"type":"Cleared","sequence_id":7}',)),
    "late_sound": Plan(when=When.AFTER, say=(STALE, STALE)),
    "empty_sound": Plan(say=(b"", b"")),
    "error_told": Plan(say=('{"type":"Error","description":"What?","code":"INTERNAL_SERVER_ERROR"}',)),
    "error_told_without_code": Plan(when=When.BEFORE, say=('{"type":"Error","description":"What?"}',)),
    "closed_for_no_result": Plan(when=When.BEFORE, then=Then.CLOSE, code=1011, reason="NET-0000"),
    "closed_for_time_limit": Plan(when=When.AFTER, then=Then.CLOSE, code=1011, reason="NET-0003"),
    "closed_for_bad_message": Plan(when=When.BEFORE, then=Then.CLOSE, code=1003, reason="MESSAGE-0000"),
}
"""What may go wrong, by name."""


class Aura(Door):
    """The vendor. Every model called aura-... exists."""

    def admit(self, request: Request) -> tuple[int, str] | None:
        at = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(at.query, keep_blank_values=True).items()}
        if request.headers.get("authorization") != f"Token {self.key}":
            return 401, _refusal("INVALID_AUTH", "Invalid credentials.")
        if at.path != "/v1/speak":
            return 404, _refusal("NOT_FOUND", "No such place.")
        if not query.get("model", "aura-asteria-en").startswith("aura-"):
            return 400, _refusal("INVALID_QUERY_PARAMETER", "No such model.")
        if (query.get("encoding"), query.get("sample_rate")) != ("mulaw", "8000"):
            self.wrong("encoding and sample_rate are not the telephone's: noise")
        return None

    def refusal(self, status: int) -> str:
        return _refusal("PLANNED", str(status))

    async def converse(self, socket: ServerConnection, number: int) -> None:
        await _Socket(self, socket, number).run()


def _refusal(code: str, message: str) -> str:
    return json.dumps({"err_code": code, "err_msg": message, "request_id": "r"})


class _Socket:
    """One connection: text that waits for its flush, and flushes that wait for their turn."""

    def __init__(self, vendor: Aura, socket: ServerConnection, number: int) -> None:
        assert socket.request is not None
        query = parse_qs(urlsplit(socket.request.path).query)
        self._vendor = vendor
        self._socket = socket
        self._number = number
        self._voice = query.get("model", ["aura-asteria-en"])[0]
        self._clock = Clock()
        self._waiting: Spoken | None = None
        self._flushed: asyncio.Queue[tuple[Spoken | None, Plan]] = asyncio.Queue()
        self._speaking: asyncio.Task[None] | None = None
        self._plan = Plan()
        """Of the latest utterance."""
        self._flushes: deque[float] = deque()
        self._texts: deque[tuple[float, int]] = deque()
        self._told = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(unless_closed(self._greet()))
            self._speaking = group.create_task(unless_closed(self._speak()))
            await unless_closed(self._listen(group))
            greeting.cancel()
            self._speaking.cancel()

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        async for message in self._socket:
            if not await self._take(message, group):
                return

    async def _greet(self) -> None:
        plan = self._vendor.plan
        if isinstance(plan, AuraPlan) and plan.metadata_ms:
            await asyncio.sleep(plan.metadata_ms / 1000)
        told = {"request_id": "r", "model_name": self._voice, "model_version": "1", "model_uuid": "u"}
        await self._socket.send(json.dumps({"type": "Metadata", **told}))

    async def _take(self, message: str | bytes, group: asyncio.TaskGroup) -> bool:
        """Whether the socket stays open."""
        try:
            told = json.loads(message) if isinstance(message, str) else None
        except ValueError:
            told = None
        if not isinstance(told, dict):
            return await self._refuse(1003, "MESSAGE-0000")
        match told:
            case {"type": "Speak", "text": str(text)}:
                return await self._text(text)
            case {"type": "Flush"}:
                await self._flush()
            case {"type": "Clear"}:
                await self._clear(group)
            case {"type": "Close"}:
                await self._socket.close(1000)
                return False
            case _:
                return await self._refuse(1008, "DATA-0000")
        return True

    async def _refuse(self, code: int, reason: str) -> bool:
        self._vendor.wrong(f"closed with {reason}")
        await self._socket.close(code, reason)
        return False

    async def _text(self, text: str) -> bool:
        if not text:
            self._vendor.wrong("a Speak without text")
        if len(text) > LONGEST_SPEAK:
            return await self._refuse(1008, "DATA-0001")
        if self._waiting is None:
            if not self._quiet:
                self._vendor.wrong("a Speak before the utterance ahead of it was over")
            self._plan = self._vendor.plan_of_next()
            self._waiting = Spoken(self._number, "")
            self._vendor.spoken.append(self._waiting)
        self._waiting.text += text
        limit = self._plan.characters_a_minute if isinstance(self._plan, AuraPlan) else None
        if limit is not None:
            now = self._clock.seconds()
            self._texts.append((now, len(text)))
            if sum(size for at, size in self._texts if at > now - 60) > limit:
                await self._socket.close(1008, "DATA-0001")
                return False
        return True

    @property
    def _quiet(self) -> bool:
        spoken = [one for one in self._vendor.spoken if one.socket == self._number]
        return all(one.over for one in spoken)

    async def _flush(self) -> None:
        now = self._clock.seconds()
        self._flushes.append(now)
        while self._flushes[0] < now - 60:
            self._flushes.popleft()
        limit = self._plan.flushes_a_minute if isinstance(self._plan, AuraPlan) else FLUSHES_A_MINUTE
        if len(self._flushes) > FLUSHES_A_MINUTE:
            self._vendor.wrong("more flushes in a minute than are allowed")
        if len(self._flushes) > limit:
            await self._socket.send(_warning("EXCEEDED_FLUSH_LIMIT"))
        if self._waiting is None:
            self._vendor.wrong("a Flush without text")
        self._flushed.put_nowait((self._waiting, self._plan))
        self._waiting = None

    async def _clear(self, group: asyncio.TaskGroup) -> None:
        """Stop soon, with what is on its way still arriving."""
        plan = self._plan if isinstance(self._plan, AuraPlan) else AuraPlan()
        assert self._speaking is not None
        was_quiet = self._quiet
        self._speaking.cancel()
        await asyncio.wait([self._speaking])
        self._waiting, self._flushed = None, asyncio.Queue()
        for _ in range(0 if was_quiet else plan.stale):
            await self._socket.send(STALE)
        for one in self._vendor.spoken:
            if one.socket == self._number:
                one.over = True
        if not was_quiet and self._plan.then is Then.STALL:
            return
        if plan.clears:
            await self._tell("Cleared")
        self._speaking = group.create_task(unless_closed(self._speak()))

    async def _speak(self) -> None:
        """Flush after flush."""
        while True:
            spoken, plan = await self._flushed.get()
            if spoken is not None:
                await self._sound(spoken, plan)
            if plan.when is When.END:
                await act(plan, self._socket)
            if not (plan.when is When.END and plan.then is Then.SKIP):
                await self._tell("Flushed")
            if spoken is not None:
                spoken.over = True
            if plan.when is When.AFTER:
                await act(plan, self._socket)

    async def _sound(self, spoken: Spoken, plan: Plan) -> None:
        if plan.when is When.BEFORE:
            await act(plan, self._socket)
        async for number, piece in sent_in_pieces(plan, self._vendor, tone(self._voice, spoken.text)):
            if plan.when is When.AMID and number == plan.tiny + 2:
                await act(plan, self._socket)
            await self._socket.send(piece)
            spoken.sounded += len(piece)

    async def _tell(self, kind: str) -> None:
        await self._socket.send(json.dumps({"type": kind, "sequence_id": self._told}))
        self._told += 1
