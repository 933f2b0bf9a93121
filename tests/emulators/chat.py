"""A server of OpenAI-compatible chat completions on loopback, strict about requests and wrong on request.

Speaks HTTP/1.1 by hand, so that every write, every pause and the moment a client leaves are exact. Counts
tokens by a rule of its own (see `prompt_count`), and remembers what it would bill, also for replies that
were given up. What goes wrong is a `Plan`; `FAULTS` names the ones that clients must live with. Holds in
virtual and in real time.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import Self, cast

from pipeline.clock import Clock
from tests.emulators.chat_plans import FAULTS, MODEL, PRIMING, Json, Plan, Served, events_of, prompt_count

__all__ = ["FAULTS", "KEY", "MODEL", "ChatEmulator", "Json", "Plan", "Served", "prompt_count"]

KEY = "a-key-for-the-emulator"
REMEMBERED = 10_000
KNOWN_FIELDS = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature"),
    *("top_p", "stop", "seed", "user", "tools", "tool_choice", "reasoning_effort"),
}


class _Gone(Exception):
    """The client has left."""


class _Broken(Exception):
    """The plan wants the connection to end here."""


Texts = Sequence[str | Plan] | Callable[[list[Json]], str | Plan]


class ChatEmulator:
    """Use as a context. `texts` are written in turn, the last one for ever; a `Plan` among them is one answer's.

    `plan` is how requests are answered; `plans` are for the next ones, before it. One token is a word.
    """

    def __init__(
        self,
        texts: Texts = ("That sounds like a big day for you.",),
        *,
        plan: Plan | None = None,
        first_ms: float = 200,
        piece_ms: float = 10,
        cache_from: int = 1024,
    ) -> None:
        self.plan = plan or Plan()
        self.plans: deque[Plan] = deque()
        self.first_ms = first_ms
        self.piece_ms = piece_ms
        self.served: deque[Served] = deque(maxlen=REMEMBERED)
        self.connections = 0
        self.open = 0
        """Connections that are open now."""
        self.listed = [MODEL]
        """The names of its models."""
        self.listings = 0
        """Times its models were asked for."""
        self._texts = texts
        self._asked = 0
        self._cache_from = cache_from
        self._known: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.clock = Clock()

    @property
    def url(self) -> str:
        """The base URL, with its /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        if self.plan.instead == "refused":
            self._server.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Close every connection, as servers do with those that have idled."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        talk = _Talk(self, reader, writer, self.connections)
        try:
            while await talk.request():
                pass
        except (_Gone, _Broken, ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # The emulator closes; it does not wait for a client to read what is on its way.
            writer.transport.abort()
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    def answer(self, messages: list[Json]) -> Plan:
        """The plan of the next answer, its text included."""
        plan = self.plans.popleft() if self.plans else self.plan
        if callable(self._texts):
            found = self._texts(messages)
        else:
            found = self._texts[min(self._asked, len(self._texts) - 1)]
        self._asked += 1
        if isinstance(found, Plan):
            return found
        return plan if plan.text is not None else replace(plan, text=found)

    def cached(self, body: Json) -> int:
        """Tokens at the front that an earlier prompt had too, in whole messages; none below `cache_from`."""
        most = 0
        for size in range(1, len(body["messages"]) + 1):
            part = {"messages": body["messages"][:size], "tools": body.get("tools")}
            name = hash(json.dumps(part))
            if name in self._known:
                most = prompt_count(part) - PRIMING
            self._known.add(name)
        return most if most >= self._cache_from else 0


class _Talk:
    """One connection."""

    def __init__(
        self,
        server: ChatEmulator,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = number
        self._together = b""

    async def request(self) -> bool:
        """Take one request and answer it. False when no other can follow."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")[:-2]
        method, path, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)
        }
        content = await self._reader.readexactly(int(headers.get("content-length", "0")))
        server = self._server
        if headers.get("authorization") != f"Bearer {KEY}":
            return await self._refuse(
                401, "invalid_api_key", f"Incorrect API key: {headers.get('authorization')}"
            )
        if (method, path) == ("GET", "/v1/models"):
            server.listings += 1
            about = {"object": "model", "created": 1795340000, "owned_by": "emulator"}
            listed = [{"id": name, **about} for name in server.listed]
            return await self._plain(200, {"object": "list", "data": listed})
        if (method, path) != ("POST", "/v1/chat/completions"):
            return await self._refuse(404, "not_found", path)
        try:
            body = json.loads(content)
        except ValueError:
            return await self._refuse(400, "invalid_json", "no JSON")
        served = Served(body, headers, self._number, server.clock.seconds())
        server.served.append(served)
        if wrong := next(faults_of(body), None):
            return await self._refuse(400, "invalid_request_error", wrong)
        if body["model"] != MODEL:
            return await self._refuse(404, "model_not_found", f"The model {body['model']} does not exist")
        try:
            return await self._answer(served, server.answer(body["messages"]))
        except (_Gone, ConnectionError):
            served.left_at = server.clock.seconds()
            raise

    async def _refuse(
        self, status: int, code: str, text: str, headers: Sequence[tuple[str, str]] = ()
    ) -> bool:
        error = {"message": text, "type": "invalid_request_error", "param": None, "code": code}
        return await self._plain(status, {"error": error}, headers)

    async def _plain(self, status: int, body: Json, headers: Sequence[tuple[str, str]] = ()) -> bool:
        content = json.dumps(body).encode()
        length = ("content-length", str(len(content)))
        self._head(status, [("content-type", "application/json"), length, *headers])
        self._writer.write(content)
        await self._writer.drain()
        return True

    def _head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
        lines += [f"x-request-id: req-{len(self._server.served)}", "", ""]
        self._writer.write("\r\n".join(lines).encode())

    async def _answer(self, served: Served, plan: Plan) -> bool:
        server = self._server
        if plan.instead in {"reset", "refused"}:
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
            raise _Broken
        if plan.status != 200:
            # What errors really say: the request, word for word.
            told = json.dumps(served.body)
            if plan.flat:
                told_by_vllm = {
                    "object": "error",
                    "message": told,
                    "type": "BadRequestError",
                    "code": plan.status,
                }
                return await self._plain(plan.status, told_by_vllm, plan.headers)
            return await self._refuse(plan.status, plan.code, told, plan.headers)
        served.prompt = prompt_count(served.body)
        served.cached = server.cached(served.body)
        if plan.instead == "no headers":
            await self._pause(None)
        self._head(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
        if plan.instead == "no body":
            await self._pause(None)
        for pause_ms, event in events_of(served, plan, server.first_ms, server.piece_ms):
            await self._pause(pause_ms / 1000)
            await self._event(event, plan)
        if plan.lingers:
            await self._pause(None)
        await self._send(self._together)
        self._together = b""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        served.complete = True
        return True

    async def _pause(self, seconds: float | None) -> None:
        """Wait, for ever without a number. Raises as soon as the client has left."""
        if seconds == 0:
            await asyncio.sleep(0)
            if self._reader.at_eof():
                raise _Gone
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # A client that waits for an answer sends nothing: this returns when it leaves.
                await self._reader.read(1)
                raise _Gone

    async def _event(self, event: Json | str, plan: Plan) -> None:
        match event:
            case "cut":
                await self._writer.drain()
                raise _Broken
            case "stalls":
                await self._pause(None)
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        text = f"data: {data}{plan.newline * 2}"
        if plan.comments:
            text = f": keep-alive{plan.newline * 2}{text}"
        content = text.encode()
        match plan.writes:
            case "events":
                await self._send(content)
            case "bytes":
                for index in range(len(content)):
                    await self._send(content[index : index + 1])
            case "split characters":
                # After each byte that begins a character of several.
                start = 0
                for index, byte in enumerate(content, 1):
                    if byte >= 0xC0:
                        await self._send(content[start:index])
                        start = index
                await self._send(content[start:])
            case "together":
                self._together += content

    async def _send(self, content: bytes) -> None:
        """One write, and a turn of the loop, in which the client reads it."""
        if not content:
            return
        if self._reader.at_eof() or self._writer.transport.is_closing():
            raise _Gone
        self._writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        await self._writer.drain()
        await asyncio.sleep(0)


def faults_of(body: Json) -> Iterator[str]:
    """What a strict server refuses."""
    if unknown := set(body) - KNOWN_FIELDS:
        yield f"unknown field {min(unknown)}"
    if body.get("stream") is not True:
        yield "stream must be true"
    ceilings = [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]
    if len(ceilings) != 1 or not isinstance(ceilings[0], int) or ceilings[0] < 1:
        yield "exactly one ceiling of tokens must be set"
    if not 0 <= body.get("temperature", 1) <= 2:
        yield "temperature out of range"
    if not body.get("messages"):
        yield "no messages"
    for index, message in enumerate(body.get("messages", ())):
        if set(message) != {"role", "content"} or message["role"] not in {"system", "user", "assistant"}:
            yield f"message {index} is no message"
        elif not isinstance(message["content"], str) or not message["content"].strip():
            yield f"message {index} is empty"
        elif message["role"] == "system" and index:
            yield "the system prompt must come first, and once"
    roles = [message.get("role") for message in body.get("messages", ())]
    talk = roles[1:] if roles[:1] == ["system"] else roles
    if any(role != ("assistant" if index % 2 else "user") for index, role in enumerate(talk)):
        yield "Conversation roles must alternate user/assistant/user/assistant/..."
    if talk[-1:] == ["assistant"]:
        yield "the last word is the user's"
    for tool in body.get("tools", ()):
        match tool:
            case {"type": "function", "function": {"name": str(), "parameters": {"type": "object"}}}:
                pass
            case _:
                yield "no tool"
