"""A reply: drawn, asked for, held back, paid, dropped, settled."""

from pipeline.core.effects import Charge, DropReply, EagerSettled, Message
from pipeline.core.events import ReplyFinished
from pipeline.core.money import START, Millis, Nanos
from pipeline.core.prompt import TOOL_TOKENS, tokens_at_most
from pipeline.core.replies import EAGER_LOOKOUT, Replies
from pipeline.core.spending import Spending
from pipeline.core.tariff import Price, cost
from pipeline.core.terms import Limits
from tests.core.story import LLM_IN, LLM_OUT, PLENTY, PRICES, TTS, minutes_paid, started

HISTORY = [Message("user", "Hello")]
NOW = Millis(5_000)


def replies(
    *,
    slack: int = 9_000_000,
    chars: int = 200,
    prices: tuple[Price, ...] = PRICES,
    allowed: Nanos | None = None,
    reasoning: int = 0,
) -> tuple[Replies, Spending]:
    money = minutes_paid(2, slack=slack) if allowed is None else allowed
    start = started(money, limits=Limits(reply_max_chars=chars, reasoning_tokens=reasoning), prices=prices)
    spending = Spending(start.prices, start.allowance, start.limits)
    spending.answer(START)
    return Replies(start, spending), spending


def finished(reply: int, *tokens: int, model: str = LLM_IN.model) -> ReplyFinished:
    tokens_in, cached, out = tokens
    return ReplyFinished(NOW, reply, model, False, tokens_in, cached, out)


def test_the_worst_case_is_drawn_before_and_given_back_after() -> None:
    writer, spending = replies()
    order = writer.ask(HISTORY, NOW, announced=None)
    assert order is not None
    assert (order.reply, order.max_tokens, order.temperature_pct) == (1, 160, 70)
    prompt_bytes = sum(len(message.content) + 8 for message in order.messages)
    worst = cost(LLM_IN, prompt_bytes + TOOL_TOKENS) + cost(LLM_OUT, 160) + cost(TTS, 200)
    assert spending.purse.pending == worst
    assert (writer.unpaid, writer.number) == ({1}, 1)

    (sentence,) = writer.piece(1, "Hello there. ")
    assert writer.pay(sentence, 4, NOW, announced=None)
    assert spending.purse.pending == worst  # set aside, until a voice has it
    assert spending.buy_speech(4, TTS.model, NOW) == [Charge(5, TTS.line, 0, 12, Nanos(180_000), 5)]
    assert spending.purse.pending == worst - 180_000
    assert writer.spoken

    assert (writer.writing, writer.finish(1), writer.writing) == (True, [], False)
    charges = writer.count(finished(1, 40, 10, 12), NOW)
    assert [charge.line for charge in charges if isinstance(charge, Charge)] == [LLM_IN.line, LLM_OUT.line]
    assert len(charges) == 2
    assert spending.purse.pending == 188 * 15_000  # the reply may still have sentences to be spoken
    writer.drop()
    assert spending.purse.pending == 0
    assert not writer.unpaid


def test_what_a_model_may_think_is_drawn_too_and_is_no_part_of_the_persona_s_ceiling() -> None:
    plain, _ = replies()
    thinking, spending = replies(reasoning=400)
    assert thinking.worst(HISTORY) - plain.worst(HISTORY) == cost(LLM_OUT, 560) - cost(LLM_OUT, 160) > 0
    order = thinking.ask(HISTORY, NOW, announced=None)
    assert order is not None
    assert order.max_tokens == 160
    assert spending.purse.pending == thinking.worst(HISTORY)


def test_what_is_asked_aside_may_be_thought_about_too() -> None:
    writer, spending = replies(reasoning=400)
    order = writer.ask_aside(HISTORY, 300)
    assert order is not None
    assert order.max_tokens == 300
    said = cost(LLM_IN, tokens_at_most(HISTORY) + TOOL_TOKENS)
    assert spending.purse.pending == said + cost(LLM_OUT, 300 + 400)


def test_what_cannot_be_afforded_is_not_asked_for() -> None:
    writer, spending = replies(slack=100)
    assert writer.ask(HISTORY, Millis(59_000), announced=spending.cutoff) is None
    assert spending.purse.pending == 0
    assert not writer.unpaid


def test_speech_beyond_what_was_drawn_is_drawn_sentence_by_sentence() -> None:
    writer, spending = replies(chars=20)
    writer.ask(HISTORY, NOW, announced=None)
    first = spending.purse.pending
    assert writer.pay("x" * 15, 1, NOW, announced=None)
    assert spending.purse.pending == first
    assert writer.pay("x" * 15, 2, NOW, announced=None)
    assert spending.purse.pending == first + 15 * 15_000
    left = Nanos(spending.meter.nano + spending.purse.pending + 10**6)
    spending.change(left, left, spending.reason, None, NOW)
    assert not writer.pay("x" * 200, 3, NOW, announced=None)
    assert writer.pay("x" * 5, 3, NOW, announced=None)  # drawn at the beginning and not yet spoken


def test_a_sentence_that_no_voice_took_costs_nothing() -> None:
    writer, spending = replies()
    writer.ask(HISTORY, NOW, announced=None)
    writer.pay("Hello there.", 1, NOW, announced=None)
    spending.drop_speech(1)
    writer.drop()
    writer.count(finished(1, 0, 0, 0), NOW)
    assert spending.purse.pending == 0
    assert spending.meter.total(TTS.line) == 0


def test_without_a_reply_there_is_nothing_to_pay_write_or_drop() -> None:
    writer, _ = replies()
    assert not writer.pay("Hello.", 1, NOW, announced=None)
    assert writer.piece(1, "Hello. ") == []
    assert writer.finish(1) is None
    assert not writer.fail(1)
    assert not writer.ends(1)
    assert writer.drop() == []
    assert writer.release() == []
    writer.hold()
    assert not (writer.writing)
    assert not (writer.spoken)
    assert not (writer.under_way)
    assert not (writer.stillborn)
    assert not (writer.ends_call)
    assert (writer.guessed, writer.number) == (None, 0)


def test_a_dropped_reply_writes_no_more_but_is_still_counted_once() -> None:
    writer, spending = replies()
    writer.ask(HISTORY, NOW, announced=None)
    assert writer.drop() == [DropReply(1)]
    assert writer.drop() == []
    assert writer.piece(1, "Hello. ") == []
    assert writer.finish(1) is None
    done = finished(1, 40, 0, 3)
    assert len(writer.count(done, NOW)) == 2
    assert writer.count(done, NOW) == []
    assert writer.count(finished(9, 40, 0, 3), NOW) == []
    assert spending.purse.pending == 0


def test_a_finished_reply_is_not_stopped() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    writer.finish(1)
    assert writer.stop() == []
    assert writer.drop() == []


def test_a_stopped_reply_remembers_that_it_spoke() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    writer.pay("Hello.", 1, NOW, announced=None)
    assert writer.stop() == [DropReply(1)]
    assert writer.spoken


def test_a_failure_is_that_of_the_reply_being_written() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    assert not writer.fail(7)
    assert writer.fail(1)
    assert not writer.fail(1)
    writer.ask(HISTORY, NOW, announced=None)
    writer.pay("Hello.", 1, NOW, announced=None)
    assert writer.fail(2)


def test_cached_tokens_have_their_own_price() -> None:
    cached = Price(8, "llm", "mind", "token_cached", 12_500_000, 1_000_000)
    writer, spending = replies(prices=(*PRICES, cached))
    writer.ask(HISTORY, NOW, announced=None)
    before = spending.meter.nano
    writer.count(finished(1, 0, 80, 0), NOW)
    assert spending.meter.nano - before == 1_000


def test_tokens_are_charged_on_the_line_of_the_model_that_wrote_them() -> None:
    dear = Price(9, "llm", "spare", "token_out", 9_000_000_000, 1_000_000)
    writer, spending = replies(prices=(*PRICES, dear), allowed=PLENTY)
    writer.ask(HISTORY, NOW, announced=None)
    assert spending.purse.pending >= cost(dear, 160)  # whichever writes it
    (charge,) = writer.count(finished(1, 40, 0, 10, model="spare"), NOW)  # its prompt has no price
    assert charge == Charge(5, dear.line, 0, 10, cost(dear, 10), 5)
    writer.drop()
    writer.ask(HISTORY, NOW, announced=None)
    assert writer.count(finished(2, 0, 0, 0, model=""), NOW) == []  # none of them wrote
    writer.drop()
    assert spending.purse.pending == 0


def test_nothing_is_said_after_a_reply_that_ends_the_call() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None, ends_call=True)
    last = [writer.ends_call]
    assert not writer.last_word
    writer.ask(HISTORY, NOW, announced=None)
    last.append(writer.ends_call)
    assert not writer.ends(1)
    assert writer.ends(2)
    assert [*last, writer.ends_call] == [True, False, True]


# -- held back ---------------------------------------------------------------------------


def test_a_guess_holds_its_sentences_back_until_it_is_taken_up() -> None:
    writer, _ = replies(allowed=PLENTY)
    order = writer.guess([], NOW, "Hello")
    assert order is not None
    assert order.messages[-1] == Message("user", "Hello")
    answers = [writer.guessed]
    assert writer.piece(1, "One. Two. Thr") == []
    writer.hold()  # changes nothing for what is held back anyway
    answers.append(writer.guessed)
    assert writer.release() == ["One.", "Two."]
    assert [*answers, writer.guessed] == ["Hello", "Hello", None]
    assert writer.piece(1, "ee. ") == ["Three."]
    assert writer.finish(1) == []


def test_a_reply_that_waits_keeps_the_order_of_its_sentences() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    assert writer.piece(1, "One. Two") == ["One."]
    writer.hold()
    assert writer.piece(1, ". Three. ") == []
    assert writer.finish(1) == []
    assert writer.under_way
    assert writer.release() == ["Two.", "Three."]
    assert writer.release() == []


def test_a_reply_is_stillborn_once_it_is_over_and_wanted_and_nothing_came_of_it() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    stillborn = [writer.stillborn]
    writer.hold()
    writer.finish(1)
    stillborn.append(writer.stillborn)  # nobody waits for it yet
    assert writer.under_way  # but it is to be looked at
    writer.release()
    stillborn.append(writer.stillborn)
    writer.pay("Hello.", 1, NOW, announced=None)
    assert [*stillborn, writer.stillborn] == [False, False, True, False]


def test_a_reply_of_which_all_was_spoken_is_not_under_way_any_more() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    writer.pay("Hello.", 1, NOW, announced=None)
    under_way = [writer.under_way]
    writer.finish(1)
    assert [*under_way, writer.under_way] == [True, False]


def test_what_a_guess_came_to_is_told_once_its_use_and_its_tokens_are_known() -> None:
    writer, _ = replies(allowed=PLENTY)
    writer.guess(HISTORY, NOW, "Hello")
    assert writer.drop() == [DropReply(1)]
    writer.guess(HISTORY, NOW, "Hello there")
    writer.release()
    assert writer.settled() == []
    writer.count(finished(2, 20, 0, 9), NOW)
    assert writer.settled() == [EagerSettled(2, True, Nanos(cost(LLM_IN, 20) + cost(LLM_OUT, 9)))]
    writer.count(finished(1, 20, 0, 0), NOW)
    writer.count(finished(1, 20, 0, 0), NOW)
    assert writer.settled() == [EagerSettled(1, False, cost(LLM_IN, 20))]
    writer.ask(HISTORY, NOW, announced=None)
    writer.count(finished(3, 20, 0, 9), NOW)
    writer.drop()
    assert writer.settled() == []


def test_a_guess_written_before_the_turn_was_over_is_not_settled_before_it_was() -> None:
    """It used to count as dropped: a quick model is done in the pause that ends a turn."""
    writer, _ = replies(allowed=PLENTY)
    writer.guess(HISTORY, NOW, "Hello")
    writer.piece(1, "Hi.")
    writer.finish(1)
    writer.count(finished(1, 20, 0, 0), NOW)
    assert writer.settled() == []
    assert writer.release() == ["Hi."]
    assert writer.settled() == [EagerSettled(1, True, cost(LLM_IN, 20))]
    writer.drop()
    assert writer.settled() == []


def test_a_guess_that_fails_is_forgotten() -> None:
    writer, _ = replies(allowed=PLENTY)
    writer.guess(HISTORY, NOW, "Hello")
    assert not writer.fail(1)
    assert writer.guessed is None
    writer.count(finished(1, 20, 0, 0), NOW)
    assert writer.settled() == [EagerSettled(1, False, cost(LLM_IN, 20))]


def test_there_is_no_guessing_where_money_is_short() -> None:
    """The guess and the true reply may take time off the call only where two minutes are left after it."""
    writer, spending = replies(slack=1_000_000)
    assert writer.guess(HISTORY, NOW, "Hello") is None
    assert spending.purse.pending == 0
    assert writer.ask(HISTORY, NOW, announced=None) is not None  # one alone is no matter

    assert replies(slack=9_000_000)[0].guess(HISTORY, NOW, "Hello") is not None  # takes no time off the call
    longer = minutes_paid(3, slack=0)
    last = Millis(124_000 - EAGER_LOOKOUT)
    assert replies(allowed=longer)[0].guess(HISTORY, last, "Hello") is not None
    assert replies(allowed=longer)[0].guess(HISTORY, Millis(last + 4_000), "Hello") is None


def test_where_time_and_not_money_ends_the_call_guessing_goes_on() -> None:
    writer, _ = replies(allowed=PLENTY)
    assert writer.guess(HISTORY, Millis(899_000), "Hello") is None  # too late for any reply before the end
    assert writer.guess(HISTORY, Millis(850_000), "Hello") is not None
