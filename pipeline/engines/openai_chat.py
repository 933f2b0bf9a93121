"""A chat model behind any server that speaks OpenAI's chat completions: Cerebras, Groq, OpenAI, vLLM, Ollama.

Decides what is sent, how long is waited for an answer, and whether a failure may pass; what a stream says is
read in `chat_reply`. Must not retry, choose another server, or repeat a vendor's error text: that quotes keys
and prompts.

The official client carries requests and events. Chunks are taken as plain JSON, for its typed objects take
twenty times as long to build, and text is handed on a network read at a time: at 3,000 tokens a second
neither may keep the loop from the sound.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import structlog

from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.beside import beside
from pipeline.engines.chat_reply import TOOL, Bill, ChatReply, Request, whole
from pipeline.engines.counting import BYTES_A_TOKEN, prompt_tokens
from pipeline.engines.vendor_socket import may_pass
from pipeline.surprises import SURPRISES

if TYPE_CHECKING:
    import httpcore2
    import httpx2
    import openai

log = structlog.get_logger()

END_CALL: Mapping[str, object] = {
    "type": "function",
    "function": {
        "name": TOOL,
        "description": "Hang up. Use it only when the conversation is over, after saying goodbye.",
        "parameters": {"type": "object", "properties": {}},
    },
}
"""The one tool. It takes no arguments, so whatever is sent as such is no reason not to hang up."""
END_CALL_BYTES = len(msgspec.json.encode([END_CALL]))
"""What the tool adds to a prompt: an upper bound of its tokens, since no vocabulary makes more than bytes."""
_END_CALL_TOKENS = -(-END_CALL_BYTES // BYTES_A_TOKEN)

ANSWERED = Message("user", "(The call is answered.)")
"""Stands before a conversation that we began: many templates want the user's word first. Fixed, for prompt caches."""

SETTLE_S = 0.5
"""How long after the reply's end its usage may still come."""
WARM = 2
"""Connections opened ahead."""
IDLE_S = 300.0
"""A connection is kept this long between two turns. Most servers close it sooner, which is noticed."""

FLEX_FULL = 498
"""Groq's own: no capacity of this service tier at the moment."""
QUOTA_GONE = "insufficient_quota"
"""A 429 that waiting does not help."""
LASTING = {QUOTA_GONE, "invalid_request_error"}
"""Errors in mid-stream that will come again."""
OF_ONE_REPLY = {
    *("content_filter", "content_policy_violation", "invalid_prompt", "context_length_exceeded"),
    "tool_use_failed",  # Groq's own: the model called its tool in a way that cannot be read
}
"""Refusals of what one caller said, or of what the model made of it: whoever else asks is answered."""
_CODE = re.compile(r"[a-z_]{1,60}")
"""A code that is a word; anything else might be a key."""


@dataclass(frozen=True, slots=True)
class ChatServer:
    """Where a model is and what the server there understands."""

    model: str
    base_url: str
    """With its /v1."""
    api_key: str = field(default="", repr=False)
    reasoning_effort: str | None = None
    """Sent only when set: most servers refuse it for models that do not reason."""
    reasoning_tokens: int = 0
    """What the model may think for a reply: it goes onto the ceiling of tokens, for vendors count it in."""
    tools: bool = True
    """Whether the model is offered `end_call`."""
    sends_temperature: bool = True
    """Some reasoning models refuse every temperature but their own."""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    opens_thinking: bool = False
    """Whether its template ends the prompt with `<think>`, so that a reply begins with reasoning."""
    patience_s: float = 4.0
    """From the request to the first text."""
    stall_s: float = 5.0
    """From one piece to the next."""


# -- the server ------------------------------------------------------------------------

_when_sent: ContextVar[Callable[[], None]] = ContextVar("when_sent")


async def _watch(request: httpx2.Request) -> None:
    """Follow a request to the wire, of which its reply must know; the transport knows nothing of replies."""
    socket: httpcore2.AsyncNetworkStream | None = None

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        nonlocal socket
        if event == "connection.connect_tcp.complete":
            socket = info["return_value"]
        elif event == "connection.start_tls.failed" and socket is not None:
            # Cancelled in the middle of a handshake, the transport leaves its socket open.
            await socket.aclose()
        elif event.endswith("send_request_body.complete") and (sent := _when_sent.get(None)) is not None:
            sent()

    request.extensions["trace"] = trace


class OpenAIThinker:
    """One model on one server, for every call of the process. Close it with `aclose`."""

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self._client = _client(server)
        self._clock = Clock()

    @property
    def models(self) -> tuple[str, ...]:
        return (self._server.model,)

    async def aclose(self) -> None:
        await self._client.close()

    async def warm(self) -> tuple[str, ...]:
        """Open connections before the first turn needs one. Returns the models that the server lists, if any."""
        async with asyncio.TaskGroup() as group:
            listings = [group.create_task(self._listed()) for _ in range(WARM)]
        return listings[0].result()

    async def _listed(self) -> tuple[str, ...]:
        from openai import OpenAIError

        try:
            async with asyncio.timeout(self._server.patience_s):
                answer = await self._client.get("/models", cast_to=object)
        except (OpenAIError, TimeoutError, ValueError):
            return ()
        match answer:
            case {"data": list(models)}:
                return tuple(
                    str(model["id"]) for model in models if isinstance(model, dict) and "id" in model
                )
            case _:
                return ()

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[ChatReply]:
        told = _in_turns(messages)
        server = self._server
        ceiling = max_tokens + server.reasoning_tokens
        bill = Bill(prompt_tokens(told) + (_END_CALL_TOKENS if server.tools else 0), ceiling)
        reply = ChatReply(server.model, bill, thinking=server.opens_thinking)
        try:
            async with beside(self._write(self._body(told, ceiling, temperature), reply)):
                yield reply
        finally:
            bill.over()

    def _body(self, messages: Sequence[Message], max_tokens: int, temperature: float) -> dict[str, object]:
        server = self._server
        body: dict[str, object] = {
            "model": server.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            server.max_tokens_field: max_tokens,
        }
        if server.sends_temperature:
            body["temperature"] = temperature
        if server.reasoning_effort is not None:
            body["reasoning_effort"] = server.reasoning_effort
        if server.tools:
            body["tools"] = [END_CALL]
        return body

    async def _write(self, body: Mapping[str, object], reply: ChatReply) -> None:
        """Fill the reply, which learns of any failure. Cancelled, it closes the connection."""
        import openai

        failure: EngineError | None = None
        try:
            async with asyncio.timeout(self._server.patience_s) as limit:
                await self._read(body, reply, limit)
        except (TimeoutError, openai.APITimeoutError):
            failure = self._too_slow(reply)
        except openai.APIConnectionError as error:
            reply.bill.refused()
            cause = type(error.__cause__ or error).__name__
            failure = EngineError(f"{reply.model}: the connection failed: {cause}", retryable=True)
        except openai.APIStatusError as error:
            reply.bill.refused()
            failure = _refusal(reply.model, error)
        except openai.APIError as error:
            failure = _breakdown(reply.model, error)
        except ValueError:
            failure = EngineError(f"{reply.model} sent what is no JSON", retryable=True)
        except Exception as error:  # edge: an engine raises nothing but its own error, which its caller logs
            SURPRISES.labels("model server").inc()
            failure = EngineError(f"{reply.model}: {type(error).__name__}")
        if reply.bill.ceiling_ignored:
            log.warning("token_ceiling_ignored", model=reply.model, sent_as=self._server.max_tokens_field)
        if reply.reasoned_aloud:
            log.warning("reasoning_spoken", model=reply.model, mended_by="LLM_OPENS_THINKING=true")
        reply.bill.over()
        reply.end(failure)

    async def _read(self, body: Mapping[str, object], reply: ChatReply, limit: asyncio.Timeout) -> None:
        from openai import AsyncStream

        _when_sent.set(reply.bill.sent)
        stream = await self._client.post(
            "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
        )
        reply.bill.request = Request.ACCEPTED
        async with stream:
            async for chunk in stream:
                finished, written = reply.finish, reply.bill.written
                reply.take(chunk)
                if reply.bill.runs_over:
                    reply.break_off()  # leaving the stream closes the connection
                    return
                if reply.bill.written > written:
                    # Some servers name a reason to stop in every chunk: one beside words is believed at the end only.
                    if reply.begun:
                        limit.reschedule(self._clock.seconds() + self._server.stall_s)
                elif finished is None and reply.finish is not None and written:
                    limit.reschedule(self._clock.seconds() + SETTLE_S)

    def _too_slow(self, reply: ChatReply) -> EngineError:
        if reply.begun:
            what = f"wrote no more for {self._server.stall_s:g} s"
        else:
            what = f"wrote nothing in {self._server.patience_s:g} s"
        return EngineError(f"{reply.model} {what}", retryable=True)


def _in_turns(messages: Sequence[Message]) -> list[Message]:
    """The user's and the model's words in turns, from the user's on: templates of Gemma and Mistral refuse all else.

    Nothing in front changes where a word is added at the end, so prompt caches go on serving it.
    """
    told: list[Message] = []
    for message in messages:
        if not (content := whole(message.content)).strip():
            continue
        if told and told[-1].role == message.role:
            told[-1] = Message(message.role, f"{told[-1].content}\n{content}")
            continue
        if message.role == "assistant" and all(each.role == "system" for each in told):
            told.append(ANSWERED)
        told.append(Message(message.role, content))
    return told


def _client(server: ChatServer) -> openai.AsyncOpenAI:
    # Takes half a second to import, which a server without it need not wait for.
    import httpx2
    import openai

    http = openai.DefaultAsyncHttpx2Client(
        # A reply's own limits are tighter; these are for what they do not cover.
        timeout=openai.Timeout(server.patience_s + server.stall_s),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=IDLE_S),
        event_hooks={"request": [_watch]},
        follow_redirects=False,
        trust_env=False,
    )
    client = openai.AsyncOpenAI(
        # It insists on a key; servers that need none ignore it.
        api_key=server.api_key or "none",
        base_url=server.base_url,
        max_retries=0,
        http_client=http,
    )
    # Both are read from the environment otherwise, and are no business of other vendors.
    client.organization = client.project = None
    # Found out in a thread otherwise, while the first request waits.
    client._platform = "Unknown"
    return client


def _refusal(model: str, error: openai.APIStatusError) -> EngineError:
    """An answer that is no stream. Its text is not repeated."""
    status, codes = error.status_code, _codes(error)
    if status == 404:
        return EngineError(f"{model}: 404, model not found or retired")
    of_one = _of_one_reply(codes)  # asked again, a model may write something else
    passes = (may_pass(status) or status == FLEX_FULL or of_one) and QUOTA_GONE not in codes
    told = f"{model} refused: {' '.join([str(status), *codes[:1]])}"
    return EngineError(told, retryable=passes, of_one=of_one)


def _breakdown(model: str, error: openai.APIError) -> EngineError:
    """An error in place of a chunk. It has no status, though some servers make one its code."""
    codes = _codes(error)
    passes = may_pass(int(error.code or 0)) if str(error.code).isdecimal() else LASTING.isdisjoint(codes)
    told = " ".join([f"{model} broke off:", *codes[:1]]).rstrip(":")
    of_one = _of_one_reply(codes)
    return EngineError(told, retryable=passes or of_one, of_one=of_one)


def _of_one_reply(codes: Sequence[str]) -> bool:
    return not OF_ONE_REPLY.isdisjoint(codes)


def _codes(error: openai.APIError) -> list[str]:
    return [code for code in (error.code, error.type) if isinstance(code, str) and _CODE.fullmatch(code)]
