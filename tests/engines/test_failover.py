"""Several language models as one: a whole reply of one of them, or word that all are down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import Clock, run_virtual
from pipeline.core.effects import Message
from pipeline.core.errors import AllDown, EngineError
from pipeline.engines.base import Reply, Thinker, Tokens
from pipeline.engines.breaker import Breaker, State
from pipeline.engines.failover import FailoverThinker
from pipeline.engines.scripted import Answer, ScriptedThinker
from tests.pipeline.doubles import DeadThinker, Doors, WatchedThinker

MESSAGES = (Message("user", "How are you today?"),)


@dataclass
class Rig:
    """Scripted models a, b, c in a row, watched for being left again."""

    thinkers: Sequence[Thinker]
    doors: Doors = field(default_factory=Doors)
    lost: list[tuple[str, Tokens]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.breakers = [Breaker(thinker.models[0], Clock()) for thinker in self.thinkers]
        self.thinker = FailoverThinker(
            [
                (WatchedThinker(thinker, self.doors), breaker)
                for thinker, breaker in zip(self.thinkers, self.breakers, strict=True)
            ],
            1.0,
            lambda model, tokens: self.lost.append((model, tokens)),
        )

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Reply]:
        async with self.thinker.reply(MESSAGES, max_tokens=100, temperature=0) as reply:
            yield reply
        assert self.doors.open == 0
        assert len(asyncio.all_tasks()) == 1

    async def text(self) -> str:
        async with self.asked() as reply:
            return await written(reply)


@dataclass(frozen=True)
class SlowDoor:
    """Takes 0.7 s before it writes at all."""

    inner: Thinker

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[Reply]:
        await asyncio.sleep(0.7)
        async with self.inner.reply(messages, max_tokens=max_tokens, temperature=temperature) as reply:
            yield reply


async def written(reply: Reply) -> str:
    async with aclosing(reply.pieces()) as pieces:
        return "".join([str(piece) async for piece in pieces])


def scripted(model: str, *answers: str | Answer, first_ms: int = 0) -> ScriptedThinker:
    return ScriptedThinker(answers, model=model, first_ms=first_ms, piece_ms=10)


def broken(text: str = "Never said.", after: int = 0, first_ms: int = 0, retryable: bool = True) -> Answer:
    return Answer(text, first_ms, 10, fails_after=after, retryable=retryable)


def test_the_first_answers_while_it_can() -> None:
    rig = Rig([scripted("a", "From a."), scripted("b", "From b.")])

    async def main() -> None:
        async with rig.asked() as reply:
            assert (reply.model, reply.tokens.out) == ("a", 0)
            assert await written(reply) == "From a."
        assert reply.model == "a"
        assert reply.tokens.uncached > 0
        assert reply.tokens.out > 0
        assert rig.doors.ever == 1
        assert not rig.lost

    run_virtual(main())
    assert rig.thinker.models == ("a", "b")


def test_models_are_named_once() -> None:
    assert Rig([scripted("a"), scripted("b"), scripted("a")]).thinker.models == ("a", "b")


def test_the_next_answers_when_the_first_fails_and_only_its_tokens_count() -> None:
    rig = Rig([scripted("a", broken()), scripted("b", "From b.")])
    alone = Rig([scripted("b", "From b.")])

    async def main() -> None:
        async with rig.asked() as reply:
            assert await written(reply) == "From b."
        async with alone.asked() as lone:
            await written(lone)
        assert (reply.model, reply.tokens) == ("b", lone.tokens)
        ((model, tokens),) = rig.lost
        assert (model, tokens.out) == ("a", 0)
        assert tokens.uncached > 0

    run_virtual(main())


def test_one_that_cannot_even_be_asked_is_passed_over() -> None:
    rig = Rig([DeadThinker(), scripted("b", "From b.")])

    async def main() -> None:
        assert await rig.text() == "From b."
        assert rig.breakers[0].state is State.OPEN  # its failure is one that no retry mends

    run_virtual(main())


def test_a_silent_one_is_waited_for_no_longer_than_the_patience() -> None:
    rig = Rig([scripted("a", "Late.", first_ms=1_010), scripted("b", "From b.", first_ms=300)])

    async def main() -> None:
        clock = Clock()
        async with rig.asked() as reply, aclosing(reply.pieces()) as pieces:
            assert await anext(pieces) == "", "it has begun"
            assert clock.seconds() == pytest.approx(1.30)
            assert await anext(pieces) == "From"
            assert clock.seconds() == pytest.approx(1.31)
        assert rig.breakers[0].failures == 1
        assert [model for model, _ in rig.lost] == ["a"]

    run_virtual(main())


def test_the_patience_includes_opening() -> None:
    rig = Rig([SlowDoor(scripted("a", "Late.", first_ms=400)), scripted("b", "From b.")])

    async def main() -> None:
        clock = Clock()
        async with rig.asked() as reply, aclosing(reply.pieces()) as pieces:
            await anext(pieces), await anext(pieces)
            await anext(pieces)
            assert reply.model == "b"
            assert clock.seconds() == pytest.approx(1.01)

    run_virtual(main())


def test_an_open_breaker_is_not_waited_for() -> None:
    slow = scripted("a", *["Late."] * 9, first_ms=5_000)
    rig = Rig([slow, scripted("b", *["From b."] * 9)])

    async def main() -> None:
        clock = Clock()
        for _ in range(5):
            assert await rig.text() == "From b."
        assert len(slow.requests) == 5
        before = clock.seconds()
        assert await rig.text() == "From b."
        assert clock.seconds() - before == pytest.approx(0.01)
        assert len(slow.requests) == 5

    run_virtual(main())


def test_the_first_is_preferred_again_once_a_probe_succeeds() -> None:
    first = scripted("a", broken(retryable=False), "From a.", "From a.")
    rig = Rig([first, scripted("b", *["From b."] * 9)])

    async def main() -> None:
        assert await rig.text() == "From b."
        assert await rig.text() == "From b."
        await asyncio.sleep(15)
        assert await rig.text() == "From a."
        assert rig.breakers[0].state is State.CLOSED

    run_virtual(main())


def test_until_a_clause_is_whole_the_next_begins_anew_and_nothing_of_the_first_is_heard() -> None:
    rig = Rig([scripted("a", broken("One two three.", after=2)), scripted("b", "From b.")])

    async def main() -> None:
        async with rig.asked() as reply:
            assert await written(reply) == "From b."
        ((model, tokens),) = rig.lost
        assert (reply.model, model) == ("b", "a")
        assert tokens.out > 0
        assert rig.breakers[0].failures == 1

    run_virtual(main())


def test_one_that_stalls_within_its_first_clause_is_waited_for_no_longer_than_the_patience() -> None:
    rig = Rig([ScriptedThinker([Answer("One two three.", 100, 1_100)], model="a"), scripted("b", "From b.")])

    async def main() -> None:
        clock = Clock()
        async with rig.asked() as reply:
            assert await written(reply) == "From b."
        assert clock.seconds() == pytest.approx(1.11)

    run_virtual(main())


def test_after_the_first_clause_an_error_is_passed_on() -> None:
    rig = Rig([scripted("a", broken("One. Two three.", after=2)), scripted("b", "From b.")])

    async def main() -> None:
        async with rig.asked() as reply:
            pieces = reply.pieces()
            seen = f"{await anext(pieces)}{await anext(pieces)}{await anext(pieces)}"
            with pytest.raises(EngineError, match="script") as caught:
                await anext(pieces)
        assert not isinstance(caught.value, AllDown)
        assert seen == "One. Two"
        assert (reply.model, rig.doors.ever, rig.lost) == ("a", 1, [])
        assert reply.tokens.out > 0
        assert rig.breakers[0].failures == 1

    run_virtual(main())


def test_all_down_when_all_fail_and_the_user_pays_nothing() -> None:
    rig = Rig([scripted("a", broken()), scripted("b", broken())])

    async def main() -> None:
        async with rig.asked() as reply:
            with pytest.raises(AllDown, match="script") as caught:
                await written(reply)
        assert not caught.value.retryable
        assert reply.tokens == Tokens(0, 0, 0)
        assert [model for model, _ in rig.lost] == ["a", "b"]

    run_virtual(main())


def test_all_down_when_every_breaker_is_open() -> None:
    rig = Rig([DeadThinker(), DeadThinker()])

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(AllDown):
                await rig.text()
        assert [breaker.failures for breaker in rig.breakers] == [1, 1]

    run_virtual(main())


def test_a_reply_without_words_is_a_reply() -> None:
    rig = Rig([scripted("a", ""), scripted("b", "From b.")])

    async def main() -> None:
        assert await rig.text() == ""

    run_virtual(main())


def test_leaving_while_an_attempt_is_waited_for_counts_that_attempt_and_is_no_failure() -> None:
    rig = Rig([scripted("a", broken()), scripted("b", "From b.", first_ms=900)])

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            replies: list[Reply] = []

            async def ask() -> None:
                async with rig.thinker.reply(MESSAGES, max_tokens=9, temperature=0) as reply:
                    replies.append(reply)
                    await written(reply)

            task = group.create_task(ask())
            await asyncio.sleep(0.5)
            task.cancel()
        (reply,) = replies
        assert (reply.model, reply.tokens.out) == ("b", 0)
        assert reply.tokens.uncached > 0
        assert [model for model, _ in rig.lost] == ["a"]
        assert rig.breakers[1].failures == 0
        assert rig.doors.open == 0

    run_virtual(main())


def test_a_probe_that_is_left_early_makes_room_for_the_next() -> None:
    rig = Rig([scripted("a", broken(retryable=False), Answer("Slow.", 900), "From a."), scripted("b", "B.")])

    async def main() -> None:
        await rig.text()
        await asyncio.sleep(15)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await rig.text()
        assert rig.breakers[0].state is State.HALF_OPEN
        assert await rig.text() == "From a."

    run_virtual(main())


@dataclass(frozen=True)
class SlowToLeave:
    """Takes a second to close what it began."""

    inner: Thinker

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[Reply]:
        async with self.inner.reply(messages, max_tokens=max_tokens, temperature=temperature) as reply:
            try:
                yield reply
            finally:
                await asyncio.sleep(1)


def test_what_was_lost_is_told_though_the_call_ends_while_it_is_given_up() -> None:
    rig = Rig([SlowToLeave(scripted("a", broken())), scripted("b", "From b.")])

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await rig.text()
        assert [model for model, _ in rig.lost] == ["a"]

    run_virtual(main())


# -- whatever fails ------------------------------------------------------------------------

OUTCOMES = st.one_of(
    st.builds(Answer, st.just("Fine. Thanks a lot."), st.sampled_from([0, 400, 990, 1_500])),
    st.builds(
        broken,
        st.just("Fine. Thanks a lot."),
        st.integers(0, 4),
        st.sampled_from([0, 400, 1_500]),
        st.booleans(),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(OUTCOMES, min_size=3, max_size=3), min_size=1, max_size=8), st.integers(0, 20))
def test_a_whole_reply_once_or_all_down_whatever_fails(rounds: list[list[Answer]], pause: int) -> None:
    """Each round is one request, with what each of three models would make of it."""
    now: list[Answer] = []

    def model(index: int) -> ScriptedThinker:
        return ScriptedThinker(lambda messages: now[index], model="abc"[index])

    rig = Rig([model(0), model(1), model(2)])

    async def main() -> None:
        clock = Clock()
        for outcomes in rounds:
            now[:] = outcomes
            text, begun = "", clock.seconds()
            failed: EngineError | None = None
            try:
                async with rig.asked() as reply, aclosing(reply.pieces()) as pieces:
                    async for piece in pieces:
                        if not text:
                            assert clock.seconds() - begun <= 3.0
                        text += str(piece)
            except EngineError as error:
                failed = error
            if failed is None:
                assert text == "Fine. Thanks a lot."
            elif isinstance(failed, AllDown):
                assert text == ""
            else:
                assert text.startswith("Fine. ")
                assert "Fine. Thanks a lot.".startswith(text)
            assert rig.doors.open == 0
            await asyncio.sleep(pause)

    run_virtual(main())
