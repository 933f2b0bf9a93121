"""What every language model must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest

from pipeline.clock import Clock, run_virtual
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import CutShort, Reply, Thinker, Tokens
from pipeline.engines.breaker import Breaker
from pipeline.engines.counting import text_tokens
from pipeline.engines.failover import FailoverThinker
from pipeline.engines.local.companion import Companion
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.smollm2 import Chunk, SmolThinker, compiled
from pipeline.engines.openai_chat import ChatServer, OpenAIThinker
from pipeline.engines.scripted import Answer, ScriptedThinker
from tests.emulators.chat import FAULTS, KEY, MODEL, ChatEmulator

MESSAGES = (
    Message("system", "You are Sarah, a warm listener."),
    Message("user", "I have a job interview on Tuesday and I'm really nervous."),
)


class FakeRuntime:
    """xllamacpp's server as far as it is used: chunks from the calling thread, errors as dicts."""

    def __init__(
        self,
        text: str = "That is a big step. How do you feel? I once had one.",
        broken: bool = False,
        counts: bool = True,
    ) -> None:
        self.text = text
        self.broken = broken
        self.counts = counts
        self.requests: list[dict[str, object]] = []

    def handle_chat_completions(
        self, request: dict[str, object], on_chunk: Callable[[Chunk], bool]
    ) -> object:
        self.requests.append(request)
        if self.broken:
            return {"error": {"code": 400, "message": "no"}}
        limit = request["max_tokens"]
        assert isinstance(limit, int)
        pieces = self.text.replace(" ", "| ").split("|")[:limit]
        if on_chunk({"choices": [{"delta": {"role": "assistant", "content": None}}]}):
            return None
        for piece in pieces:
            if on_chunk({"choices": [{"delta": {"content": piece}}]}):
                return None
        on_chunk({"choices": [{"finish_reason": "stop", "delta": {}}]})
        on_chunk(
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 90 if self.counts else None,
                    "completion_tokens": len(pieces),
                    "prompt_tokens_details": {"cached_tokens": 30},
                },
            }
        )
        return None


GRACE = 0.001
"""Real seconds in which a packet on loopback arrives."""


@dataclass(frozen=True, slots=True)
class Case:
    engine: Thinker
    failing: Thinker


Bring = Callable[[], AbstractAsyncContextManager[Case]]
"""Brings an engine up and takes it down again, inside the loop of the test."""


@pytest.fixture(params=["scripted", "companion", "smollm2", "openai", "failover"])
def bring(request: pytest.FixtureRequest, worker: Worker) -> Bring:
    name: str = request.param

    @asynccontextmanager
    async def up() -> AsyncIterator[Case]:
        failing: Thinker = ScriptedThinker([Answer("One two three.", fails_after=1)], repeat=True)
        match name:
            case "scripted":
                yield Case(ScriptedThinker(["That sounds like a big day for you."], repeat=True), failing)
            case "companion":
                # The companion has nothing that can fail.
                yield Case(Companion(), failing)
            case "smollm2":
                yield Case(SmolThinker(FakeRuntime(), worker), SmolThinker(FakeRuntime(broken=True), worker))
            case "failover":
                broken = ScriptedThinker([Answer("Lost.", fails_after=0)], repeat=True, model="broken")
                whole = ScriptedThinker(["That sounds like a big day for you."], repeat=True)
                yield Case(in_a_row(broken, whole), in_a_row(broken, failing))
            case _:
                async with hosted() as case:
                    yield case

    return up


def in_a_row(*thinkers: Thinker) -> Thinker:
    return FailoverThinker([(each, Breaker(each.models[0], Clock())) for each in thinkers], patience_s=1.0)


@asynccontextmanager
async def hosted() -> AsyncIterator[Case]:
    async with (
        ChatEmulator() as server,
        ChatEmulator(plan=FAULTS["cut"]) as broken,
        aclosing(OpenAIThinker(ChatServer(MODEL, server.url, KEY))) as engine,
        aclosing(OpenAIThinker(ChatServer(MODEL, broken.url, KEY))) as failing,
    ):
        yield Case(engine, failing)


async def written(reply: Reply, pieces: int | None = None) -> str:
    text, over = "", False
    async with aclosing(reply.pieces()) as stream:
        async for piece in stream:
            assert not over  # nothing follows the word that it was cut short
            if over := isinstance(piece, CutShort):
                continue
            assert isinstance(piece, str)
            if not piece:
                assert not text
                continue
            text += piece
            if pieces is not None:
                pieces -= 1
                if not pieces:
                    break
    return text


def test_a_reply_comes_in_pieces_and_is_counted(bring: Bring) -> None:
    async def main() -> None:
        async with bring() as case:
            async with case.engine.reply(MESSAGES, max_tokens=100, temperature=0.7) as reply:
                before = reply.tokens
                text = await written(reply)
                assert len(text.split()) >= 3
                assert text == text.strip()
            assert reply.model in case.engine.models
            assert before.out == 0
            assert before.uncached + before.cached > 0
            assert reply.tokens.out >= len(text.split()) / 2
            assert reply.tokens.uncached + reply.tokens.cached > 0

    run_virtual(main(), grace=GRACE)


def test_leaving_early_stops_the_counting(bring: Bring) -> None:
    async def main() -> None:
        async with bring() as case:
            async with case.engine.reply(MESSAGES, max_tokens=100, temperature=0.0) as reply:
                whole = len((await written(reply)).split())
            complete = reply.tokens
            async with case.engine.reply(MESSAGES, max_tokens=100, temperature=0.0) as reply:
                text = await written(reply, pieces=2)
            cut = reply.tokens
            assert len(text.split()) == 2 < whole
            assert 0 < cut.out <= complete.out
            assert reply.tokens == cut

    run_virtual(main(), grace=GRACE)


def test_a_reply_never_asked_for_its_pieces_costs_no_output(bring: Bring) -> None:
    async def main() -> None:
        async with bring() as case:
            async with case.engine.reply(MESSAGES, max_tokens=100, temperature=0.7) as reply:
                pass
            assert reply.tokens.out == 0

    run_virtual(main(), grace=GRACE)


def test_the_output_is_bounded(bring: Bring) -> None:
    async def main() -> None:
        async with bring() as case:
            async with case.engine.reply(MESSAGES, max_tokens=4, temperature=0.7) as reply:
                text = await written(reply)
            assert 0 < reply.tokens.out <= 4
            assert text_tokens(text) <= 8

    run_virtual(main(), grace=GRACE)


def test_a_failure_is_an_engine_error(bring: Bring) -> None:
    async def main() -> None:
        async with bring() as case, case.failing.reply(MESSAGES, max_tokens=100, temperature=0.7) as reply:
            with pytest.raises(EngineError):
                await written(reply)

    run_virtual(main(), grace=GRACE)


def test_an_error_leaves_the_context_as_it_is(bring: Bring) -> None:
    async def main() -> None:
        async with bring() as case:
            with pytest.raises(EngineError):
                async with case.failing.reply(MESSAGES, max_tokens=100, temperature=0.7) as reply:
                    await written(reply)
            with pytest.raises(ZeroDivisionError):
                async with case.engine.reply(MESSAGES, max_tokens=100, temperature=0.7):
                    raise ZeroDivisionError

    run_virtual(main(), grace=GRACE)


def test_two_replies_at_once_do_not_mix(bring: Bring) -> None:
    async def main() -> None:
        async with (
            bring() as case,
            case.engine.reply(MESSAGES, max_tokens=100, temperature=0.7) as one,
            case.engine.reply(MESSAGES, max_tokens=100, temperature=0.7) as other,
        ):
            assert await written(one) == await written(other)

    run_virtual(main(), grace=GRACE)


# -- scripted only ---------------------------------------------------------------------


def test_the_script_is_followed_and_keeps_its_time() -> None:

    async def main() -> None:
        thinker = ScriptedThinker(["One two.", Answer("Three.", fails_after=0)], first_ms=200, piece_ms=50)
        loop = asyncio.get_running_loop()
        async with thinker.reply(MESSAGES, max_tokens=9, temperature=0) as reply:
            assert await written(reply) == "One two."
        assert loop.time() == pytest.approx(0.25)
        async with thinker.reply(MESSAGES, max_tokens=9, temperature=0) as reply:
            with pytest.raises(EngineError):
                await written(reply)
        async with thinker.reply(MESSAGES, max_tokens=9, temperature=0) as reply:
            assert await written(reply) == "I see."
        assert list(thinker.requests) == [MESSAGES] * 3

    run_virtual(main())


def test_a_script_may_be_a_function() -> None:
    async def main() -> None:
        thinker = ScriptedThinker(lambda messages: messages[-1].content.upper())
        async with thinker.reply([Message("user", "hm")], max_tokens=9, temperature=0) as reply:
            assert await written(reply) == "HM"

    run_virtual(main())


# -- SmolLM2's plumbing only -----------------------------------------------------------


def test_the_runtimes_own_count_is_used(worker: Worker) -> None:
    async def main() -> None:
        thinker = SmolThinker(FakeRuntime("Fine, thanks."), worker)
        async with thinker.reply(MESSAGES, max_tokens=50, temperature=0.4) as reply:
            assert await written(reply) == "Fine, thanks."
        assert reply.tokens == Tokens(60, 30, 2)

    run_virtual(main())


def test_without_a_count_that_can_be_used_our_own_stands_and_says_so(worker: Worker) -> None:
    async def main() -> None:
        thinker = SmolThinker(FakeRuntime("Fine, thanks.", counts=False), worker)
        async with thinker.reply(MESSAGES, max_tokens=50, temperature=0.4) as reply:
            assert await written(reply) == "Fine, thanks."
        assert (reply.tokens.estimated, reply.tokens.out) == (True, 2)
        assert reply.tokens.uncached > 0

    run_virtual(main())


def test_small_models_are_cut_to_two_sentences_and_short_prompts(worker: Worker) -> None:
    async def main() -> None:
        thinker = SmolThinker(FakeRuntime("*One.* Two! 😀 Three. Four."), worker)
        async with thinker.reply(MESSAGES, max_tokens=50, temperature=0.4) as reply:
            assert await written(reply) == "One. Two!"

    run_virtual(main())
    prompt = compiled([Message("system", "word " * 300), Message("user", "Hello?")])
    assert len(prompt[0]["content"].split()) == 90
    assert prompt[-1] == {"role": "user", "content": "Hello?"}


def test_a_runtime_that_raises_is_an_engine_error(worker: Worker) -> None:
    class Raising:
        def handle_chat_completions(
            self, request: dict[str, object], on_chunk: Callable[[Chunk], bool]
        ) -> object:
            raise RuntimeError("out of memory")

    async def main() -> None:
        async with SmolThinker(Raising(), worker).reply(MESSAGES, max_tokens=5, temperature=0) as reply:
            with pytest.raises(EngineError):
                await written(reply)

    run_virtual(main())
