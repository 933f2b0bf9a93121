"""ElevenLabs' multi-context text-to-speech socket, as far as a client for telephone calls uses it.

    async with ElevenLabs() as vendor:
        speaker = ElevenLabsSpeaker(ElevenLabsSettings(key=vendor.key, url=vendor.url))

Spelled from their description: a context begins with one blank, settings come only then, five contexts
at a time, a bare flush creates what it names. `violations` lists what a client did that leaks or glues
words without being refused. `plan` says what goes wrong; FAULTS are the plans there are.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

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

CONTEXTS = 5
MODELS = ("eleven_flash_v2_5", "eleven_flash_v2", "eleven_turbo_v2_5", "eleven_multilingual_v2")
LONGEST_TEXT = 40_000
TOO_MANY = f"Maximum simultaneous contexts per WebSocket connection exceeded ({CONTEXTS})"
NO_INPUT = "Have not received a new text input within the timeout of 20 seconds"


class Shape(Enum):
    """How messages are spelled."""

    CAMEL = "contextId, isFinal"
    SNAKE = "context_id, is_final"
    NULLS = "every field that may be null is there and null"
    PADDED = "messages without sound and alignments beside those with sound"
    NAMELESS = "no context is named"


@dataclass(frozen=True, slots=True)
class ElevenLabsPlan(Plan):
    shape: Shape = Shape.CAMEL


def _error(name: str, message: str) -> str:
    return json.dumps({"message": message, "error": name, "code": 1008})


def _told(name: str, when: When = When.BEFORE) -> ElevenLabsPlan:
    """An error told and the socket closed, as they do."""
    return ElevenLabsPlan(when=when, say=(_error(name, "You cannot."),), then=Then.CLOSE, reason=name)


_LATE = json.dumps({"audio": base64.b64encode(b"\x10" * 800).decode(), "contextId": "CONTEXT"})
_STRANGE = json.dumps({"audio": base64.b64encode(b"\x10" * 800).decode(), "contextId": "not-yours"})

FAULTS: dict[str, Plan] = {
    **HANDSHAKES,
    **SOUNDS,
    "quota_told": _told("quota_exceeded"),
    "quota_told_in_mid_utterance": _told("quota_exceeded", When.AMID),
    "quota_closed": Plan(when=When.BEFORE, then=Then.CLOSE, reason="quota_exceeded: 0 credits left"),
    "key_told": _told("invalid_api_key"),
    "voice_told": _told("voice_not_found"),
    "text_too_long_told": _told("max_character_limit_exceeded"),
    "busy_told": _told("system_busy"),
    "concurrency_told": _told("too_many_concurrent_requests"),
    "contexts_told": _told("max_active_conversations"),
    "unheard_of_told": _told("something_new", When.AMID),
    "sound_of_another_context": Plan(say=(_STRANGE,)),
    "input_timeout_between_utterances": Plan(
        when=When.AFTER, say=(_error("input_timeout_exceeded", NO_INPUT),), then=Then.CLOSE, reason=NO_INPUT
    ),
    "voice_and_model_mismatch": Plan(when=When.BEFORE, then=Then.CLOSE, code=1009),
    "snake_case": ElevenLabsPlan(shape=Shape.SNAKE),
    "null_fields": ElevenLabsPlan(shape=Shape.NULLS),
    "messages_without_sound": ElevenLabsPlan(shape=Shape.PADDED),
    "no_context_named": ElevenLabsPlan(shape=Shape.NAMELESS),
    "late_sound": Plan(when=When.AFTER, say=(_LATE, _LATE)),
    "bad_base64": Plan(say=('{"audio":"QUJD*QUJD","contextId":"CONTEXT"}',)),
    "broken_base64": Plan(say=('{"audio":"QUJ","contextId":"CONTEXT"}',)),
    "sound_is_a_number": Plan(say=('{"audio":17,"contextId":"CONTEXT"}',)),
    "binary_sound": Plan(say=(b"\x10" * 800,)),
}
"""What may go wrong, by name."""


@dataclass
class _Context:
    """One context on one socket."""

    name: str
    plan: Plan
    spoken: Spoken
    waiting: str = ""
    """Text that was not flushed yet."""
    flushed: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    """Texts to be spoken; None is the end."""
    closing: bool = False


class ElevenLabs(Door):
    """The vendor. Every voice id exists but "nobody"."""

    most_contexts = 0
    """At a time on one socket, so far."""

    def admit(self, request: Request) -> tuple[int, str] | None:
        at = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(at.query, keep_blank_values=True).items()}
        if request.headers.get("xi-api-key") != self.key:
            return 401, '{"detail":{"status":"invalid_api_key","message":"Invalid API key"}}'
        match at.path.split("/"):
            case ["", "v1", "text-to-speech", voice, "multi-stream-input"] if voice and voice != "nobody":
                pass
            case _:
                return 404, '{"detail":{"status":"voice_not_found","message":"A voice does not exist."}}'
        if query.get("model_id") not in MODELS:
            return 400, '{"detail":{"status":"model_not_found","message":"No such model here."}}'
        if query.get("output_format") != "ulaw_8000":
            self.wrong(f"output_format {query.get('output_format')}: noise on a telephone")
        if query.get("auto_mode") != "true":
            self.wrong("without auto_mode short sentences wait for more text")
        if not 1 <= int(query.get("inactivity_timeout", "20")) <= 180:
            return 400, '{"detail":{"status":"invalid_parameters","message":"inactivity_timeout"}}'
        return None

    async def converse(self, socket: ServerConnection, number: int) -> None:
        await _Socket(self, socket, number).run()


class _Socket:
    """One connection."""

    def __init__(self, vendor: ElevenLabs, socket: ServerConnection, number: int) -> None:
        assert socket.request is not None
        at = urlsplit(socket.request.path)
        self._vendor = vendor
        self._socket = socket
        self._number = number
        self._voice = unquote(at.path.split("/")[3])
        self._inactivity_s = int(parse_qs(at.query).get("inactivity_timeout", ["20"])[0])
        self._contexts: dict[str, _Context] = {}
        self._done: set[str] = set()
        self._speaking: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            await unless_closed(self._listen(group))
            for task in self._speaking:
                task.cancel()

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        async for message in self._socket:
            if not await self._take(message, group):
                return

    async def _take(self, message: str | bytes, group: asyncio.TaskGroup) -> bool:
        """Whether the socket stays open."""
        try:
            told = json.loads(message) if isinstance(message, str) else None
        except ValueError:
            told = None
        if not isinstance(told, dict):
            return await self._refuse("invalid_message", "Not a JSON object")
        if told.get("close_socket"):
            await self._socket.close(1000)
            return False
        name = told.get("context_id")
        if not isinstance(name, str) or not name:
            return await self._refuse("missing_context", "context_id is missing")
        context = self._contexts.get(name)
        if context is None:
            return await self._begin(name, told, group)
        if context.closing:
            self._vendor.wrong("a message for a context that was closed")
            return True
        if "voice_settings" in told or "generation_config" in told:
            return await self._refuse("policy_violation", "Settings are taken in the first message only")
        return await self._more(context, told)

    async def _begin(self, name: str, told: dict[str, object], group: asyncio.TaskGroup) -> bool:
        if told.get("close_context"):
            self._vendor.wrong(f"close of the {'ended' if name in self._done else 'unknown'} context {name}")
            return True
        if told.get("text") not in (" ", None, ""):
            return await self._refuse("invalid_first_message", "The first text of a context is one blank")
        if told.get("text") != " ":
            self._vendor.wrong(f"{name} is created by a bare flush or a keep-alive")
        if len(self._contexts) >= CONTEXTS:
            return await self._refuse("max_active_conversations", TOO_MANY)
        plan = self._vendor.plan_of_next()
        context = self._contexts[name] = _Context(name, plan, Spoken(self._number, name))
        self._vendor.spoken.append(context.spoken)
        self._vendor.most_contexts = max(self._vendor.most_contexts, len(self._contexts))
        self._speaking.append(group.create_task(unless_closed(self._speak(context))))
        return True

    async def _more(self, context: _Context, told: dict[str, object]) -> bool:
        text = told.get("text", "")
        if not isinstance(text, str):
            return await self._refuse("invalid_message", "text is no string")
        if text and not text.endswith(" "):
            self._vendor.wrong("a text without a blank at its end glues words together")
        if len(context.spoken.text) + len(text) > LONGEST_TEXT:
            return await self._refuse("max_character_limit_exceeded", "Too long")
        context.spoken.text += text
        context.waiting += text
        closing = bool(told.get("close_context"))
        if told.get("flush") or closing:
            context.flushed.put_nowait(context.waiting)
            context.waiting = ""
        if closing:
            context.closing = True
            context.flushed.put_nowait(None)
        return True

    async def _refuse(self, name: str, message: str) -> bool:
        """Their error, told, and the socket closed for breach of policy."""
        self._vendor.wrong(f"{name}: {message}")
        await self._socket.send(_error(name, message))
        await self._socket.close(1008, message[:120])
        return False

    async def _speak(self, context: _Context) -> None:
        """One context, until it is closed or its client is silent for too long."""
        while True:
            try:
                async with asyncio.timeout(self._inactivity_s):
                    text = await context.flushed.get()
            except TimeoutError:
                break
            if text is None:
                break
            if text.strip():
                await self._sound(context, tone(self._voice, text))
        await self._end(context)

    async def _sound(self, context: _Context, sound: bytes) -> None:
        plan = context.plan
        if plan.when is When.BEFORE:
            await act(plan, self._socket, context.name)
        async for number, piece in sent_in_pieces(plan, self._vendor, sound):
            if plan.when is When.AMID and number == plan.tiny + 2:
                await act(plan, self._socket, context.name)
            await self._piece(context, piece)
            context.spoken.sounded += len(piece)

    async def _piece(self, context: _Context, piece: bytes) -> None:
        shape = _shape(context)
        ms = len(piece) // 8
        alignment = {"chars": ["a"], "charStartTimesMs": [0], "charDurationsMs": [ms]}
        if shape is Shape.PADDED:
            await self._tell(context, {"audio": None, "alignment": alignment})
            await self._tell(context, {"audio": ""})
        bare: dict[str, object] = {"audio": base64.b64encode(piece).decode()}
        if shape is Shape.NULLS:
            await self._tell(
                context, {**bare, "alignment": None, "normalizedAlignment": None, "isFinal": None}
            )
        else:
            await self._tell(context, {**bare, "alignment": alignment} if len(piece) > 1 else bare)

    async def _end(self, context: _Context) -> None:
        plan = context.plan
        if plan.when is When.END:
            await act(plan, self._socket, context.name)
        self._contexts.pop(context.name, None)
        self._done.add(context.name)
        if not (plan.when is When.END and plan.then is Then.SKIP):
            nothing: dict[str, object] = {"audio": None} if _shape(context) is Shape.NULLS else {}
            await self._tell(context, {**nothing, "isFinal": True})
        context.spoken.over = True
        if plan.when is When.AFTER:
            await act(plan, self._socket, context.name)

    async def _tell(self, context: _Context, message: dict[str, object]) -> None:
        match _shape(context):
            case Shape.SNAKE:
                message = {"is_final" if key == "isFinal" else key: told for key, told in message.items()}
                message["context_id"] = context.name
            case Shape.NAMELESS:
                message["contextId"] = None
            case _:
                message["contextId"] = context.name
        await self._socket.send(json.dumps(message))


def _shape(context: _Context) -> Shape:
    return context.plan.shape if isinstance(context.plan, ElevenLabsPlan) else Shape.CAMEL
