"""The detector's facts: their order, their timing, and what does not count as speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio import mulaw
from pipeline.audio.vad import (
    LONGEST_MS,
    WINDOW_MS,
    Detector,
    Fact,
    Faded,
    Held,
    Returned,
    Started,
    Stopped,
)

SPEECH, UNSURE, QUIET = 0.9, 0.42, 0.05
WINDOW = 256
AGENT = 6_000
"""About -15 dB: the loudest window of an agent at -19 dB."""


def facts(probabilities: list[float], barge_in_ms: int = 250) -> list[tuple[int, Fact]]:
    """Each fact with the number of windows it took."""
    detector = Detector(barge_in_ms)
    return [(index, fact) for index, each in enumerate(probabilities, 1) for fact in detector.window(each)]


def test_a_sentence() -> None:
    assert facts([QUIET] * 5 + [SPEECH] * 10 + [QUIET] * 10) == [
        (8, Started(96)),
        (13, Held()),
        (19, Faded(128)),
        (22, Stopped(224)),
    ]


def test_one_weak_window_in_four_does_not_delay_the_start() -> None:
    assert facts([SPEECH, UNSURE, SPEECH, SPEECH]) == [(4, Started(128))]


def test_two_windows_are_no_speech() -> None:
    assert facts([SPEECH, SPEECH, QUIET, QUIET, SPEECH, SPEECH, QUIET, QUIET]) == []


def test_a_short_sound_is_not_held() -> None:
    assert facts([SPEECH] * 7 + [QUIET] * 7) == [(3, Started(96)), (14, Stopped(224))]


def test_a_gap_between_syllables_does_not_delay_held() -> None:
    assert facts([SPEECH] * 4 + [QUIET] * 3 + [SPEECH] * 4) == [(3, Started(96)), (8, Held())]


def test_nothing_is_held_in_a_gap() -> None:
    assert facts([SPEECH] * 4 + [QUIET] * 5 + [SPEECH]) == [(3, Started(96)), (10, Held())]


@pytest.mark.parametrize(("barge_in_ms", "windows"), [(160, 5), (200, 6), (224, 7), (250, 8)])
def test_patience_is_met_to_the_nearest_window(barge_in_ms: int, windows: int) -> None:
    assert (windows, Held()) in facts([SPEECH] * 12, barge_in_ms)


def test_a_very_short_patience_holds_at_once() -> None:
    assert facts([SPEECH] * 3, barge_in_ms=0) == [(3, Started(96)), (3, Held())]


def test_a_pause_between_words_does_not_stop() -> None:
    assert facts([SPEECH] * 4 + [QUIET] * 6 + [SPEECH] + [QUIET] * 6) == [(3, Started(96))]


def test_unsure_windows_neither_begin_nor_break_a_silence() -> None:
    assert facts([SPEECH] * 4 + [UNSURE] * 30) == [(3, Started(96))]
    assert facts([SPEECH] * 4 + [QUIET] + [UNSURE] * 6) == [(3, Started(96)), (11, Stopped(224))]


def test_after_a_stop_the_start_is_counted_anew() -> None:
    found = facts([SPEECH] * 4 + [QUIET] * 7 + [SPEECH] * 2 + [QUIET] * 2 + [SPEECH] * 3)
    assert [fact for _, fact in found] == [Started(96), Stopped(224), Started(96)]


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.34, 0.35, 0.4, 0.49, 0.5, 0.8, 1.0]), max_size=200),
    st.integers(0, 600),
)
def test_facts_come_in_an_order_that_makes_sense(probabilities: list[float], barge_in_ms: int) -> None:
    follow = {
        "": {"Started"},
        "Started": {"Held", "Stopped"},
        "Held": {"Faded", "Stopped"},
        "Faded": {"Returned", "Stopped"},
        "Returned": {"Faded", "Stopped"},
        "Stopped": {"Started"},
    }
    before = ""
    for index, fact in facts(probabilities, barge_in_ms):
        assert type(fact).__name__ in follow[before]
        before = type(fact).__name__
        match fact:
            case Started(onset_ms):
                assert 3 * WINDOW_MS <= onset_ms <= 4 * WINDOW_MS
                assert probabilities[index - onset_ms // WINDOW_MS] >= 0.5
            case Held():
                assert probabilities[index - 1] >= 0.5
            case Returned():
                assert min(probabilities[index - 2 : index]) >= 0.5
            case Stopped(gap_ms) | Faded(gap_ms):
                assert all(each < 0.5 for each in probabilities[index - gap_ms // WINDOW_MS : index])


def test_a_voice_that_never_pauses_is_cut_and_begins_anew() -> None:
    detector = Detector(250)
    found = [fact for _ in range(2 * LONGEST_MS // WINDOW_MS) for fact in detector.window(0.9)]
    assert [fact for fact in found if isinstance(fact, Stopped)] == [Stopped(0)]
    assert sum(isinstance(fact, Started) for fact in found) == 2


def test_windows_that_prove_nothing_end_a_voice_in_time() -> None:
    detector = Detector(250)
    for _ in range(20):
        detector.window(0.9)
    assert [fact for _ in range(40) for fact in detector.window(0.42)] == [Stopped(1_024)]


# -- fading and coming back --------------------------------------------------------------


def test_a_faded_voice_returns_with_its_second_voiced_window() -> None:
    found = facts([SPEECH] * 10 + [QUIET] * 5 + [SPEECH] * 4 + [QUIET] * 7)
    assert found[1:] == [
        (8, Held()),
        (14, Faded(128)),
        (17, Returned()),
        (23, Faded(128)),
        (26, Stopped(224)),
    ]


def test_one_voiced_window_is_no_return() -> None:
    found = facts([SPEECH] * 10 + [QUIET] * 5 + [SPEECH] + [QUIET] * 7)
    assert [fact for _, fact in found[2:]] == [Faded(128), Stopped(224)]


def test_a_short_gap_is_no_fading() -> None:
    found = facts([SPEECH] * 17 + [QUIET] * 3 + [SPEECH] * 20)
    assert [fact for _, fact in found] == [Started(96), Held()]


def test_a_voice_on_its_way_out_just_before_a_stop_could_not_be_taken_back_is_over() -> None:
    """Held at 8; 256 ms later two quiet windows are enough, a moment later or earlier they are not."""
    assert (16, Faded(64)) in facts([SPEECH] * 14 + [QUIET] * 2 + [SPEECH] * 9)
    for voiced in (12, 13, 16, 17):
        assert not [
            x for _, x in facts([SPEECH] * voiced + [QUIET] * 2 + [SPEECH] * 9) if isinstance(x, Faded)
        ]


# -- beside the agent's voice ------------------------------------------------------------


def tone(level: int, count: int, hertz: float = 140.0) -> list[bytes]:
    """A voice of a kind: pulses at a pitch, whose colour moves from window to window."""
    sound: list[bytes] = []
    for number in range(count):
        at = (np.arange(WINDOW) + number * WINDOW) / mulaw.RATE
        weights = 1.0 / (1.0 + np.abs(np.arange(2, 22) * hertz - (600 + 700 * (number % 3))) / 200)
        wave = sum(w * np.sin(2 * np.pi * hertz * n * at) for n, w in enumerate(weights, 2))
        sound.append(at_level(np.asarray(wave), level))
    return sound


def noise(level: int, count: int, seed: int = 1) -> list[bytes]:
    chance = np.random.default_rng(seed)
    return [at_level(chance.standard_normal(WINDOW), level) for _ in range(count)]


def hum(level: int, count: int) -> list[bytes]:
    at = np.arange(WINDOW * count) / mulaw.RATE
    wave = np.sin(2 * np.pi * 300 * at) + 0.3 * np.sin(2 * np.pi * 450 * at)
    return [at_level(wave[start : start + WINDOW], level) for start in range(0, len(at), WINDOW)]


def at_level(wave: np.ndarray[tuple[int, ...], np.dtype[np.float64]], level: int) -> bytes:
    scaled = wave * level / np.sqrt(np.mean(np.square(wave)))
    return mulaw.encode(np.clip(scaled, -32_000, 32_000).astype(np.int16))


class Call:
    """A detector in a call whose agent speaks."""

    def __init__(self, barge_in_ms: int = 200) -> None:
        self.detector = Detector(barge_in_ms)
        self.facts: list[tuple[int, Fact]] = []
        self.windows = 0

    def hear(self, probability: float, sound: list[bytes], agent: int = AGENT) -> list[Fact]:
        """The facts of these windows."""
        found: list[Fact] = []
        for piece in sound:
            self.windows += 1
            for fact in self.detector.window(probability, piece, agent):
                found.append(fact)
                self.facts.append((self.windows, fact))
        return found

    def stops(self, probability: float, sound: list[bytes], agent: int = AGENT) -> bool:
        return any(isinstance(fact, Held) for fact in self.hear(probability, sound, agent))


def on_a_clean_line() -> Call:
    call = Call()
    assert call.hear(0.01, noise(30, 60)) == []
    return call


def on_a_line_with_an_echo() -> Call:
    """It comes back at -20 dB, and the model takes it for speech, as it does."""
    call = Call()
    assert call.hear(SPEECH, tone(AGENT // 10, 60)) == [], "an echo is no turn"
    return call


def test_the_agent_s_echo_neither_starts_a_turn_nor_stops_it() -> None:
    call = Call()
    assert call.hear(SPEECH, tone(AGENT // 10, 200)) == []


def test_an_echo_is_none_where_the_agent_has_been_silent() -> None:
    assert Call().stops(SPEECH, tone(AGENT // 10, 10), agent=0)


def test_without_the_sound_no_rule_on_sound_applies() -> None:
    call = Call()
    assert call.stops(SPEECH, [b""] * 10)


def test_a_caller_is_heard_over_the_echo() -> None:
    call = on_a_line_with_an_echo()
    found = call.hear(SPEECH, tone(AGENT // 3, 7))
    assert [type(fact) for fact in found] == [Started, Held]


def test_the_soft_parts_of_a_loud_voice_are_carried_over_the_limit() -> None:
    call = on_a_line_with_an_echo()
    sound = [*tone(AGENT // 3, 2), *tone(AGENT // 12, 3), *tone(AGENT // 3, 2)]
    assert [type(fact) for fact in call.hear(SPEECH, sound)] == [Started, Held]


@pytest.mark.parametrize(("loudest_echo", "stops"), [(0.126, False), (0.05, True)])
def test_who_is_softer_than_an_echo_may_be_is_not_heard_on_a_line_that_has_one(
    loudest_echo: float, stops: bool
) -> None:
    call = Call()
    call.detector = Detector(200, loudest_echo=loudest_echo)
    call.hear(SPEECH, tone(AGENT // 40, 60))
    assert call.stops(SPEECH, tone(AGENT // 10, 12)) is stops


def test_on_a_clean_line_a_soft_voice_is_enough() -> None:
    assert on_a_clean_line().stops(SPEECH, tone(AGENT // 10, 8))


def test_a_burst_of_noise_over_an_echo_is_no_voice() -> None:
    assert not on_a_line_with_an_echo().stops(SPEECH, noise(AGENT // 2, 12))


def test_a_hum_does_not_stop_the_agent_and_words_after_it_do() -> None:
    call = on_a_clean_line()
    assert not call.stops(0.3, hum(AGENT // 3, 20))
    assert call.stops(0.3, tone(AGENT // 3, 3))


def test_a_hum_over_an_echo_does_not_stop_the_agent() -> None:
    assert not on_a_line_with_an_echo().stops(SPEECH, hum(AGENT // 2, 20))


def test_a_soft_beginning_counts_where_it_has_a_pitch() -> None:
    """The model hesitates for three windows: they have a pitch, or are noise."""
    for start, windows in ((tone(AGENT // 3, 3), 6), (noise(AGENT // 200, 3), 9)):
        call = on_a_clean_line()
        before = call.windows
        call.hear(0.2, start)
        call.hear(SPEECH, tone(AGENT // 3, 8))
        held = next(at for at, fact in call.facts if isinstance(fact, Held))
        assert held - before == windows


def test_beside_the_agent_three_of_five_windows_begin_a_voice() -> None:
    for agent, starts in ((AGENT, True), (0, False)):
        call = on_a_clean_line()
        found = [
            *call.hear(SPEECH, tone(AGENT // 3, 2), agent),
            *call.hear(0.01, noise(30, 2), agent),
            *call.hear(SPEECH, tone(AGENT // 3, 1), agent),
        ]
        assert (found == [Started(160)]) is starts


def test_an_unsure_hiss_stays_unvoiced() -> None:
    assert on_a_clean_line().hear(0.45, noise(AGENT // 3, 12)) == []


def test_the_onset_is_told_by_the_level() -> None:
    """Two windows are as loud as the voice, though the model says nothing of them yet."""
    call = on_a_clean_line()
    call.hear(0.01, noise(AGENT // 3, 2))
    (found,) = call.hear(SPEECH, tone(AGENT // 3, 3))
    assert found == Started(5 * WINDOW_MS)


def test_a_voice_that_sinks_is_over_though_the_model_still_hears_it() -> None:
    call = Call()
    assert call.stops(SPEECH, tone(3_000, 6), agent=0)
    assert call.hear(SPEECH, tone(3_000, 5), agent=0) == []
    assert call.hear(SPEECH, noise(60, 3), agent=0) == [Faded(96)]
    assert call.hear(SPEECH, tone(3_000, 2), agent=0) == [Returned()]


def test_what_is_but_the_agent_heard_back_is_told() -> None:
    call = on_a_line_with_an_echo()

    def is_echo(level: int, windows: int = 1, agent: int = AGENT) -> bool:
        call.hear(SPEECH, tone(level, windows), agent)
        return call.detector.echo

    assert is_echo(AGENT // 10)
    assert not is_echo(AGENT // 3), "a caller"
    assert not is_echo(AGENT // 10), "perhaps the caller's, more softly"
    assert is_echo(AGENT // 10, windows=12)
    assert not is_echo(AGENT // 10, agent=0), "the agent is silent"


def test_on_a_line_without_an_echo_nothing_is_told_for_one() -> None:
    call = on_a_clean_line()
    call.hear(0.01, noise(30, 5))
    assert not call.detector.echo
    new = Call()
    new.hear(SPEECH, tone(AGENT // 10, 20))
    assert not new.detector.echo, "too little was heard of it"


def test_a_voice_that_sinks_into_the_echo_is_on_its_way_out() -> None:
    """The echo goes on for a moment after the agent was stopped, and is no softer than a quiet caller's end."""
    call = on_a_line_with_an_echo()
    assert call.stops(SPEECH, tone(AGENT // 5, 7))
    held = next(at for at, fact in call.facts if isinstance(fact, Held))
    call.hear(SPEECH, tone(AGENT // 5, held + 6 - call.windows))
    found = call.hear(SPEECH, tone(AGENT // 10, 2))
    assert found == [Faded(64)]
