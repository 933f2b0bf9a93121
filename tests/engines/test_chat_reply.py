"""One streamed reply: what of its chunks is said, what is not, and how it is counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import EngineError
from pipeline.engines.base import CutShort, EndCall, Piece, Tokens
from pipeline.engines.chat_reply import Aloud, Bill, ChatReply, counted

MODEL = "some-model"


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 42, "completion_tokens": 9}, Tokens(42, 0, 9)),
        ({"prompt_tokens": 42, "completion_tokens": 0, "prompt_tokens_details": None}, Tokens(42, 0, 0)),
        (
            {"prompt_tokens": 42, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 40}},
            Tokens(2, 40, 9),
        ),
        (
            {"prompt_tokens": 42, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 50}},
            Tokens(0, 42, 9),
        ),
        (
            {"prompt_tokens": 42, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": None}},
            Tokens(42, 0, 9),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 9}, None),
        ({"prompt_tokens": 42}, None),
        ({"prompt_tokens": 4.2, "completion_tokens": 9}, None),
        ([], None),
    ],
)
def test_usage_is_believed_where_it_is_usage(usage: object, tokens: Tokens | None) -> None:
    assert counted(usage) == tokens


def aloud(pieces: Sequence[str], *, thinking: bool = False) -> str:
    reading = Aloud(thinking=thinking)
    return "".join(reading.feed(piece) for piece in pieces) + reading.end()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello.", "Hello."),
        ("  \n Hello. ", "Hello. "),
        ("<think>secret</think>\n\nHello.", "Hello."),
        ("<thinking>secret</thinking>Hello <reasoning>secret</reasoning>there.", "Hello there."),
        ("Hello <think>secret</think>there.", "Hello there."),
        ("<think></think>Hello.<think>more", "Hello."),
        ("1 < 2 and <b> is <thin", "1 < 2 and <b> is <thin"),
        ("<think>a <think> b</think>Hello.", "Hello."),
        ("<<think>x</think>", "<"),
        ("<think>only", ""),
        ("a</think>b", "ab"),
        ("<Think>abc</Think>", ""),
        ("<Think>abc</THINK>Hello.", "Hello."),
        ("<action>nods</action> Hello.", "Hello."),
    ],
)
def test_think_blocks_are_not_said_however_they_are_cut(text: str, said: str) -> None:
    assert aloud([text]) == said
    assert aloud(list(text)) == said
    for at in range(len(text)):
        assert aloud([text[:at], text[at:]]) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("They want comfort.</think>\n\nHello.", "Hello."),
        ("<think>secret</think>Hello.", "Hello."),
        ("a</think>Hello <think>b</think>there.", "Hello there."),
        ("never over", ""),
        ("never over </thin", ""),
    ],
)
def test_a_block_that_the_prompt_has_opened_is_not_said(text: str, said: str) -> None:
    for at in range(len(text)):
        assert aloud([text[:at], text[at:]], thinking=True) == said


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "th", "ink>", "a", " "]), max_size=12),
    st.booleans(),
)
def test_cutting_changes_nothing(pieces: list[str], thinking: bool) -> None:
    whole = "".join(pieces)
    assert aloud(pieces, thinking=thinking) == aloud([whole], thinking=thinking)
    assert aloud(list(whole), thinking=thinking) == aloud([whole], thinking=thinking)


def test_text_that_is_no_tag_is_not_held_back() -> None:
    reading = Aloud()
    assert reading.feed("Well, ") == "Well, "
    assert reading.feed("1 <") == "1 "
    assert reading.feed(" 2") == "< 2"


async def read(*deltas: object, finish: str = "stop") -> list[Piece]:
    """What a reply makes of these deltas."""
    reply = ChatReply(MODEL, Bill(prompt=1, max_tokens=60))
    for delta in deltas:
        reply.take({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    reply.take({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    reply.end(None)
    return [piece async for piece in reply.pieces()]


def calls(*functions: object, call: str | None = "call_1") -> object:
    return {"tool_calls": [{"index": 0, "id": call, "function": function} for function in functions]}


@pytest.mark.parametrize(
    "deltas",
    [
        (calls({"name": "end_call", "arguments": "{}"}),),
        (calls({"name": "end_call"}), calls({"arguments": '{"x'}, call=None)),
        (calls({"name": "end_"}), calls({"name": "call"}, call=None)),
        (calls({"name": "end_call"}), calls({"name": "end_call", "arguments": "{}"})),
        (calls({"name": "dance"}), calls({"name": "end_call"}, call="call_2")),
        (
            calls(None, {}, {"name": None, "arguments": None}),
            {"tool_calls": [None]},
            calls({"name": "end_call"}),
        ),
    ],
)
async def test_the_tool_is_used_once_however_it_is_written(deltas: tuple[object, ...]) -> None:
    assert await read({"content": "Bye."}, *deltas) == ["Bye.", EndCall()]


async def test_another_tool_is_no_reason_to_hang_up() -> None:
    assert await read({"content": "Hm."}, calls({"name": "end_call_never"})) == ["Hm."]
    with pytest.raises(EngineError, match="wrote nothing"):
        await read(calls({"name": "dance"}), finish="tool_calls")


@pytest.mark.parametrize(
    "content", ["<Think>abc</Think>", "<THINKING>abc</thinking>\n", "<action>nods</action>"]
)
async def test_a_reply_without_a_word_to_be_said_is_none(content: str) -> None:
    with pytest.raises(EngineError, match="wrote nothing"):
        await read({"content": content})


@pytest.mark.parametrize(
    "chunk",
    [
        *(
            None,
            1,
            "text",
            [],
            {},
            {"choices": None},
            {"choices": []},
            {"choices": [None]},
            {"choices": [{}]},
        ),
        *({"usage": None}, {"usage": 3}, {"x_groq": None}, {"x_groq": {"usage": None}}, {"error": None}),
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": None, "reasoning": None, "tool_calls": None, "refusal": "no"}}]},
        {"choices": [{"delta": {"content": [{"type": "text", "text": "no"}]}, "finish_reason": 3}]},
    ],
)
async def test_what_is_not_known_is_nothing(chunk: object) -> None:
    reply = ChatReply(MODEL, Bill(prompt=7, max_tokens=60))
    reply.take(chunk)
    assert reply.tokens == Tokens(7, 0, 0, estimated=True)
    reply.end(None)
    with pytest.raises(EngineError, match="cut off"):
        await anext(reply.pieces())


async def test_reasoning_that_comes_under_two_names_counts_once() -> None:
    reply = ChatReply(MODEL, Bill(prompt=7, max_tokens=60))
    reply.take({"choices": [{"delta": {"reasoning": "hmhm", "reasoning_content": "hmhm"}}]})
    assert reply.tokens.out == 1


async def test_halves_of_characters_are_left_out() -> None:
    assert await read({"content": "So \ud83d"}, {"content": "\ude00 what"}) == ["So  what"]


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
async def test_only_a_ceiling_cuts_a_reply_short(finish: str) -> None:
    pieces = await read({"content": "That sounds"}, {"content": " like"}, finish=finish)
    assert pieces == ["That sounds like", *([CutShort()] if finish == "length" else [])]
