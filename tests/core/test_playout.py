"""What was truly heard."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.money import Millis
from pipeline.core.playout import Playout, Utterance

NOW = Millis(1_000)


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
    playout.reached(1)
    assert (playout.silent, playout.due) == (False, 400)
    playout.reached(2)
    assert playout.silent
    assert playout.take() == "One two three."
    assert playout.take() == ""
    assert playout.started is None


def test_a_mark_proves_what_lies_before_it() -> None:
    playout = speaking("One two three.", 400, 400, 400)
    playout.reached(3)
    assert playout.take() == "One two three."


def test_a_cut_keeps_the_words_that_marks_have_proven() -> None:
    playout = speaking("One two three four.", 400, 400)
    playout.reached(1)
    playout.cut()
    assert (playout.silent, playout.due) == (True, 0)
    playout.reached(2)  # the carrier echoes the marks of what it dropped
    assert playout.take() == "One two"


def test_a_cut_before_the_first_mark_keeps_nothing() -> None:
    playout = speaking("One two three four.", 400)
    playout.cut()
    assert playout.take() == ""


def test_a_cut_of_an_utterance_still_being_rendered_guesses_its_length() -> None:
    playout = speaking("One two three four five.", 400, complete=False)
    playout.reached(1)
    playout.cut()
    assert playout.take() == "One"
    long = speaking("One two.", 400, 400, complete=False)
    long.reached(2)
    long.cut()
    assert long.take() == "One two."


def test_an_utterance_without_sound_is_over_at_once() -> None:
    playout = speaking("One.")
    assert playout.silent
    assert playout.take() == ""  # nobody heard it


def test_what_failed_is_not_waited_for() -> None:
    playout = speaking("One two three four.", 400, complete=False)
    playout.reached(1)
    playout.drop(1)
    assert playout.silent
    assert playout.take() == "One"
    playout = speaking("One two.", complete=False)
    playout.drop(1)
    assert playout.silent
    assert playout.take() == ""


def test_an_utterance_that_failed_halfway_ends_with_the_sound_that_was_sent() -> None:
    playout = speaking("One two three four.", 400, 400, complete=False)
    playout.reached(1)
    playout.drop(1)
    assert playout.due == 400
    playout.reached(2)
    assert playout.silent
    assert playout.take() == "One two"


def test_utterances_unknown_or_cut_change_nothing() -> None:
    playout = Playout()
    playout.queued(7, 1, 400, NOW)
    playout.complete(7)
    playout.drop(7)
    playout.reached(1)
    assert playout.silent
    assert playout.started is None


def test_what_may_not_be_interrupted_is_known_until_it_was_heard() -> None:
    playout = speaking("One.", 100)
    playout.say(2, "Two.", protected=True)
    playout.queued(2, 2, 100, NOW)
    playout.complete(2)
    protected = [playout.protected]
    for chunk in (1, 2):
        playout.reached(chunk)
        protected.append(playout.protected)
    assert protected == [True, True, False]
    assert playout.take() == "One. Two."


def test_a_last_chunk_too_short_to_measure_is_passed_over() -> None:
    playout = speaking("One.", 100, 0)
    playout.reached(1)
    assert playout.take() == "One."
    playout.reached(2)
    assert playout.take() == ""


def test_marks_of_an_utterance_that_is_over_are_passed_over() -> None:
    playout = speaking("One.", 100)
    playout.reached(1)
    playout.queued(1, 2, 100, NOW)
    playout.reached(2)
    assert playout.take() == "One."


@given(st.text("ab ", min_size=1, max_size=60), st.integers(0, 4_000), st.integers(0, 4_000), st.booleans())
def test_what_was_heard_is_the_beginning_of_what_was_said_and_grows(
    text: str, one: int, two: int, complete: bool
) -> None:
    less, more = sorted((one, two))
    heard = [Utterance(1, text, False, False, 4_000, ms, complete).heard for ms in (less, more)]
    assert text.startswith(heard[1])
    assert heard[1].startswith(heard[0])
