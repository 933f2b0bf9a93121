"""The hosted chat model against its emulator: how long is waited, what is sent, and what leaving costs.

Long because it has all that a chat server is asked, and every way in which a reply ends.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from itertools import pairwise
from typing import Literal

import pytest
from structlog.testing import capture_logs

from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.base import Tokens
from pipeline.engines.counting import text_tokens
from pipeline.engines.openai_chat import END_CALL_BYTES, ChatServer, OpenAIThinker
from tests.emulators.chat import FAULTS, KEY, MODEL, ChatEmulator, Plan, prompt_count
from tests.engines.asking import (
    ESTIMATED_PROMPT,
    MESSAGES,
    NOTHING,
    TEXT,
    ask,
    asked,
    thinking,
    until_left,
    virtual,
)

# -- how long is waited ----------------------------------------------------------------


def test_patience_ends_with_the_first_word_and_then_the_gaps_count() -> None:
    async def main() -> None:
        outcome, _ = await asked(FAULTS["too slow"])
        assert outcome.seconds == pytest.approx(4.0)
        outcome, _ = await asked(FAULTS["stalls"], stall_s=1.5)
        assert outcome.seconds == pytest.approx(0.2 + 2 * 0.01 + 1.5)
        # Longer than the patience in all, but never a gap.
        async with ChatEmulator((TEXT,), piece_ms=900) as server, thinking(server) as thinker:
            outcome = await ask(thinker)
        assert outcome.text == TEXT
        assert outcome.seconds == pytest.approx(0.2 + 7 * 0.9)

    virtual(main())


@pytest.mark.parametrize(
    "plan",
    [Plan(reasoning="hm " * 1_000), Plan(text="<think>" + "hm " * 1_000 + "</think>Right.")],
    ids=["reasoning", "think tags"],
)
def test_thinking_aloud_is_no_beginning_but_costs(plan: Plan) -> None:
    async def main() -> None:
        async with ChatEmulator(plan=plan) as server, thinking(server) as thinker:
            outcome = await ask(thinker, max_tokens=5_000)
        assert outcome.failure is not None
        assert outcome.failure.retryable
        assert outcome.seconds == pytest.approx(4.0)
        assert outcome.tokens == Tokens(ESTIMATED_PROMPT, 0, outcome.tokens.out, estimated=True)
        # 3.8 s, a word of three bytes every 10 ms.
        assert outcome.tokens.out == pytest.approx(380 * 3 / 4, rel=0.02)

    virtual(main())


@pytest.mark.parametrize(
    ("opens", "said", "logged"),
    [
        (True, TEXT, []),
        (False, f"They want comfort. {TEXT}", ["reasoning_spoken"]),
    ],
)
def test_reasoning_that_the_template_opens_is_kept_back(opens: bool, said: str, logged: list[str]) -> None:
    async def main() -> None:
        with capture_logs() as logs:
            outcome, served = await asked(
                Plan(text=f"They want comfort. </think>{TEXT}"), opens_thinking=opens
            )
        assert served is not None
        assert (outcome.text, outcome.failure, outcome.tokens) == (said, None, served.billed)
        assert [line["event"] for line in logs] == logged

    virtual(main())


def test_reasoning_that_is_never_over_is_a_failure_that_says_so() -> None:
    async def main() -> None:
        outcome, _ = await asked(Plan(text=TEXT), opens_thinking=True)
        assert outcome.text == ""
        assert outcome.failure is not None
        assert "</think>" in str(outcome.failure)

    virtual(main())


def test_a_server_that_does_not_close_costs_half_a_second() -> None:
    async def main() -> None:
        outcome, _ = await asked(FAULTS["lingers"])
        assert outcome.text == TEXT
        assert outcome.seconds == pytest.approx(0.2 + 7 * 0.01 + 0.5)

    virtual(main())


def test_a_connection_that_never_comes_about_costs_nothing() -> None:
    """The handshake of TLS hangs: nothing was asked yet, so there is nothing to bill."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        address = ChatServer(MODEL, f"https://127.0.0.1:{port}/v1", KEY)
        async with server, aclosing(OpenAIThinker(address)) as thinker:
            outcome = await ask(thinker)
            assert outcome.failure is not None
            assert outcome.failure.retryable
            assert outcome.seconds == pytest.approx(4.0)
            assert outcome.tokens == NOTHING
            async with thinker.reply(MESSAGES, max_tokens=60, temperature=0) as reply:
                await asyncio.sleep(1)
            assert reply.tokens == NOTHING
            async with thinker.reply(MESSAGES, max_tokens=60, temperature=0) as reply:
                with pytest.raises(EngineError):
                    await anext(reply.pieces())
                assert reply.tokens == NOTHING

    virtual(main())


# -- leaving ---------------------------------------------------------------------------


def test_leaving_closes_the_connection_within_a_piece() -> None:
    async def main() -> None:
        async with ChatEmulator(("word " * 50,)) as server, thinking(server) as thinker:
            outcome = await ask(thinker, leave_after=5)
            now = Clock().seconds()
            (served,) = server.served
            assert await until_left(served) - now <= 0.01
            assert len(outcome.pieces) == 5 <= served.out <= 6
            assert outcome.tokens == Tokens(ESTIMATED_PROMPT, 0, text_tokens(outcome.text), estimated=True)

    virtual(main())


def test_cancelling_the_task_closes_the_connection_too() -> None:
    async def main() -> None:
        async with ChatEmulator(("word " * 50,)) as server, thinking(server) as thinker:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.25):
                    await ask(thinker)
            (served,) = server.served
            assert await until_left(served) <= 0.27
            assert server.open == 0

    virtual(main())


@pytest.mark.parametrize("name", ["no headers", "no body", "too slow"])
def test_leaving_before_the_first_word_still_costs_the_prompt(name: str) -> None:
    async def main() -> None:
        async with ChatEmulator(plan=FAULTS[name]) as server, thinking(server) as thinker:
            async with thinker.reply(MESSAGES, max_tokens=60, temperature=0) as reply:
                await asyncio.sleep(1)
            assert reply.tokens == Tokens(ESTIMATED_PROMPT, 0, 0, estimated=True)
            assert await until_left(server.served[0]) <= 1.01

    virtual(main())


def test_leaving_before_anything_is_sent_costs_nothing() -> None:
    async def main() -> None:
        async with ChatEmulator() as server, thinking(server) as thinker:
            async with thinker.reply(MESSAGES, max_tokens=60, temperature=0) as reply:
                pass
            assert reply.tokens == NOTHING
            assert not server.served

    virtual(main())


def test_the_estimate_grows_with_what_arrives_and_stays_under_the_ceiling() -> None:
    async def main() -> None:
        long = "extraordinarily incomprehensible words"
        async with ChatEmulator((long,)) as server, thinking(server) as thinker:
            counts = []
            async with thinker.reply(MESSAGES, max_tokens=5, temperature=0) as reply:
                counts.append(reply.tokens.out)
                async for _ in reply.pieces():
                    counts.append(reply.tokens.out)
                    if len(counts) == 3:
                        break
            assert counts == [0, 4, 5]
            assert reply.tokens.out == 5 < text_tokens(long)

    virtual(main())


# -- what it costs ---------------------------------------------------------------------


def test_cached_prompt_tokens_are_told_apart() -> None:
    async def main() -> None:
        head = Message("system", "You are Sarah. " * 300)
        async with ChatEmulator((TEXT,)) as server, thinking(server) as thinker:
            first = await ask(thinker, [head, Message("user", "Hello?")])
            second = await ask(thinker, [head, Message("user", "Are you there?")])
            one, other = (served.billed for served in server.served)
            assert first.tokens == one
            assert one.cached == 0
            assert second.tokens == other
            assert other.cached > 1_000 > other.uncached > 0

    virtual(main())


# -- what is sent ----------------------------------------------------------------------


def test_the_request_is_what_servers_take() -> None:
    async def main() -> None:
        messages = [*MESSAGES, Message("assistant", " "), Message("user", "Half \ud83d a smile")]
        async with ChatEmulator() as server:
            async with thinking(server) as thinker:
                assert (await ask(thinker, messages)).failure is None
            async with thinking(
                server,
                tools=False,
                reasoning_effort="low",
                sends_temperature=False,
                max_tokens_field="max_tokens",
            ) as other:
                assert (await ask(other)).failure is None
        first, second = (served.body for served in server.served)
        assert [message["content"] for message in first["messages"]] == [
            MESSAGES[0].content,
            f"{MESSAGES[1].content}\nHalf  a smile",
        ]
        assert first["max_completion_tokens"] == 60
        assert first["temperature"] == 0.7
        assert "reasoning_effort" not in first
        tools = json.dumps(first["tools"], separators=(",", ":"))
        assert len(tools.encode()) == END_CALL_BYTES
        assert [tool["function"]["name"] for tool in first["tools"]] == ["end_call"]
        assert second["max_tokens"] == 60
        assert second["reasoning_effort"] == "low"
        assert not {"tools", "temperature", "max_completion_tokens"} & set(second)
        assert prompt_count(first) - 3 == ESTIMATED_PROMPT + text_tokens("\nHalf  a smile")

    virtual(main())


def _said(*spoken: str) -> list[Message]:
    roles: dict[str, Literal["user", "assistant"]] = {"u": "user", "a": "assistant"}
    return [Message(roles[each[0]], each[1:]) for each in spoken]


CALLED = ("user", "(The call is answered.)")


@pytest.mark.parametrize(
    ("talk", "sent"),
    [
        (_said("uHello."), [("user", "Hello.")]),
        (
            _said("aHi, Sarah here.", "uHello."),
            [CALLED, ("assistant", "Hi, Sarah here."), ("user", "Hello.")],
        ),
        (
            _said("aHi.", "aAre you there?", "uYes.", "uI am.", "u "),
            [CALLED, ("assistant", "Hi.\nAre you there?"), ("user", "Yes.\nI am.")],
        ),
        (_said("uHm.", "a ", "uSo."), [("user", "Hm.\nSo.")]),
    ],
)
def test_roles_alternate_from_the_caller_to_the_caller(
    talk: list[Message], sent: list[tuple[str, str]]
) -> None:
    """Templates of Gemma and Mistral refuse anything else with a 400."""

    async def main() -> None:
        async with ChatEmulator(plan=Plan(usage="none")) as server, thinking(server) as thinker:
            outcome = await ask(thinker, [MESSAGES[0], *talk])
        told = server.served[0].body["messages"]
        assert [(message["role"], message["content"]) for message in told] == [
            ("system", MESSAGES[0].content),
            *sent,
        ]
        assert outcome.failure is None
        assert outcome.tokens.uncached == prompt_count(server.served[0].body) - 3

    virtual(main())


def test_what_was_sent_before_is_sent_again_in_front_of_what_is_new() -> None:
    """So that a vendor's cache of prompts serves it."""
    head = Message("system", "You are Sarah. " * 300)
    talk = _said("aHi, Sarah here.", "uHello.", "uIt is me.", "aOh, hello!", "uAre you well?", "uAre you?")

    async def main() -> None:
        async with ChatEmulator((TEXT,)) as server, thinking(server) as thinker:
            for size in (2, 3, 5, 6):
                assert (await ask(thinker, [head, *talk[:size]])).failure is None
        prompts = [
            "".join(f"<{message['role']}>{message['content']}" for message in served.body["messages"])
            for served in server.served
        ]
        assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))

    virtual(main())


def test_nothing_of_this_machine_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-someone")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-someone")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def main() -> None:
        async with ChatEmulator() as server, thinking(server) as thinker:
            assert (await ask(thinker)).failure is None
        sent = server.served[0].headers
        assert not [value for value in sent.values() if "someone" in value]
        assert sent["x-stainless-os"] == "Unknown"

    virtual(main())


def test_the_key_does_not_show() -> None:
    assert KEY not in repr(ChatServer(MODEL, "http://127.0.0.1:1/v1", KEY))


@pytest.mark.parametrize(("key", "model"), [("", MODEL), ("another", MODEL), (KEY, "retired-8b")])
def test_a_wrong_key_or_model_is_final(key: str, model: str) -> None:
    async def main() -> None:
        async with ChatEmulator() as server, thinking(server, api_key=key, model=model) as thinker:
            outcome = await ask(thinker)
            assert outcome.failure is not None
            assert not outcome.failure.retryable

    virtual(main())


# -- many at once ----------------------------------------------------------------------


def test_two_replies_at_once_do_not_mix() -> None:
    async def main() -> None:
        def echo(messages: list[dict[str, str]]) -> str:
            return f"You said: {messages[-1]['content']} Well well well."

        async with ChatEmulator(echo) as server, thinking(server) as thinker, asyncio.TaskGroup() as group:
            tasks = {
                word: group.create_task(ask(thinker, [Message("user", f"{word} {word}.")]))
                for word in ("One", "Two", "Three")
            }
        for word, task in tasks.items():
            assert task.result().text == f"You said: {word} {word}. Well well well."
        assert sorted(task.result().tokens.out for task in tasks.values()) == [7, 7, 7]
        assert all(task.result().seconds == pytest.approx(0.26) for task in tasks.values())

    virtual(main())


def test_connections_are_kept_and_used_again() -> None:
    async def main() -> None:
        async with ChatEmulator((TEXT,)) as server, thinking(server) as thinker:
            assert await thinker.warm() == (MODEL,)
            assert server.connections == server.open == 2
            for _ in range(3):
                await ask(thinker)
            assert server.connections == 2
            await ask(thinker, leave_after=2)
            await ask(thinker)
            await ask(thinker, leave_after=2)
            await ask(thinker)
            assert server.connections == 3
        assert [served.connection for served in server.served][:3] == [server.served[0].connection] * 3

    virtual(main())


def test_closing_the_thinker_closes_its_connections() -> None:
    async def main() -> None:
        async with ChatEmulator() as server:
            async with thinking(server) as thinker:
                await thinker.warm()
                assert server.open == 2
            await asyncio.sleep(0.01)
            assert server.open == 0

    virtual(main())


def test_warming_up_never_fails() -> None:
    async def main() -> None:
        for name in ("refused", "no headers"):
            async with (
                ChatEmulator(plan=FAULTS[name]) as server,
                thinking(server, api_key="wrong") as thinker,
            ):
                assert await thinker.warm() == ()

    virtual(main())


def test_the_end_of_a_text_is_said_though_a_tag_could_begin_there() -> None:
    async def main() -> None:
        outcome, _ = await asked(Plan(text="Surely 1 <"))
        assert outcome.text == "Surely 1 <"

    virtual(main())


def test_a_burst_comes_as_few_pieces() -> None:
    async def main() -> None:
        async with (
            ChatEmulator(("word " * 500,), plan=FAULTS["all at once"], piece_ms=0) as server,
            thinking(server) as thinker,
        ):
            outcome = await ask(thinker, max_tokens=1_000)
        assert outcome.text.split() == ["word"] * 500
        assert len(outcome.pieces) < 20

    virtual(main())
