"""What each fault of a chat server comes to, and what it costs."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import Clock
from pipeline.core.errors import AllDown
from pipeline.engines.base import Tokens
from pipeline.engines.breaker import Breaker
from pipeline.engines.counting import text_tokens
from pipeline.engines.failover import FailoverThinker
from tests.emulators.chat import FAULTS, KEY, MODEL, ChatEmulator, Plan
from tests.engines.asking import (
    ESTIMATED_PROMPT,
    MESSAGES,
    NOTHING,
    TEXT,
    ask,
    asked,
    thinking,
    virtual,
)

REFUSED = {
    "wrong key": (False, "401 invalid_api_key"),
    "no credit": (False, "402 payment_required"),
    "forbidden": (False, "403 permission_denied"),
    "model gone": (False, "404, model not found or retired"),
    "timed out": (True, "408 request_timeout"),
    "template refuses": (False, "refused: 400"),
    "bad request": (False, "422 unprocessable"),
    "too many": (True, "429 rate_limit_exceeded"),
    "tool unreadable": (True, "400 tool_use_failed"),
    "filtered": (True, "400 content_filter"),
    "quota gone": (False, "429 insufficient_quota"),
    "flex full": (True, "498 capacity_exceeded"),
    "broken": (True, "500 internal_error"),
    "overloaded": (True, "503 overloaded"),
    "refused": (True, "ConnectError"),
    "reset": (True, "the connection failed"),
}
BROKEN_OFF = {
    "stalls": "wrote no more for 5 s",
    "cut": "the connection failed",
    "ends early": "cut off",
    "error event": "broke off: model_crashed",
    "tool unreadable in mid-reply": "broke off: tool_use_failed",
    "garbage": "no JSON",
}
NEVER_BEGUN = {
    "no headers": "wrote nothing in 4 s",
    "no body": "wrote nothing in 4 s",
    "too slow": "wrote nothing in 4 s",
    "cut at once": "the connection failed",
    "error at once": "broke off: model_crashed",
}
EMPTY = ["endless reasoning", "empty"]
ESTIMATED = ["no usage", "broken usage"]
ACCENTS = "Déjà vu — schön, hm? 😀"
WHOLE = {
    "slow": TEXT,
    "no done": TEXT,
    "lingers": TEXT,
    "usage without choices": TEXT,
    "usage in the last chunk": TEXT,
    "groq usage": TEXT,
    "no role": TEXT,
    "unfinished is empty": TEXT,
    "unfinished is a word": TEXT,
    "unfinished is a reason": TEXT,
    "odd deltas": TEXT,
    "a byte at a time": ACCENTS,
    "split characters": ACCENTS,
    "all at once": TEXT,
    "crlf and comments": TEXT,
    "reasoning": TEXT,
    "groq reasoning": TEXT,
    "think tags": "I hear you. Go on.",
    "length": TEXT,
    "end call": "Take care. Goodbye!",
    "end call only": "",
    "end call garbled": "Bye now.",
    "unknown tool": "Let me look.",
    "markdown": FAULTS["markdown"].text,
}


def test_every_fault_has_an_outcome() -> None:
    assert {*REFUSED, *BROKEN_OFF, *NEVER_BEGUN, *EMPTY, *ESTIMATED, *WHOLE} == set(FAULTS)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_request_costs_nothing(name: str) -> None:
    async def main() -> None:
        outcome, served = await asked(FAULTS[name])
        assert outcome.failure is not None
        passes, says = REFUSED[name]
        assert outcome.failure.retryable is passes
        assert says in outcome.failure.detail
        assert outcome.tokens == NOTHING
        assert outcome.pieces == ()
        assert served is None or served.billed == NOTHING

    virtual(main())


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_a_reply_that_breaks_off_is_a_passing_failure_and_its_cost_estimated(name: str) -> None:
    async def main() -> None:
        outcome, served = await asked(FAULTS[name])
        assert served is not None
        assert outcome.failure is not None
        assert outcome.failure.retryable
        assert BROKEN_OFF[name] in outcome.failure.detail
        assert outcome.text == served.written == "That sounds like"
        assert outcome.tokens == Tokens(ESTIMATED_PROMPT, 0, text_tokens(outcome.text), estimated=True)
        assert served.billed == Tokens(ESTIMATED_PROMPT + 3, 0, 3)

    virtual(main())


@pytest.mark.parametrize("name", NEVER_BEGUN)
def test_a_request_that_was_taken_on_costs_its_prompt(name: str) -> None:
    async def main() -> None:
        outcome, served = await asked(FAULTS[name])
        assert served is not None
        assert outcome.failure is not None
        assert outcome.failure.retryable
        assert NEVER_BEGUN[name] in outcome.failure.detail
        assert outcome.tokens == Tokens(ESTIMATED_PROMPT, 0, 0, estimated=True)
        assert served.billed.out == 0 < served.billed.uncached

    virtual(main())


@pytest.mark.parametrize("name", EMPTY)
def test_a_reply_without_a_word_is_a_passing_failure_that_costs(name: str) -> None:
    async def main() -> None:
        outcome, served = await asked(FAULTS[name])
        assert served is not None
        assert outcome.failure is not None
        assert outcome.failure.detail == f"{MODEL} wrote nothing"
        assert outcome.failure.retryable
        assert outcome.tokens == served.billed

    virtual(main())


@pytest.mark.parametrize("name", ESTIMATED)
def test_without_the_vendors_count_a_whole_reply_is_estimated(name: str) -> None:
    async def main() -> None:
        outcome, _ = await asked(FAULTS[name])
        assert outcome.failure is None
        assert outcome.text == TEXT
        assert outcome.tokens == Tokens(ESTIMATED_PROMPT, 0, text_tokens(TEXT), estimated=True)

    virtual(main())


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_odd_but_right_is_a_whole_reply_at_the_vendors_count(name: str) -> None:
    async def main() -> None:
        outcome, served = await asked(FAULTS[name])
        assert served is not None
        assert outcome.failure is None
        assert outcome.text == WHOLE[name]
        assert outcome.tokens == served.billed
        assert served.told
        assert outcome.ends_call == name.startswith("end call")

    virtual(main())


@pytest.mark.parametrize("name", FAULTS)
def test_no_error_repeats_the_key_or_what_was_said(name: str) -> None:
    async def main() -> None:
        outcome, _ = await asked(FAULTS[name])
        if outcome.failure is not None:
            assert KEY not in outcome.failure.detail
            assert "kumquat" not in outcome.failure.detail
            assert "sounds" not in outcome.failure.detail

    virtual(main())


@pytest.mark.parametrize("name", ["timed out", "too many", "broken", "reset", "no body", "cut"])
def test_nothing_is_asked_twice(name: str) -> None:
    async def main() -> None:
        async with ChatEmulator(plan=FAULTS[name]) as server, thinking(server) as thinker:
            assert (await ask(thinker)).failure is not None
            await asyncio.sleep(60)
            assert len(server.served) == 1
            # And the next one is none the worse.
            server.plan = Plan()
            assert (await ask(thinker)).text == TEXT

    virtual(main())


@pytest.mark.parametrize("name", ["filtered", "tool unreadable", "tool unreadable in mid-reply"])
def test_what_is_refused_to_one_caller_keeps_nobody_else_from_the_model(name: str) -> None:
    """One refusal of a caller's words kept all others from it for 15 s."""

    async def main() -> None:
        async with ChatEmulator((TEXT,)) as server, thinking(server) as thinker:
            server.plans.append(FAULTS[name])
            breaker = Breaker("llm", Clock())
            together = FailoverThinker([(thinker, breaker)], patience_s=4.0)
            with pytest.raises(AllDown):
                await replied(together)
            assert await replied(together) == TEXT
            assert (breaker.failures, breaker.openings) == (1, 0)

    async def replied(together: FailoverThinker) -> str:
        async with together.reply(MESSAGES, max_tokens=60, temperature=0.7) as reply:
            return "".join([piece async for piece in reply.pieces() if isinstance(piece, str)])

    virtual(main())
