"""A call is remembered once it is over: within its own money, and nobody waits for it on the telephone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.memory import Finding
from pipeline.core.memory_order import ORDER
from pipeline.core.money import Millis, Nanos
from pipeline.core.remembering import GRACE
from pipeline.core.terms import EndReason, Known, Remember
from tests.core.story import PLENTY, Story, minutes_paid, started

WANTED = Remember("2026-11-26", (Known("thread", "", "the exam"),))
NOTES = ("fact | 4 | interview | I have an ", "interview on Tuesday\n", "done | the exam\n", "junk")


def told(allowed: Nanos = PLENTY, wanted: Remember | None = WANTED) -> Story:
    """A short conversation that the caller leaves."""
    story = Story(replace(started(allowed), remember=wanted))
    story.answer().hear_out().reply("Good luck!").say("I have an interview on Tuesday.").run(6_000).hear_out()
    return story


def hung_up(story: Story) -> Story:
    return story.post(lambda at: ev.LineDropped(at, EndReason.CALLER_HUNG_UP)).run(200)


def test_what_the_call_taught_is_learned_and_paid_by_it() -> None:
    story = told().reply(*NOTES, tokens=(400, 0, 30))
    ended = hung_up(story).end()
    order = story.all(fx.AskReply)[-1]
    assert order.messages[0].content.startswith(ORDER)
    assert '"the exam"' in order.messages[0].content
    assert 'Caller: "I have an interview on Tuesday."' in order.messages[1].content
    assert story.all(fx.Learned) == [
        fx.Learned(
            "2026-11-26",
            (
                Finding("fact", "I have an interview on Tuesday", "interview", 4),
                Finding("thread", "the exam", done=True),
            ),
        )
    ]
    tokens = [(charge.line, charge.to_qty - charge.from_qty) for charge in story.all(fx.Charge)[-2:]]
    assert tokens == [("llm:mind:token_in", 400), ("llm:mind:token_out", 30)]
    assert ended.total == sum(charge.nano for charge in story.all(fx.Charge))
    assert ended.reason is EndReason.CALLER_HUNG_UP


def test_the_carrier_is_told_before_anything_is_remembered() -> None:
    story = told().reply(*NOTES)
    story.post(lambda at: ev.HangUpAsked(at, EndReason.USER_HUNG_UP)).end()
    kinds = [type(effect) for _, effect in story.log]
    assert kinds.index(fx.HangUp) < len(kinds) - 1 - kinds[::-1].index(fx.AskReply)


def test_money_that_is_not_left_buys_no_memory_and_the_call_says_so() -> None:
    story = told()
    spending = story.call.spending
    left = Nanos(spending.meter.nano + 100)
    spending.change(left, left, EndReason.CREDIT, None, story.now)
    ended = hung_up(story).end()
    assert story.all(fx.Unlearned) == [fx.Unlearned("money")]
    assert story.all(fx.Learned) == []
    assert ended.total <= spending.allowance.held


def test_an_answer_that_does_not_come_is_not_waited_for_long() -> None:
    story = told().reply("fact | 3 | a | b", hangs=True)
    hung_up(story)
    assert story.phase() is Phase.REMEMBERING
    begun = story.now
    story.end()
    assert story.all(fx.Unlearned) == [fx.Unlearned("late")]
    assert len(story.all(fx.DropReply)) == 1
    assert story.now - begun <= WANTED.patience_ms + GRACE


def test_tokens_that_do_not_come_either_end_it_all_the_same() -> None:
    story = told().reply("x", hangs=True)
    hung_up(story)
    story.tokens_come = False
    begun = story.now
    story.end()
    assert story.now - begun <= WANTED.patience_ms + GRACE
    assert story.all(fx.Unlearned) == [fx.Unlearned("late")]


def test_half_an_answer_is_none() -> None:
    story = told().reply(*NOTES, fails=True)
    hung_up(story).end()
    assert story.all(fx.Unlearned) == [fx.Unlearned("failed")]


def test_one_late_tick_ends_it_as_after_a_crash() -> None:
    story = told().reply("x", hangs=True)
    hung_up(story)
    effects = story.call.step(ev.Tick(Millis(story.now + 10_000)))
    assert [type(effect) for effect in effects] == [fx.DropReply, fx.Unlearned, fx.Ended]


def test_a_call_whose_process_is_gone_before_it_was_asked_about_asks_for_nothing() -> None:
    story = told()
    call, now = story.call, story.now
    call.step(ev.LineDropped(now, EndReason.CALLER_HUNG_UP))
    call.step(ev.LineDropped(now, EndReason.SERVER_LOST))
    assert call.phase is Phase.HUNG_UP
    effects = call.step(ev.CarrierDone(now, "completed", 20))
    assert [effect.reason for effect in effects if isinstance(effect, fx.Ended)] == [EndReason.CALLER_HUNG_UP]
    assert not any(isinstance(effect, fx.AskReply) for effect in effects)


@pytest.mark.parametrize("reason", [EndReason.BAD_STREAM, EndReason.SERVER_LOST])
def test_ends_that_nobody_wants_to_hear_of_are_not_remembered(reason: EndReason) -> None:
    story = told()
    story.post(lambda at: ev.LineDropped(at, reason)).end()
    assert len(story.all(fx.AskReply)) == 1


def test_without_being_asked_for_or_anything_said_nothing_is_remembered() -> None:
    story = told(wanted=None)
    hung_up(story).end()
    assert len(story.all(fx.AskReply)) == 1
    silent = Story(replace(started(), remember=WANTED))
    silent.answer().hear_out()
    hung_up(silent).end()
    assert silent.all(fx.AskReply) == []
    unanswered = Story(replace(started(), remember=WANTED))
    unanswered.carrier_done(status="busy").end()
    assert unanswered.all(fx.AskReply) == []


def test_what_else_happens_meanwhile_changes_nothing() -> None:
    story = told().reply(*NOTES, first_ms=3_000)
    hung_up(story)
    story.post(lambda at: ev.EngineUsed(at, "stt:ear:second", 900))
    story.post(lambda at: ev.EngineFailed(at, "llm", 1, "failed")).post(lambda at: ev.SpeechStarted(at, 96))
    story.post(lambda at: ev.ReplyPiece(at, 1, "fact | 5 | x | another reply's"))
    story.end()
    [learned] = story.all(fx.Learned)
    assert [each.subject for each in learned.findings] == ["interview", ""]


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    story = told().reply(*(["summary | " + "x" * 9_990] * 4), tokens=(1, 0, 1))
    hung_up(story).end()
    assert len(story.all(fx.Learned)) == 1


def test_a_call_that_its_budget_ends_is_remembered_where_enough_is_left() -> None:
    story = Story(replace(started(minutes_paid(1, slack=12_000_000)), remember=WANTED))
    story.answer().hear_out().reply("Good luck!").say("I have an interview on Tuesday.").end()
    assert len(story.all(fx.Learned)) + len(story.all(fx.Unlearned)) == 1
    assert story.audit.ended is not None
    assert story.audit.ended.total <= story.start.allowance.held
