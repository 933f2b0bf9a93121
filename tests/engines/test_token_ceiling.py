"""A server that reads over the ceiling of a reply's tokens: it is stopped, and the caller pays the ceiling at most."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from structlog.testing import capture_logs

from pipeline.clock import Clock, run_virtual
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import Tokens
from pipeline.engines.breaker import Breaker
from pipeline.engines.failover import FailoverThinker
from pipeline.engines.openai_chat import ChatServer, OpenAIThinker
from pipeline.engines.scripted import Answer, ScriptedThinker
from tests.emulators.chat import KEY, MODEL, ChatEmulator, Plan, Served

MESSAGES = (Message("system", "You are Sarah."), Message("user", "Tell me everything."))
CEILING = 40
A_LITTLE = Plan(text="and so on " * 20, unbounded=True)
"""Some sixty words, which are tokens there: over the ceiling, but not by so much that it shows before the count."""
WITHOUT_END = "and so on " * 2_000


def asked(plan: Plan, *, reasoning: int = 0) -> tuple[str, Tokens, EngineError | None, Served, list[str]]:
    """What is said of one reply, what it costs, what it failed with, what the server knows of it, what is logged."""

    async def main() -> tuple[str, Tokens, EngineError | None, Served, list[str]]:
        said, failure = "", None
        with capture_logs() as logged:
            async with (
                ChatEmulator(plan=plan) as server,
                aclosing(
                    OpenAIThinker(ChatServer(MODEL, server.url, KEY, reasoning_tokens=reasoning))
                ) as thinker,
            ):
                async with thinker.reply(MESSAGES, max_tokens=CEILING, temperature=0) as reply:
                    try:
                        async with aclosing(reply.pieces()) as pieces:
                            async for piece in pieces:
                                said += piece if isinstance(piece, str) else ""
                    except EngineError as error:
                        failure = error
                await asyncio.sleep(1)
                return said, reply.tokens, failure, server.served[0], [line["event"] for line in logged]

    return run_virtual(main(), grace=0.001)


def test_what_is_counted_beyond_the_ceiling_is_not_the_callers() -> None:
    said, tokens, failure, served, logged = asked(A_LITTLE)
    assert failure is None
    assert said == A_LITTLE.text
    assert served.billed.out > CEILING
    assert tokens == Tokens(served.billed.uncached, 0, CEILING)
    assert logged == ["token_ceiling_ignored"]


def test_what_a_model_may_think_goes_onto_the_ceiling_that_is_sent_and_billed() -> None:
    said, tokens, failure, served, logged = asked(A_LITTLE, reasoning=400)
    assert served.body["max_completion_tokens"] == CEILING + 400
    assert (said, failure, logged) == (A_LITTLE.text, None, [])
    assert tokens.out == served.billed.out > CEILING


def test_a_reply_without_end_is_broken_off_and_what_there_is_stands() -> None:
    said, tokens, failure, served, logged = asked(Plan(text=WITHOUT_END, unbounded=True))
    assert failure is None
    assert WITHOUT_END.startswith(said)
    assert CEILING * 4 < len(said) < CEILING * 20
    assert served.left_at is not None
    assert tokens.out == CEILING
    assert logged == ["token_ceiling_ignored"]


def test_thinking_without_end_is_a_failure_of_this_reply() -> None:
    said, tokens, failure, served, _ = asked(Plan(text="", reasoning=WITHOUT_END, unbounded=True))
    assert not said
    assert failure is not None
    assert failure.retryable
    assert served.left_at is not None
    assert tokens.out == CEILING


@pytest.mark.parametrize("text", ["and so on " * 13 + "on", "extraordinarily " * 39 + "long"])
def test_a_server_that_keeps_to_it_is_left_alone(text: str) -> None:
    said, tokens, failure, served, logged = asked(Plan(text=text))
    assert failure is None
    assert said == text
    assert tokens == served.billed
    assert logged == []


def test_one_reply_that_was_all_reasoning_does_not_shut_the_model_off_for_other_calls() -> None:
    thinks = Plan(text="Never said.", reasoning="Let me think about this. " * 100)

    async def main() -> None:
        async with (
            ChatEmulator(("Of course.",)) as server,
            aclosing(OpenAIThinker(ChatServer(MODEL, server.url, KEY))) as thinker,
        ):
            server.plans.append(thinks)
            breaker, behind = Breaker(MODEL, Clock()), ScriptedThinker((Answer("From behind."),))
            together = FailoverThinker([(thinker, breaker), (behind, Breaker("behind", Clock()))], 4.0)
            for said in ("From behind.", "Of course."):
                async with together.reply(MESSAGES, max_tokens=CEILING, temperature=0) as reply:
                    assert "".join([str(piece) async for piece in reply.pieces()]) == said
            assert breaker.failures == 1

    run_virtual(main(), grace=0.001)
