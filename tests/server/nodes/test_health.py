"""What a node says of its engines, and how long its latest answers waited for each."""

from __future__ import annotations

import json

import pytest

from pipeline.core.effects import TurnTimed
from pipeline.core.money import Millis
from server.nodes.health import BUILT_IN, LATEST, EngineHealth, Speed, Speeds, read


def timed(over: int, word: int, sound: int) -> TurnTimed:
    return TurnTimed(
        index=1,
        speech_end=Millis(0),
        end_of_turn_ms=over,
        first_token_ms=word,
        first_audio_ms=sound,
        first_frame_ms=sound,
        audible_ms=sound,
        eager=word < over,
    )


def test_each_seam_has_its_own_share_of_an_answer() -> None:
    speeds = Speeds()
    assert speeds.of("stt:whisper-tiny.en") is None
    for word in (500, 510, 900):
        speeds.note(timed(300, word, word + 80))
    assert speeds.of("stt:whisper-tiny.en") == Speed(300, 300, 3)
    assert speeds.of("llm:companion") == Speed(210, 600, 3)
    assert speeds.of("tts:hibari#2") == Speed(80, 80, 3)
    assert speeds.of("vad:silero") is None


def test_a_reply_begun_before_the_turn_was_over_was_not_waited_for() -> None:
    speeds = Speeds()
    speeds.note(timed(700, 400, 750))
    assert speeds.of("llm:companion") == Speed(0, 0, 1)
    assert speeds.of("tts:hibari") == Speed(350, 350, 1)


def test_only_the_latest_answers_count() -> None:
    speeds = Speeds()
    speeds.note(timed(9_000, 9_000, 9_000))
    for _ in range(LATEST):
        speeds.note(timed(200, 300, 400))
    assert speeds.of("stt:whisper-tiny.en") == Speed(200, 200, LATEST)


@pytest.mark.parametrize("words", ["", "{", '{"engines": 1}', "[1]", '[{"name": "x"}]', '[{"speed": {}}]'])
def test_what_cannot_be_read_says_nothing(words: str) -> None:
    assert read(words) == []


def test_what_an_older_node_says_has_no_speed() -> None:
    old = json.dumps([{"name": "stt:x", "state": BUILT_IN, "failures": 0, "openings": 0}])
    assert read(old) == [EngineHealth("stt:x", BUILT_IN, 0, 0)]
    new = json.dumps(
        [
            {
                "name": "stt:x",
                "state": "open",
                "failures": 5,
                "openings": 1,
                "speed": {"p50_ms": 1, "p95_ms": 2, "answers": 3},
            }
        ]
    )
    assert read(new) == [EngineHealth("stt:x", "open", 5, 1, Speed(1, 2, 3))]
