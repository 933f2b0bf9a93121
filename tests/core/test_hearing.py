"""What the caller did, and the verdict on it."""

import pytest

from pipeline.core import events as ev
from pipeline.core.effects import Message
from pipeline.core.hearing import SCREENED_TURNS, Hearing, Verdict, Voice, Words
from pipeline.core.money import Millis
from pipeline.core.phases import Phase
from pipeline.core.terms import Limits
from pipeline.core.transcript import Transcript
from tests.core.story import started

AT = Millis(5_000)
ASKS = "This call is being screened. Please state your name and the reason for your call."
BYE = "I have to go now, goodbye!"
NEVER_AGAIN = "Do not call me again."


def hearing(*, ends_turns: bool = False, barge_in_words: int = 1) -> Hearing:
    return Hearing(started(limits=Limits(barge_in_words=barge_in_words), transcriber_ends_turns=ends_turns))


def heard(text: str, *, into: Hearing | None = None) -> Hearing:
    """A voice of a second, and its words."""
    ears = hearing() if into is None else into
    for event in (ev.SpeechStarted(AT, 0), ev.SpeechHeld(AT)):
        ears.voice(event, AT)
    later = Millis(AT + 1_000)
    ears.voice(ev.SpeechStopped(later, 0), later)
    ears.words(ev.SegmentHeard(later, text), later)
    return ears


def past(turns: int, *unanswered: str) -> Transcript:
    """What was said before: so many turns, and then the caller's that have no answer yet."""
    transcript = Transcript()
    transcript.resume(
        [*[Message("assistant", "Hello.")] * turns, *[Message("user", it) for it in unanswered]]
    )
    return transcript


def over(ears: Hearing, phase: Phase = Phase.LISTENING, *, since: int = 0, turns: int = 2) -> Verdict:
    return ears.turn_over(Millis(7_000), phase, Millis(since), past(turns)).verdict


def test_a_voice_says_little_before_its_words_come() -> None:
    ears = hearing()
    seen: list[Voice] = [
        ev.SpeechStarted(AT, 96),
        ev.SpeechHeld(AT),
        ev.SpeechFaded(AT, 30),
        ev.SpeechReturned(AT),
        ev.SpeechStopped(AT, 200),
    ]
    assert [ears.voice(event, AT) for event in seen] == [
        Verdict.WENT_ON,
        Verdict.SPEAKS,
        Verdict.NOTHING,
        Verdict.NOTHING,
        Verdict.NOTHING,
    ]
    assert (ears.turn.started, ears.turn.awaited) == (AT - 96, 1)


def test_who_ends_turns_says_by_itself_when_one_went_on() -> None:
    ears = hearing(ends_turns=True)
    assert ears.voice(ev.SpeechStarted(Millis(50), 96), Millis(50)) is Verdict.NOTHING
    assert ears.turn.started == 0
    ears.voice(ev.SpeechStopped(AT, 200), AT)
    assert ears.turn.awaited == 0


@pytest.mark.parametrize(
    ("event", "words", "verdict", "probably"),
    [
        (ev.Heard(AT, "So"), "So", Verdict.NOTHING, ""),
        (ev.SegmentHeard(AT, "So it is."), "So it is.", Verdict.PROBABLY_DONE, "So it is."),
        (ev.SegmentHeard(AT, "It was late and"), "It was late and", Verdict.PAUSES, "It was late and"),
        (ev.TurnLikelyEnded(AT, "So it is."), "So it is.", Verdict.PROBABLY_DONE, "So it is."),
        (ev.TurnResumed(AT), "", Verdict.RESUMED, ""),
        (ev.TurnEnded(AT, "So it is."), "So it is.", Verdict.OVER, ""),
    ],
)
def test_words_tell_how_far_the_turn_has_come(
    event: Words, words: str, verdict: Verdict, probably: str
) -> None:
    ears = hearing()
    assert ears.words(event, AT) == words
    assert ears.so_far(event, AT, Phase.LISTENING, parting=False) is verdict
    assert ears.probably == probably


def test_a_stretch_is_no_end_while_the_voice_goes_on() -> None:
    ears = hearing()
    ears.voice(ev.SpeechStarted(AT, 0), AT)
    event = ev.SegmentHeard(AT, "So it is.")
    ears.words(event, AT)
    assert ears.so_far(event, AT, Phase.LISTENING, parting=False) is Verdict.NOTHING


def test_beside_a_conversation_only_an_opt_out_counts() -> None:
    event = ev.SegmentHeard(AT, NEVER_AGAIN)
    ears = heard(NEVER_AGAIN)
    assert ears.so_far(event, AT, Phase.CLOSING, parting=False) is Verdict.OPTS_OUT
    assert ears.so_far(event, AT, Phase.LISTENING, parting=False) is Verdict.PROBABLY_DONE
    assert ears.so_far(event, AT, Phase.SPEAKING, parting=True) is Verdict.OPTS_OUT
    assert over(ears, Phase.CLOSING) is Verdict.OPTS_OUT
    assert over(heard("Hello?"), Phase.CLOSING) is Verdict.NOTHING


@pytest.mark.parametrize(
    ("text", "words", "takes"),
    [
        ("Wait a moment.", 1, True),
        ("Mm-hm.", 1, False),
        ("", 1, False),
        ("", 0, False),
        ("Wait.", 2, False),
        (NEVER_AGAIN, 9, True),
        (BYE, 9, True),
    ],
)
def test_which_words_take_the_floor(text: str, words: int, takes: bool) -> None:
    ears = hearing(barge_in_words=words)
    assert not ears.interrupts(text)  # no voice was there to stop the agent
    heard(text, into=ears)
    assert ears.interrupts(text) is takes
    assert (over(ears, Phase.INTERRUPTED) is Verdict.NOISE) is not takes


def brief(text: str) -> Hearing:
    """A voice that was held and is over again too soon to be more than a noise."""
    ears = hearing()
    for event in (ev.SpeechStarted(AT, 0), ev.SpeechHeld(AT)):
        ears.voice(event, AT)
    later = Millis(AT + 300)
    ears.voice(ev.SpeechStopped(later, 0), later)
    ears.words(ev.SegmentHeard(later, text), later)
    return ears


@pytest.mark.parametrize(
    ("text", "meant"),
    [("No.", False), ("Thank you.", False), ("Wait!", True), ("Wait, what will you do?", False), ("", False)],
)
def test_a_sound_that_is_short_for_words_stops_nobody_unless_it_is_meant_to(text: str, meant: bool) -> None:
    """Of a cough a transcriber makes all kinds of words."""
    assert brief(text).interrupts(text) is meant
    assert heard(text).interrupts(text) is bool(text)


@pytest.mark.parametrize(
    ("text", "phase", "verdict"),
    [
        ("You", Phase.SPEAKING, Verdict.LISTENS),
        ("Wait!", Phase.SPEAKING, Verdict.TURN),
        ("Wait, please.", Phase.SPEAKING, Verdict.TURN),
        ("Wait, what will you do in this?", Phase.SPEAKING, Verdict.LISTENS),
        ("You", Phase.LISTENING, Verdict.TURN),
        ("Tuesday.", Phase.LISTENING, Verdict.TURN),
        ("Bye.", Phase.LISTENING, Verdict.TAKES_LEAVE),
        ("Bye.", Phase.SPEAKING, Verdict.TAKES_LEAVE),
        ("Help!", Phase.SPEAKING, Verdict.TURN),
    ],
)
def test_one_word_made_of_a_brief_sound_while_the_agent_speaks_is_not_answered(
    text: str, phase: Phase, verdict: Verdict
) -> None:
    assert over(brief(text), phase) is verdict


@pytest.mark.parametrize(("ms", "verdict"), [(500, Verdict.TURN), (1_500, Verdict.LISTENS)])
def test_a_word_into_the_tail_of_the_agents_speech_is_an_answer(ms: int, verdict: Verdict) -> None:
    assert over(brief("Tuesday."), since=AT + ms) is verdict


def test_machines_greet_early() -> None:
    greeting = "Please leave a message after the tone."
    full = "The mailbox is full."
    ears = hearing()
    assert ears.greets(greeting, Phase.SPEAKING, past(SCREENED_TURNS)) is Verdict.MACHINE
    assert ears.greets(greeting, Phase.SPEAKING, past(SCREENED_TURNS + 1)) is Verdict.NOTHING
    assert ears.greets(greeting, Phase.MACHINE, past(0)) is Verdict.NOTHING
    assert ears.greets(full, Phase.LISTENING, past(0)) is Verdict.FULL_MAILBOX
    assert ears.greets(full, Phase.MACHINE, past(SCREENED_TURNS + 1)) is Verdict.FULL_MAILBOX
    assert ears.greets(full, Phase.LISTENING, past(SCREENED_TURNS + 1)) is Verdict.NOTHING


@pytest.mark.parametrize(
    ("text", "phase", "since", "verdict"),
    [
        ("What is new?", Phase.LISTENING, 0, Verdict.TURN),
        ("", Phase.LISTENING, 0, Verdict.NOTHING),
        (BYE, Phase.LISTENING, 0, Verdict.TAKES_LEAVE),
        (NEVER_AGAIN, Phase.LISTENING, 0, Verdict.OPTS_OUT),
        ("Mm-hm.", Phase.LISTENING, 0, Verdict.TURN),
        ("Mm-hm.", Phase.LISTENING, 6_000, Verdict.LISTENS),
        ("Mm-hm.", Phase.SPEAKING, 0, Verdict.LISTENS),
        ("Mm-hm.", Phase.INTERRUPTED, 0, Verdict.NOISE),
        ("What is new?", Phase.INTERRUPTED, 0, Verdict.TURN),
    ],
)
def test_what_a_turn_comes_to(text: str, phase: Phase, since: int, verdict: Verdict) -> None:
    ears = heard(text)
    ended = ears.turn_over(Millis(7_000), phase, Millis(since), past(2))
    assert (ended.verdict, ended.said.text) == (verdict, text)
    assert not ears.turn.text


@pytest.mark.parametrize(
    ("before", "text", "verdict"),
    [
        ((BYE,), "Thank you so much.", Verdict.TAKES_LEAVE),
        (("Good night.", "Thank you."), "Thanks again.", Verdict.TAKES_LEAVE),
        ((), "Thank you so much.", Verdict.TURN),
        (("I have a question.",), "Thank you so much.", Verdict.TURN),
        ((BYE,), "Oh, one more thing!", Verdict.TURN),
        (("Should I",), "go now?", Verdict.TURN),
    ],
)
def test_a_leave_is_taken_by_turns(before: tuple[str, ...], text: str, verdict: Verdict) -> None:
    """The second has nothing but politeness in it, and the first no answer yet."""
    said = heard(text).turn_over(Millis(7_000), Phase.LISTENING, Millis(0), past(2, *before))
    assert said.verdict is verdict


def test_a_turn_whose_words_never_come_is_lost() -> None:
    ears = hearing()
    ears.voice(ev.SpeechStarted(AT, 0), AT)
    ears.voice(ev.SpeechStopped(AT, 0), AT)
    assert over(ears) is Verdict.LOST


def test_a_screener_is_met_once_and_early() -> None:
    assert over(heard(ASKS), turns=SCREENED_TURNS + 1) is Verdict.TURN
    ears = heard(ASKS)
    assert over(ears, turns=SCREENED_TURNS) is Verdict.SCREENER
    assert ears.screened == 7_000
    assert over(heard(ASKS, into=ears)) is Verdict.TURN


def test_what_a_machine_said_is_kept_for_the_case_that_it_is_a_person() -> None:
    ears = hearing(ends_turns=True)
    said = [ev.TurnEnded(AT, text) for text in ("Hello?", "Who is there?", NEVER_AGAIN)]
    verdicts = [ears.so_far(event, AT, Phase.MACHINE, parting=False) for event in said]
    assert verdicts == [Verdict.NOTHING, Verdict.NOTHING, Verdict.OPTS_OUT]
    assert ears.turn.text == f"Hello? Who is there? {NEVER_AGAIN}"


def test_who_heard_two_answers_to_their_end_is_a_person() -> None:
    ears, talked = hearing(), Transcript()
    people = []
    for said in ("Hi.", "And you?"):
        people.append(ears.is_person(talked))
        talked.caller(said, AT, AT)
        talked.agent("Fine.", AT, AT, interrupted=False)
    assert [*people, ears.is_person(talked)] == [False, False, True]
    ears.screened = AT
    assert not ears.is_person(talked)


def test_a_greeting_is_known_by_what_came_before_in_the_same_breath() -> None:
    ears = hearing()
    assert ears.greets("right now, leave a word.", Phase.THINKING, past(1)) is Verdict.NOTHING
    split = past(1, "Ann is not here")
    assert ears.greets("right now, leave a word.", Phase.THINKING, split) is Verdict.MACHINE
