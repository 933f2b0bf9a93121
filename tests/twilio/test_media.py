"""The wire format of the media socket and the limits of one socket."""

import base64
import contextlib
import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import BadStream
from pipeline.media import (
    BAD_FRAMES,
    MAX_MESSAGE,
    Connected,
    Dtmf,
    Guard,
    Mark,
    Media,
    Start,
    Stop,
    clear,
    decode,
    mark,
    media,
)

SID = "MZ" + "0" * 32
START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": SID,
    "start": {
        "accountSid": "AC0",
        "callSid": "CA0",
        "streamSid": SID,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t1"},
    },
}
SOUND = {
    "event": "media",
    "sequenceNumber": "2",
    "streamSid": SID,
    "media": {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": "//8A"},
}


def _start(**changes: object) -> str:
    part = {**START["start"], **changes}  # type: ignore[dict-item]
    return json.dumps({**START, "start": part})


def _sound(**changes: object) -> str:
    part = {**SOUND["media"], **changes}  # type: ignore[dict-item]
    return json.dumps({**SOUND, "media": part})


def test_every_message_of_the_protocol() -> None:
    assert decode('{"event":"connected","protocol":"Call","version":"1.0.0"}') == Connected("Call", "1.0.0")
    assert decode(json.dumps(START)) == Start(1, SID, "AC0", "CA0", {"token": "t1"})
    assert decode(json.dumps(SOUND), SID) == Media(2, 5, b"\xff\xff\x00")
    assert decode(
        json.dumps(
            {"event": "dtmf", "sequenceNumber": "4", "streamSid": SID, "dtmf": {"track": "x", "digit": "#"}}
        )
    ) == Dtmf(4, "#")
    assert decode(
        json.dumps({"event": "mark", "sequenceNumber": "5", "streamSid": SID, "mark": {"name": "7"}})
    ) == Mark(5, "7")
    assert decode(
        json.dumps({"event": "stop", "sequenceNumber": "9", "streamSid": SID, "stop": {"callSid": "CA0"}})
    ) == Stop(9, "CA0")


def test_text_and_bytes_read_alike() -> None:
    assert decode(json.dumps(SOUND).encode()) == decode(json.dumps(SOUND))


def test_new_fields_and_numbers_instead_of_strings_do_no_harm() -> None:
    part = {"payload": "//8A", "timestamp": 5, "x": 1}
    message = {**SOUND, "sequenceNumber": 2, "novelty": {"a": [1]}, "media": part}
    assert decode(json.dumps(message)) == Media(2, 5, b"\xff\xff\x00")
    assert isinstance(decode(_start(customParameters={})), Start)


def test_sound_of_any_length_is_taken() -> None:
    for length in (0, 1, 159, 161, 8_000):
        payload = base64.b64encode(bytes(length)).decode()
        assert decode(_sound(payload=payload)) == Media(2, 5, bytes(length))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        b"\x00\xff\xfe",
        "\ud800",
        '{"event":"transfer"}',
        '{"event":7}',
        '{"event":"media"}',
        "[" * 40_000,
        '{"event":"media","x":' + "[" * 30_000 + "]" * 30_000 + "}",
        json.dumps(SOUND) + "x",
        json.dumps({**SOUND, "sequenceNumber": "-1"}),
        json.dumps({**SOUND, "sequenceNumber": "9" * 400}),
        json.dumps({**SOUND, "sequenceNumber": 1e308}),
        json.dumps({**SOUND, "sequenceNumber": math.nan}),
        json.dumps({**SOUND, "sequenceNumber": "NaN"}),
        json.dumps({**SOUND, "media": None}),
        _sound(payload="*not base64*"),
        _sound(payload="abc"),
        _sound(payload=5),
        _sound(track="outbound"),
        _sound(payload="A" * (MAX_MESSAGE + 4)),
        _start(mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1}),
        _start(mediaFormat={"encoding": "audio/l16", "sampleRate": 8000, "channels": 1}),
        _start(mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2}),
        _start(streamSid="MZ1"),
        _start(callSid='CA0","x":"'),
        _start(customParameters={"token": ["t1"]}),
    ],
)
def test_anything_else_is_a_bad_stream(text: str | bytes) -> None:
    with pytest.raises(BadStream):
        decode(text)


def test_a_message_of_another_stream_is_refused() -> None:
    for message in (SOUND, {"event": "stop", "sequenceNumber": "3", "streamSid": SID}):
        decode(json.dumps(message), SID)
        with pytest.raises(BadStream):
            decode(json.dumps(message), "MZ" + "1" * 32)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_known = st.sampled_from(["connected", "start", "media", "mark", "dtmf", "stop"])


@given(st.text() | st.binary())
def test_decode_raises_nothing_but_bad_stream(text: str | bytes) -> None:
    with pytest.raises(BadStream):
        decode(text)


@given(
    _known, st.dictionaries(st.sampled_from(["sequenceNumber", "streamSid", "start", "media", "mark"]), _json)
)
def test_a_known_event_with_any_content_decodes_or_is_a_bad_stream(
    event: str, content: dict[str, object]
) -> None:
    with contextlib.suppress(BadStream):
        decode(json.dumps({"event": event, **content}), SID)


@given(st.binary(max_size=2_000), st.text(max_size=40))
def test_what_is_sent_says_what_was_meant(sound: bytes, name: str) -> None:
    sent = json.loads(media(SID, sound))
    assert sent == {
        "event": "media",
        "streamSid": SID,
        "media": {"payload": base64.b64encode(sound).decode()},
    }
    assert json.loads(mark(SID, name)) == {"event": "mark", "streamSid": SID, "mark": {"name": name}}
    assert json.loads(clear(SID)) == {"event": "clear", "streamSid": SID}
    back = {**SOUND, "media": {"timestamp": "5", "payload": sent["media"]["payload"]}}
    assert decode(json.dumps(back)) == Media(2, 5, sound)


def test_the_pace_of_a_call_is_never_too_fast() -> None:
    guard = Guard(0.0)
    for frame in range(5_000):
        guard.arrived(frame * 0.02, 300)


def test_a_stall_of_five_seconds_may_be_caught_up() -> None:
    guard = Guard(0.0)
    for _ in range(250):
        guard.arrived(5.0, 300)


def test_ten_times_the_pace_ends_the_call_within_a_second() -> None:
    guard = Guard(0.0)

    def flood() -> None:
        for frame in range(500):
            guard.arrived(frame * 0.002, 300)

    with pytest.raises(BadStream):
        flood()


def test_a_long_message_ends_the_call() -> None:
    guard = Guard(0.0)
    guard.arrived(0.0, MAX_MESSAGE)
    with pytest.raises(BadStream):
        guard.arrived(0.0, MAX_MESSAGE + 1)


def test_the_hundredth_bad_message_ends_the_call() -> None:
    guard = Guard(0.0)
    for _ in range(BAD_FRAMES - 1):
        guard.spoiled()
    with pytest.raises(BadStream):
        guard.spoiled()


@given(st.lists(st.integers(0, 50), max_size=60))
def test_a_sequence_rises_and_its_jumps_are_counted(numbers: list[int]) -> None:
    guard = Guard(0.0)
    used = [number for number in numbers if guard.in_order(number)]
    assert used == sorted(set(used))
    assert guard.gaps == sum(after != before + 1 for before, after in pairwise(used))
