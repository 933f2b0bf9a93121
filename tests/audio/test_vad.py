"""The detector's facts: their order, their timing, and what does not count as speech."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.vad import LONGEST_MS, WINDOW_MS, Detector, Fact, Held, Started, Stopped

SPEECH, UNSURE, QUIET = 0.9, 0.42, 0.05


def facts(probabilities: list[float], barge_in_ms: int = 250) -> list[tuple[int, Fact]]:
    """Each fact with the number of windows it took."""
    detector = Detector(barge_in_ms)
    return [(index, fact) for index, each in enumerate(probabilities, 1) for fact in detector.window(each)]


def test_a_sentence() -> None:
    assert facts([QUIET] * 5 + [SPEECH] * 10 + [QUIET] * 10) == [
        (8, Started(96)),
        (13, Held()),
        (22, Stopped(224)),
    ]


def test_one_weak_window_in_four_does_not_delay_the_start() -> None:
    assert facts([SPEECH, UNSURE, SPEECH, SPEECH]) == [(4, Started(128))]


def test_two_windows_are_no_speech() -> None:
    assert facts([SPEECH, SPEECH, QUIET, QUIET, SPEECH, SPEECH, QUIET, QUIET]) == []


def test_a_short_sound_is_not_held() -> None:
    assert facts([SPEECH] * 7 + [QUIET] * 7) == [(3, Started(96)), (14, Stopped(224))]


def test_only_voiced_windows_count_towards_held() -> None:
    assert facts([SPEECH] * 4 + [QUIET] * 3 + [SPEECH] * 4) == [(3, Started(96)), (11, Held())]


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
def test_starts_and_stops_alternate_and_held_comes_once_between(
    probabilities: list[float], barge_in_ms: int
) -> None:
    speaking = held = False
    for index, fact in facts(probabilities, barge_in_ms):
        match fact:
            case Started(onset_ms):
                assert not speaking
                assert 3 * WINDOW_MS <= onset_ms <= 4 * WINDOW_MS
                assert probabilities[index - onset_ms // WINDOW_MS] >= 0.5
                speaking, held = True, False
            case Held():
                assert speaking
                assert not held
                held = True
            case Stopped(silence_ms):
                assert speaking
                assert all(each < 0.5 for each in probabilities[index - silence_ms // WINDOW_MS : index])
                speaking = False


def test_a_voice_that_never_pauses_is_cut_and_begins_anew() -> None:
    detector = Detector(250)
    facts = [fact for _ in range(2 * LONGEST_MS // WINDOW_MS) for fact in detector.window(0.9)]
    stops = [fact for fact in facts if isinstance(fact, Stopped)]
    assert stops == [Stopped(0)]
    assert sum(isinstance(fact, Started) for fact in facts) == 2


def test_windows_that_prove_nothing_end_a_voice_in_time() -> None:
    detector = Detector(250)
    for _ in range(20):
        detector.window(0.9)
    facts = [fact for _ in range(40) for fact in detector.window(0.42)]
    assert facts == [Stopped(1_024)]
