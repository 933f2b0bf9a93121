"""When the caller is done."""

import pytest

from pipeline.core.money import Millis
from pipeline.core.terms import Limits
from pipeline.core.turns import CallerTurn, Said


def turn() -> CallerTurn:
    return CallerTurn(Limits(end_of_turn_ms=500, thinking_ms=15_000))


def due(caller: CallerTurn) -> Millis | None:
    return caller.due


def test_a_turn_ends_after_a_silence_when_its_text_is_there() -> None:
    caller = turn()
    assert due(caller) is None
    caller.voice_on(Millis(1_000))
    assert due(caller) is None
    caller.voice_off(Millis(2_000), Millis(2_000), text_follows=True)
    assert due(caller) == 17_000
    caller.segment(" What is new? ", Millis(2_300))
    assert due(caller) == 2_500
    assert caller.take() == Said("What is new?", Millis(1_000), Millis(2_000))
    assert due(caller) is None


def test_stretches_of_speech_add_up() -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.voice_off(Millis(2_000), Millis(2_000), text_follows=True)
    caller.voice_on(Millis(2_200))
    assert (caller.due, caller.held) == (None, False)
    caller.voice_off(Millis(3_000), Millis(3_000), text_follows=True)
    caller.segment("I was", Millis(3_100))
    assert caller.due == 18_000
    caller.segment("away.", Millis(3_300))
    assert caller.due == 3_500
    assert caller.take() == Said("I was away.", Millis(1_000), Millis(3_000))


def test_a_cough_is_a_turn_without_words() -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.voice_off(Millis(1_100), Millis(1_100), text_follows=True)
    caller.segment("  ", Millis(1_300))
    assert caller.due == 1_600
    assert caller.take().text == ""


def test_words_that_come_late_or_without_a_voice_are_a_turn_of_their_own() -> None:
    """Else nobody would ever answer them."""
    caller = turn()
    caller.segment("Hello?", Millis(9_000))
    assert caller.due == 9_500
    assert caller.take() == Said("Hello?", Millis(9_000), Millis(9_000))


def test_speech_whose_beginning_was_given_up_is_not_waited_for() -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.take()
    caller.voice_off(Millis(2_000), Millis(2_000), text_follows=True)
    assert (caller.awaited, caller.due) == (0, None)


def test_a_transcribers_own_end_of_turn_may_come_before_the_voice_is_seen_to_stop() -> None:
    """Its answer would be taken for something muttered while the agent spoke."""
    caller = turn()
    caller.voice_on(Millis(5_000))
    caller.over(" Yes. ", Millis(5_600), Millis(5_600))
    assert caller.take() == Said("Yes.", Millis(5_000), Millis(5_600))


def test_a_transcribers_own_end_of_turn_after_the_voice_stopped() -> None:
    caller = turn()
    caller.voice_on(Millis(5_000))
    caller.voice_off(Millis(5_500), Millis(5_500), text_follows=False)
    caller.over("Yes.", Millis(5_900), Millis(5_900))
    assert caller.take() == Said("Yes.", Millis(5_000), Millis(5_500))
    caller.over("No voice was seen.", Millis(8_000), Millis(8_000))
    assert caller.take() == Said("No voice was seen.", Millis(8_000), Millis(8_000))


def test_words_of_a_transcriber_before_are_part_of_the_turn_that_another_one_ends() -> None:
    caller = turn()
    caller.voice_on(Millis(5_000))
    caller.segment("I was thinking", Millis(5_900))
    assert caller.with_rest(" of you. ") == "I was thinking of you."
    caller.over(" of you. ", Millis(6_600), Millis(6_600))
    assert caller.take().text == "I was thinking of you."
    assert caller.with_rest("") == ""


def test_a_turn_that_sounds_cut_off_is_waited_for_longer() -> None:
    caller = CallerTurn(Limits(end_of_turn_ms=500, unfinished_ms=1_200))
    caller.voice_on(Millis(1_000))
    caller.voice_off(Millis(2_000), Millis(2_000), text_follows=True)
    caller.segment("I would like to, because", Millis(2_300))
    assert caller.due == 3_200
    caller.voice_on(Millis(2_900))
    caller.voice_off(Millis(3_900), Millis(3_900), text_follows=True)
    caller.segment("it rains.", Millis(4_100))
    assert caller.due == 4_400
    caller.take()
    assert not caller.unfinished


def test_a_turn_is_settled_when_the_voice_is_off_and_all_its_words_are_there() -> None:
    caller = turn()
    settled = [caller.settled]
    caller.voice_on(Millis(1_000))
    caller.voice_off(Millis(2_000), Millis(2_000), text_follows=True)
    settled.append(caller.settled)
    caller.segment("Yes.", Millis(2_200))
    settled.append(caller.settled)
    caller.voice_on(Millis(2_300))
    settled.append(caller.settled)
    assert settled == [False, False, True, False]


def test_a_barge_in_is_a_voice_that_held_and_a_lull_says_how_long_it_had_been_on() -> None:
    caller = turn()
    caller.hold(Millis(800))
    caller.fade(Millis(900))
    assert (caller.held, caller.barged, caller.lull) == (False, False, None)
    caller.voice_on(Millis(1_000))
    caller.hold(Millis(1_200))
    assert (caller.held, caller.barged, caller.lull) == (True, True, None)
    caller.fade(Millis(1_400))
    assert (caller.held, caller.barged, caller.lull) == (False, True, 400)
    caller.come_back(Millis(1_600))
    assert (caller.held, caller.lull) == (True, None)
    caller.voice_off(Millis(2_500), Millis(2_500), text_follows=False)
    assert (caller.held, caller.barged, caller.lull) == (False, True, 1_500)
    caller.take()
    assert not caller.barged


def test_a_voice_that_faded_and_never_came_back_was_as_long_as_it_was_when_it_faded() -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.hold(Millis(1_200))
    caller.fade(Millis(1_400))
    caller.voice_off(Millis(1_405), Millis(1_405), text_follows=True)
    assert caller.lull == 400
    caller.voice_on(Millis(2_000))
    assert caller.lull is None


@pytest.mark.parametrize(("quiet_at", "fleeting"), [(1_599, True), (1_600, False)])
def test_a_voice_that_stopped_the_agent_at_once_is_fleeting_by_its_length(
    quiet_at: int, fleeting: bool
) -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.hold(Millis(1_200))
    caller.fade(Millis(quiet_at))
    assert caller.fleeting is fleeting
    assert caller.heard_out is False


@pytest.mark.parametrize(("quiet_at", "fleeting"), [(2_099, True), (2_100, False)])
def test_one_that_was_doubtful_before_it_stopped_the_agent_is_measured_from_there(
    quiet_at: int, fleeting: bool
) -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.hold(Millis(1_700))
    caller.fade(Millis(quiet_at))
    assert (caller.fleeting, caller.lull) == (fleeting, quiet_at - 1_000)


@pytest.mark.parametrize(("quiet_at", "fleeting"), [(2_199, True), (2_200, False)])
def test_one_that_came_back_has_to_last_as_long_as_what_stops_the_agent(
    quiet_at: int, fleeting: bool
) -> None:
    caller = turn()
    caller.voice_on(Millis(1_000))
    caller.hold(Millis(1_200))
    caller.fade(Millis(1_800))
    caller.come_back(Millis(2_000))
    assert not caller.fleeting
    caller.fade(Millis(quiet_at))
    assert caller.fleeting is fleeting


def test_nobody_stops_the_agent_without_a_voice() -> None:
    caller = turn()
    caller.hold(Millis(900))
    caller.come_back(Millis(900))
    assert (caller.held, caller.barged, caller.fleeting) == (False, False, False)


def test_all_is_heard_when_the_voice_is_off_and_no_words_are_awaited() -> None:
    caller = turn()
    heard_out = [caller.heard_out]
    caller.voice_on(Millis(1_000))
    heard_out.append(caller.heard_out)
    caller.voice_off(Millis(2_000), Millis(2_000), text_follows=True)
    heard_out.append(caller.heard_out)
    caller.segment("", Millis(2_100))
    heard_out.append(caller.heard_out)
    assert heard_out == [False, False, False, True]
