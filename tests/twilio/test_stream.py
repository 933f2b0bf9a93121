"""The exchange's play buffer, and what it understands of a document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.carriers.stream import Playout
from pipeline.carriers.twiml import (
    BadTwiml,
    ConnectStream,
    Gather,
    Hangup,
    Pause,
    Redirect,
    Reject,
    Say,
    parse,
)

CONNECT = '<Connect><Stream url="wss://h/m"><Parameter name="token" value="t"/></Stream></Connect>'


def test_sound_is_played_in_order_at_its_pace() -> None:
    playout = Playout()
    playout.media(b"\x01" * 100)
    playout.media(b"\x02" * 100)
    assert playout.frame() == (b"\x01" * 100 + b"\x02" * 60, [])
    assert playout.frame() == (b"\x02" * 40, [])
    assert playout.frame() == (b"", [])
    assert playout.longest == 200


def test_a_mark_comes_back_when_what_is_before_it_was_played() -> None:
    playout = Playout()
    assert playout.mark("none before") == ["none before"]
    playout.media(b"\x01" * 160)
    assert playout.mark("a") == []
    playout.media(b"\x01" * 161)
    assert playout.mark("b") == []
    assert playout.frame()[1] == ["a"]
    assert playout.frame()[1] == []
    assert playout.frame()[1] == ["b"]


def test_clear_drops_the_sound_and_returns_every_mark() -> None:
    playout = Playout()
    playout.media(b"\x01" * 1_000)
    playout.mark("a")
    playout.mark("b")
    assert playout.clear() == ["a", "b"]
    assert playout.frame() == (b"", [])
    assert playout.mark("c") == ["c"]


@given(st.lists(st.binary(max_size=500) | st.sampled_from(["mark", "clear", "frame"]), max_size=40))
def test_every_mark_comes_back_once_and_in_order(orders: list[bytes | str]) -> None:
    playout, sent, back = Playout(), [], []
    for number, order in enumerate(orders):
        if isinstance(order, bytes):
            playout.media(order)
        elif order == "mark":
            sent.append(str(number))
            back += playout.mark(str(number))
        else:
            back += playout.clear() if order == "clear" else playout.frame()[1]
    while (step := playout.frame())[0]:
        back += step[1]
    assert back == sent


def test_a_document() -> None:
    text = f'<Response>{CONNECT}<Pause length="2"/><Redirect>/again</Redirect><Hangup/><Reject/></Response>'
    assert parse(text) == (
        ConnectStream("wss://h/m", {"token": "t"}),
        Pause(2.0),
        Redirect("/again"),
        Hangup(),
        Reject(busy=False),
    )
    menu = '<Gather input="dtmf" timeout="4" action="/pin"><Say>Hello.</Say><Say>Your PIN?</Say></Gather>'
    assert parse(f'<Response>{menu}<Say>Bye.</Say><Reject reason="busy"/></Response>') == (
        Gather("Hello. Your PIN?", "/pin", 4.0, "#"),
        Say("Bye."),
        Reject(busy=True),
    )
    assert parse(
        '<Response><Connect action="/a"><Stream url="u" statusCallback="/s"/></Connect></Response>'
    ) == (ConnectStream("u", {}, "/s", "/a"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "<response/>",
        "<Response><hangup/></Response>",
        "<Response><Connect/></Response>",
        '<Response><Gather input="speech"/></Response>',
        '<Response><Connect><Stream url="wss://h/m?token=t"/></Connect></Response>',
        '<Response><Connect><Stream url="wss://h/m" track="both_tracks"/></Connect></Response>',
        f'<Response><Connect><Stream url="u"><Parameter name="a" value="{"x" * 499}"/></Stream></Connect></Response>',
    ],
)
def test_what_the_carrier_would_refuse(text: str) -> None:
    with pytest.raises(BadTwiml):
        parse(text)
