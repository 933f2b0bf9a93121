"""The agent's side of the floor."""

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import START, Millis
from pipeline.core.notice import Notice
from pipeline.core.speech import ASIDE_AFTER_MS, Outcome, Speech, Spoken
from pipeline.core.spending import Spending
from pipeline.core.terms import Limits, Manners
from tests.core.story import LLM_IN, PHRASES, TTS, minutes_paid, started

NOW = Millis(5_000)
SINCE = Millis(4_000)
LONG = "x" * 10_000
"""Dearer than the money of any of these calls."""


def speech(*, slack: int = 9_000_000, manners: Manners | None = None) -> tuple[Speech, Spending, Notice]:
    start = started(
        minutes_paid(2, slack=slack),
        limits=Limits(reply_max_chars=20),
        manners=Manners(backchannels=True) if manners is None else manners,
    )
    spending = Spending(start.prices, start.allowance, start.limits)
    spending.answer(START)
    notice = Notice(spending, start.limits.warning_patience_ms)
    return Speech(start, spending, notice), spending, notice


def asked(agent: Speech) -> int:
    """Have the caller's turn answered; the number of the reply."""
    agent.transcript.caller("What is new?", SINCE, NOW)
    order = agent.ask(NOW, leaving=False)
    assert order is not None
    return order.reply


def hear(agent: Speech, utterance: int, chunk: int = 1, ms: int = 400) -> Spoken:
    agent.played(ev.AudioQueued(NOW, utterance, chunk, ms, "0" * 16), NOW)
    agent.played(ev.UtteranceQueued(NOW, utterance, ms), NOW)
    return agent.played(ev.MarkReached(NOW, chunk), NOW)


def test_what_is_said_is_numbered_and_only_the_greeting_of_the_phrases_is_paid() -> None:
    agent, spending, _ = speech()
    assert agent.greet(NOW) == [fx.Say(1, PHRASES.disclosure), fx.Say(2, PHRASES.greeting)]
    assert agent.playout.protected
    assert agent.say(PHRASES.apology, NOW) == fx.Say(3, PHRASES.apology)
    assert spending.purse.pending == 15_000 * len(PHRASES.greeting)
    assert agent.sold(ev.SpeechBought(NOW, 1, TTS.model), NOW) == []
    (charge,) = agent.sold(ev.SpeechBought(NOW, 2, TTS.model), NOW)
    assert isinstance(charge, fx.Charge)
    assert charge.to_qty == len(PHRASES.greeting)
    assert spending.purse.pending == 0


def test_each_sentence_is_paid_before_it_is_spoken() -> None:
    agent, spending, _ = speech()
    reply = asked(agent)
    spoken = agent.piece(ev.ReplyPiece(NOW, reply, "Not much. "), NOW)
    assert spoken == Spoken((fx.Say(1, "Not much."),), Outcome.SAID)
    assert spending.unsold
    assert agent.sold(ev.SpeechSkipped(NOW, 1), NOW) == []
    assert not spending.unsold


def test_a_piece_without_a_sentence_in_it_changes_nothing() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    assert agent.piece(ev.ReplyPiece(NOW, reply, "Not"), NOW) == Spoken((), Outcome.NOTHING)
    assert agent.playout.silent


def test_without_money_for_a_first_word_the_model_is_stopped() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    spoken = agent.speak([LONG], NOW)
    assert spoken == Spoken((fx.DropReply(reply),), Outcome.UNAFFORDABLE)


def test_without_money_for_more_it_stops_after_what_was_said() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    spoken = agent.speak(["Yes.", LONG, "No."], NOW)
    assert spoken == Spoken((fx.Say(1, "Yes."), fx.DropReply(reply)), Outcome.SAID)
    reply = asked(agent)
    assert agent.speak(["Yes."], NOW).outcome is Outcome.SAID
    assert agent.speak([LONG], NOW) == Spoken((fx.DropReply(reply),), Outcome.NOTHING)


def test_a_reply_without_a_word_is_stillborn() -> None:
    agent, _, _ = speech()
    rest = agent.replies.finish(asked(agent))
    assert rest == []
    assert agent.speak(rest, NOW) == Spoken((), Outcome.STILLBORN)
    agent.give_up()
    assert agent.speak(rest, NOW) == Spoken((), Outcome.NOTHING)


def test_a_reply_is_begun_early_once_and_taken_for_just_these_words() -> None:
    agent, _, notice = speech()
    agent.transcript.agent("Hello.", START, SINCE, interrupted=False)
    (order,) = agent.guess("What is new?", NOW)
    assert isinstance(order, fx.AskReply)
    assert agent.guess("What is new?", NOW) == []
    assert not agent.guessed("What was new?", NOW)
    assert agent.guessed("What is new?", NOW)
    assert agent.unguess() == [fx.DropReply(order.reply)]
    assert agent.unguess() == []
    for unwanted in ("", "I have to go now, goodbye!"):
        assert agent.guess(unwanted, NOW) == []
    (order,) = agent.guess("And you?", NOW)
    notice.announced = Millis(60_000)
    assert not agent.guessed("And you?", NOW)  # it was begun without the caller knowing of the end
    assert agent.guess("And I?", NOW) == []


def test_nothing_is_begun_early_by_who_does_not_or_cannot() -> None:
    reserved, _, _ = speech(manners=Manners(eager=False))
    assert reserved.guess("What is new?", NOW) == []
    agent, spending, _ = speech()
    (order,) = agent.guess("What is new?", NOW)
    assert isinstance(order, fx.AskReply)
    spending.change(spending.meter.nano, spending.meter.nano, spending.allowance.binds, None, Millis(0))
    assert agent.guess("What else is new?", NOW) == [fx.DropReply(order.reply)]


def test_an_aside_is_said_into_a_long_story_and_is_no_turn() -> None:
    agent, _, _ = speech()
    began = Millis(NOW - ASIDE_AFTER_MS)
    assert agent.listen_on(Millis(began + 1), NOW) == []
    assert agent.listen_on(None, NOW) == []
    assert agent.listen_on(began, NOW) == [fx.Say(1, PHRASES.listening)]
    later = Millis(NOW + ASIDE_AFTER_MS)
    assert agent.listen_on(began, later) == []  # the first is still to be heard
    assert hear(agent, 1).outcome is Outcome.NOTHING
    assert agent.listen_on(began, Millis(later - 1)) == []
    assert agent.listen_on(began, later) == [fx.Say(2, PHRASES.listening)]
    assert agent.hush(later, SINCE) == [fx.Hush()]
    silent, _, _ = speech(manners=Manners())
    assert silent.listen_on(began, NOW) == []


def test_what_the_model_wrote_is_heard_when_its_mark_is_back_and_is_timed() -> None:
    agent, _, _ = speech()
    agent.answers_from(NOW)
    reply = asked(agent)
    agent.piece(ev.ReplyPiece(NOW, reply, "Not much. "), NOW)
    agent.sold(ev.SpeechBought(NOW, 1, TTS.model), NOW)
    assert agent.played(ev.Audible(NOW, 1, 0), NOW) == Spoken((), Outcome.NOTHING)
    heard = hear(agent, 1)
    assert heard.outcome is Outcome.HEARD
    assert [type(effect) for effect in heard.effects] == [fx.TurnTimed]
    (turn,) = agent.turn_over(NOW, SINCE)
    assert isinstance(turn, fx.TurnTaken)
    assert (turn.text, turn.started, turn.interrupted) == ("Not much.", NOW, False)
    assert agent.turn_over(NOW, SINCE) == []


def test_a_stop_keeps_the_rest_until_it_goes_on() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    agent.piece(ev.ReplyPiece(NOW, reply, "Not much. "), NOW)
    assert agent.pause(Millis(5_000)) == [fx.Pause()]
    assert agent.piece(ev.ReplyPiece(NOW, reply, "And you? "), NOW) == Spoken((), Outcome.NOTHING)
    assert agent.resume(NOW) == fx.Resume()
    assert agent.speak(agent.replies.release(), NOW).effects == (fx.Say(2, "And you?"),)
    quiet, _, _ = speech()
    assert quiet.pause(Millis(5_000)) == []


def test_hushed_it_has_said_what_was_heard() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    agent.piece(ev.ReplyPiece(NOW, reply, "Not much. "), NOW)
    hear(agent, 1)
    agent.piece(ev.ReplyPiece(NOW, reply, "And you? "), NOW)
    hush, drop, turn = agent.hush(NOW, SINCE)
    assert (hush, drop) == (fx.Hush(), fx.DropReply(reply))
    assert isinstance(turn, fx.TurnTaken)
    assert (turn.text, turn.interrupted) == ("Not much.", True)
    assert agent.hush(NOW, SINCE) == []


def test_the_warning_is_over_when_its_end_becomes_known_behind_its_last_mark() -> None:
    """A voice may say that it is done only once all it gave was heard."""
    agent, _, _ = speech()
    warning = agent.warn(PHRASES.warning, NOW).utterance
    agent.played(ev.AudioQueued(NOW, warning, 1, 400, "0" * 16), NOW)
    agent.played(ev.MarkReached(NOW, 1), NOW)
    agent.answers_from(None, began=NOW)
    assert agent.warned_meanwhile
    over = Millis(NOW + 300)
    agent.played(ev.UtteranceQueued(over, warning, 400), over)
    assert agent.warned_meanwhile
    agent.answers_from(None, began=over)
    assert not agent.warned_meanwhile


def test_the_last_words_of_a_call_are_not_interrupted() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    agent.piece(ev.ReplyPiece(NOW, reply, "Not much. "), NOW)
    agent.ends(reply + 1)
    assert not agent.playout.protected
    agent.ends(reply)
    assert agent.playout.protected


def test_what_no_voice_gives_is_not_paid_nor_waited_for() -> None:
    agent, spending, _ = speech()
    agent.greet(NOW)
    assert agent.lost(2, for_good=False)
    assert spending.purse.pending == 0
    assert not agent.lost(2, for_good=True)
    assert not agent.playout.silent  # the disclosure is still to be heard


def test_a_reply_that_does_not_come_is_given_up_and_its_tokens_are_still_paid() -> None:
    agent, _, _ = speech()
    reply = asked(agent)
    assert agent.give_up() == [fx.DropReply(reply)]
    charges = agent.replies.count(ev.ReplyFinished(NOW, reply, LLM_IN.model, False, 40, 0, 12), NOW)
    assert charges


def test_a_reply_beyond_the_money_is_not_asked_for() -> None:
    agent, _, _ = speech(slack=0)
    agent.transcript.caller("What is new?", SINCE, Millis(119_000))
    assert agent.ask(Millis(119_000), leaving=False) is None
