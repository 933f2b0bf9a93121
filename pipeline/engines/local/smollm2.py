"""SmolLM2-135M on xllamacpp: a real, if very small, language model that streams.

An optional extra (`make smollm2`), for trying the plumbing of streaming models without an
account. Its long prompts wander, so the system prompt is cut to its first words and a
reply to two sentences. One request at a time, in a thread; the runtime insists on a
server socket on loopback, which gets a random key.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import Reply, Tokens
from pipeline.engines.beside import beside
from pipeline.engines.chat_reply import counted
from pipeline.engines.counting import prompt_tokens
from pipeline.engines.local.companion import CompanionReply
from pipeline.engines.local.companion_notes import is_order, notes_on
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.weights import verified

MODEL = "smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

CONTEXT_TOKENS = 2048
PERSONA_WORDS = 90
SENTENCES = 2
EXAMPLES = (
    Message("user", "Hi, how are you?"),
    Message("assistant", "I'm well, thanks for asking. How was your day?"),
    Message("user", "Pretty long, to be honest."),
    Message("assistant", "That sounds tiring. What took so long?"),
)
_DECORATION = re.compile(r"[*_#`\U0001F000-\U0001FAFF\u2600-\u27BF\uFE0F\u200D]+")

Chunk = Mapping[str, object]


class Server(Protocol):
    """The part of the runtime that is used. Blocks until the reply is over; `True` from the callback ends it."""

    def handle_chat_completions(
        self, request: dict[str, object], on_chunk: Callable[[Chunk], bool]
    ) -> object: ...


def load(data_dir: Path) -> Server:
    """Blocking. Raises `EngineError` that says what to install."""
    path = data_dir / "models" / GGUF
    if not path.exists():
        raise EngineError("SmolLM2 is not installed: make smollm2")
    verified(path, GGUF_SHA256)
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise EngineError("the runtime of SmolLM2 is not installed: make smollm2") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    # A second thread spins, and falls to a tenth of the speed as soon as its core has other work.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.port = 0
    params.api_keys = [secrets.token_urlsafe(24)]
    params.ui = False
    params.cache_ram_mib = 0
    params.verbosity = -1
    return cast("Server", xllamacpp.Server(params))


def compiled(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages as this model bears them: a short persona, examples, then the conversation."""
    system = " ".join(message.content for message in messages if message.role == "system").split()
    talk = [message for message in messages if message.role != "system"]
    chosen = [Message("system", " ".join(system[:PERSONA_WORDS])), *EXAMPLES, *talk]
    return [{"role": message.role, "content": message.content} for message in chosen if message.content]


class SmolReply:
    """One reply, filled from the worker's thread."""

    model = MODEL

    def __init__(self, prompt: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._arriving: asyncio.Queue[str | EngineError | None] = asyncio.Queue()
        self._stop = threading.Event()
        # Until the runtime reports its own count, which it does not for a reply that was cut.
        self._tokens = Tokens(prompt, 0, 0, estimated=True)
        self._ended = False

    @property
    def tokens(self) -> Tokens:
        return self._tokens

    async def pieces(self) -> AsyncGenerator[str, None]:
        sentences = 0
        while not self._ended:
            arrived = await self._arriving.get()
            if arrived is None:
                return
            if isinstance(arrived, EngineError):
                raise arrived
            yield arrived
            sentences += arrived.rstrip().endswith((".", "!", "?"))
            if sentences == SENTENCES:
                self.stop()
                return

    def stop(self) -> None:
        self._ended = True
        self._stop.set()

    def end(self, error: EngineError | None) -> None:
        self._arriving.put_nowait(error)

    def on_chunk(self, chunk: Chunk) -> bool:
        """In the worker's thread. True tells the runtime to stop."""
        if not self._stop.is_set():
            self._loop.call_soon_threadsafe(self._take, chunk)
        return self._stop.is_set()

    def _take(self, chunk: Chunk) -> None:
        if "error" in chunk:
            self._arriving.put_nowait(EngineError("SmolLM2 refused the request"))
            return
        if isinstance(usage := chunk.get("usage"), Mapping):
            self._tokens = counted(usage) or self._tokens
        match chunk.get("choices"):
            case [{"delta": {"content": str(text)}}] if text:
                self._tokens = replace(self._tokens, out=self._tokens.out + 1)
                if plain := _DECORATION.sub("", text):
                    self._arriving.put_nowait(plain)


class SmolThinker:
    """The model for every call of the process, one reply after another."""

    def __init__(self, server: Server, worker: Worker) -> None:
        self._server = server
        self._worker = worker

    @property
    def models(self) -> tuple[str, ...]:
        return (MODEL,)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[Reply]:
        if is_order(messages):
            # So small a model makes facts up; rules that keep little keep only what was said.
            yield CompanionReply(notes_on(messages), prompt_tokens(messages), max_tokens, MODEL)
            return
        prompt = compiled(messages)
        request: dict[str, object] = {
            "messages": prompt,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": max_tokens,
            "temperature": temperature,
            "cache_prompt": True,
        }
        reply = SmolReply(prompt_tokens([Message("user", line["content"]) for line in prompt]))
        async with beside(self._write(request, reply), reply.stop):
            yield reply

    async def _write(self, request: dict[str, object], reply: SmolReply) -> None:
        error: EngineError | None = None
        try:
            returned = await self._worker.run(
                lambda: self._server.handle_chat_completions(request, reply.on_chunk)
            )
            if isinstance(returned, Mapping) and "error" in returned:
                error = EngineError("SmolLM2 refused the request")
        except EngineError as raised:
            error = raised
        reply.end(error)
