"""What was truly heard."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.money import Millis
from pipeline.core.playout import Playout, Utterance

NOW = Millis(1_000)
LATER = Millis(2_000)


def speaking(text: str, *chunks: int, complete: bool = True) -> Playout:
    playout = Playout()
    playout.say(1, text, protected=False)
    for number, ms in enumerate(chunks, start=1):
        playout.queued(1, number, ms, NOW)
    if complete:
        playout.complete(1)
    return playout


def test_an_utterance_is_heard_when_its_last_mark_comes_back() -> None:
    playout = speaking("One two three.", 400, 400)
    assert (playout.silent, playout.started, playout.due) == (False, NOW, 800)
    playout.reached(1, LATER)
    assert (playout.silent, playout.due) == (False, 400)
    playout.reached(2, LATER)
    assert playout.silent
    assert playout.take() == "One two three."
    assert playout.take() == ""
    assert playout.started is None


def test_a_mark_proves_what_lies_before_it() -> None:
    playout = speaking("One two three.", 400, 400, 400)
    playout.reached(3, LATER)
    assert playout.take() == "One two three."


def test_a_cut_keeps_the_words_that_marks_have_proven() -> None:
    playout = speaking("One two three four.", 400, 400)
    playout.reached(1, LATER)
    playout.cut(LATER)
    assert (playout.silent, playout.due) == (True, 0)
    playout.reached(2, LATER)  # the carrier echoes the marks of what it dropped
    assert playout.take() == "One two"


def test_a_cut_before_the_first_mark_keeps_nothing() -> None:
    playout = speaking("One two three four.", 400)
    playout.cut(LATER)
    assert playout.take() == ""


def test_a_cut_of_an_utterance_still_being_rendered_guesses_its_length() -> None:
    playout = speaking("One two three four five.", 400, complete=False)
    playout.reached(1, LATER)
    playout.cut(LATER)
    assert playout.take() == "One"
    long = speaking("One two.", 400, 400, complete=False)
    long.reached(2, LATER)
    long.cut(LATER)
    assert long.take() == "One two."


def test_an_utterance_without_sound_is_over_at_once() -> None:
    playout = speaking("One.")
    assert playout.silent
    assert playout.take() == ""  # nobody heard it


def test_what_failed_is_not_waited_for() -> None:
    playout = speaking("One two three four.", 400, complete=False)
    playout.reached(1, LATER)
    playout.drop(1)
    assert playout.silent
    assert playout.take() == "One"
    playout = speaking("One two.", complete=False)
    playout.drop(1)
    assert playout.silent
    assert playout.take() == ""


def test_an_utterance_that_failed_halfway_ends_with_the_sound_that_was_sent() -> None:
    playout = speaking("One two three four.", 400, 400, complete=False)
    playout.reached(1, LATER)
    playout.drop(1)
    assert playout.due == 400
    playout.reached(2, LATER)
    assert playout.silent
    assert playout.take() == "One two"


def test_utterances_unknown_or_cut_change_nothing() -> None:
    playout = Playout()
    playout.queued(7, 1, 400, NOW)
    playout.complete(7)
    assert not playout.drop(7)
    assert not playout.reached(1, LATER)
    playout.protect()
    assert not playout.protected
    assert playout.silent
    assert playout.started is None


def test_what_may_not_be_interrupted_is_known_until_it_was_heard() -> None:
    playout = speaking("One.", 100)
    playout.say(2, "Two.", protected=True)
    playout.queued(2, 2, 100, NOW)
    playout.complete(2)
    protected = [playout.protected]
    for chunk in (1, 2):
        playout.reached(chunk, LATER)
        protected.append(playout.protected)
    assert protected == [True, True, False]
    assert playout.take() == "One. Two."


def test_a_last_chunk_too_short_to_measure_is_passed_over() -> None:
    playout = speaking("One.", 100, 0)
    playout.reached(1, LATER)
    assert playout.take() == "One."
    playout.reached(2, LATER)
    assert playout.take() == ""


def test_marks_of_an_utterance_that_is_over_are_passed_over() -> None:
    playout = speaking("One.", 100)
    playout.reached(1, LATER)
    playout.queued(1, 2, 100, NOW)
    playout.reached(2, LATER)
    assert playout.take() == "One."


@given(st.text("ab ", min_size=1, max_size=60), st.integers(0, 4_000), st.integers(0, 4_000), st.booleans())
def test_what_was_heard_is_the_beginning_of_what_was_said_and_grows(
    text: str, one: int, two: int, complete: bool
) -> None:
    less, more = sorted((one, two))
    length = 4_000 if complete else None
    heard = [
        Utterance(1, text, False, queued_ms=4_000, sent_ms=4_000, heard_ms=ms, length_ms=length).heard
        for ms in (less, more)
    ]
    assert not complete or more < 4_000 or heard[1] == text
    assert text.startswith(heard[1])
    assert heard[1].startswith(heard[0])


# -- pausing ---------------------------------------------------------------------------


def paused() -> Playout:
    """Two words of four were proven when it was told to pause."""
    playout = speaking("One two three four.", 400, 400)
    playout.reached(1, LATER)
    playout.pause(LATER)
    return playout


def test_what_was_paused_and_comes_anew_is_heard_whole() -> None:
    playout = paused()
    assert (playout.silent, playout.paused, playout.due) == (False, True, 0)
    playout.resume(Millis(5_000))
    playout.queued(1, 3, 400, Millis(5_000))
    playout.complete(1)
    assert (playout.paused, playout.due) == (False, 5_400)
    playout.reached(3, LATER)
    assert playout.silent
    assert playout.take() == "One two three four."


def test_marks_that_come_back_while_it_is_paused_prove_nothing() -> None:
    """The carrier echoes those of all that it dropped."""
    playout = paused()
    assert not playout.reached(2, LATER)
    playout.cut(LATER)
    assert not playout.paused
    assert playout.take() == "One two"


def test_a_chunk_told_of_late_was_taken_back_and_does_not_count_twice() -> None:
    playout = speaking("One two three four.", 400, complete=False)
    playout.reached(1, LATER)
    playout.pause(LATER)
    playout.queued(1, 2, 400, NOW)  # handed over just before the pause
    playout.complete(1)
    assert not playout.reached(2, LATER)
    playout.cut(LATER)
    assert playout.take() == "One"  # of the 1,140 ms that so many characters take


def test_an_utterance_that_fails_while_it_is_paused_ends_with_what_was_heard() -> None:
    playout = paused()
    assert playout.drop(1)
    assert (playout.silent, playout.paused) == (True, True)
    assert playout.take() == "One two"


def test_an_aside_is_waited_for_but_is_no_turn() -> None:
    playout = Playout()
    playout.say(1, "Mm-hm.", aside=True)
    playout.queued(1, 1, 300, NOW)
    assert (playout.silent, playout.started) == (False, None)
    playout.complete(1)
    playout.reached(1, LATER)
    assert playout.silent
    assert playout.take() == ""
    playout.say(2, "Mm-hm.", aside=True)
    playout.queued(2, 2, 300, NOW)
    assert not playout.drop(2)
    playout.reached(2, LATER)
    playout.say(3, "Mm-hm.", aside=True)
    playout.queued(3, 3, 300, NOW)
    playout.complete(3)
    playout.cut(LATER)
    assert playout.take() == ""


def test_protecting_covers_what_is_still_to_be_heard() -> None:
    playout = speaking("One.", 100, complete=False)
    assert not playout.protected
    playout.protect()
    assert playout.protected


def test_a_mark_tells_whether_the_models_own_words_were_heard() -> None:
    playout = Playout()
    playout.say(1, "Sorry?")
    playout.say(2, "It is a house.", written=True)
    for number in (1, 2):
        playout.queued(number, number, 300, NOW)
        playout.complete(number)
    assert [playout.reached(1, LATER), playout.reached(2, LATER), playout.reached(3, LATER)] == [
        False,
        True,
        False,
    ]


@given(st.lists(st.integers(1, 600), min_size=1, max_size=8), st.lists(st.integers(0, 8), max_size=6))
def test_however_often_it_is_paused_it_is_heard_whole_in_the_end(chunks: list[int], heard: list[int]) -> None:
    """What the mouth keeps is what no mark has come back for."""
    playout, number = Playout(), 0
    playout.say(1, "One two three four five six.")
    left = list(chunks)
    for reached in [*heard, len(chunks)]:
        sent = []
        for ms in left:
            number += 1
            playout.queued(1, number, ms, NOW)
            sent.append(number)
        playout.complete(1)
        for chunk in sent[:reached]:
            playout.reached(chunk, LATER)
        left = left[reached:]
        if not left:
            break
        playout.pause(LATER)
        playout.resume(NOW)
    assert playout.silent
    assert playout.take() == "One two three four five six."


def test_it_sounds_until_what_is_queued_has_played_or_is_cleared() -> None:
    playout = speaking("One two three four.", 400, 400)
    assert playout.sounded(Millis(1_300)) == 1_300
    assert playout.sounded(Millis(9_000)) == 1_800  # its marks are lost
    playout.reached(1, Millis(1_450))
    assert playout.sounded(Millis(1_500)) == 1_500
    playout.pause(Millis(1_500))
    assert playout.sounded(Millis(3_000)) == 1_500
    playout.cut(Millis(3_000))
    assert playout.sounded(Millis(3_100)) == 1_500


def test_resumed_it_sounds_on() -> None:
    playout = speaking("One two three four.", 400, 400)
    playout.pause(Millis(1_200))
    playout.resume(Millis(2_000))
    playout.queued(1, 1, 400, Millis(2_010))
    playout.cut(Millis(2_100))
    assert playout.sounded(Millis(3_000)) == 2_100
