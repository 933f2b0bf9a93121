"""A reply: drawn, asked for, paid, dropped."""

from pipeline.core.effects import Charge, DropReply, Message
from pipeline.core.events import Limits, ReplyFinished
from pipeline.core.money import START, Millis, Nanos
from pipeline.core.replies import Replies
from pipeline.core.spending import Spending
from pipeline.core.tariff import Price, cost
from tests.core.story import LLM_IN, LLM_OUT, PRICES, TTS, minutes_paid, started

HISTORY = [Message("user", "Hello")]
NOW = Millis(5_000)


def replies(
    *, slack: int = 9_000_000, chars: int = 200, prices: tuple[Price, ...] = PRICES
) -> tuple[Replies, Spending]:
    start = started(minutes_paid(2, slack=slack), limits=Limits(reply_max_chars=chars), prices=prices)
    spending = Spending(start.prices, start.allowance, start.limits)
    spending.answer(START)
    return Replies(start, spending), spending


def test_the_worst_case_is_drawn_before_and_given_back_after() -> None:
    writer, spending = replies()
    order = writer.ask(HISTORY, NOW, announced=None)
    assert order is not None
    assert (order.reply, order.max_tokens, order.temperature_pct) == (1, 160, 70)
    prompt_bytes = sum(len(message.content) + 8 for message in order.messages)
    worst = cost(LLM_IN, prompt_bytes) + cost(LLM_OUT, 160) + cost(TTS, 200)
    assert spending.purse.pending == worst
    assert writer.unpaid == {1}

    (sentence,) = writer.piece(1, "Hello there. ")
    assert writer.pay(sentence, NOW, announced=None) == [
        Charge(5, TTS.line, 0, 12, Nanos(180_000), 5),
    ]
    assert spending.purse.pending == worst - 180_000
    assert writer.spoken

    assert (writer.writing, writer.finish(1), writer.writing) == (True, [], False)
    charges = writer.count(ReplyFinished(NOW, 1, 40, 10, 12), NOW)
    assert [charge.line for charge in charges if isinstance(charge, Charge)] == [LLM_IN.line, LLM_OUT.line]
    assert spending.purse.pending == 0
    assert not writer.unpaid


def test_what_cannot_be_afforded_is_not_asked_for() -> None:
    writer, spending = replies(slack=100)
    assert writer.ask(HISTORY, Millis(59_000), announced=spending.cutoff) is None
    assert spending.purse.pending == 0
    assert not writer.unpaid


def test_speech_beyond_what_was_drawn_is_drawn_sentence_by_sentence() -> None:
    writer, spending = replies(chars=20)
    writer.ask(HISTORY, NOW, announced=None)
    first = spending.purse.pending
    assert writer.pay("x" * 15, NOW, announced=None) is not None
    assert writer.pay("x" * 15, NOW, announced=None) is not None
    assert spending.purse.pending == first - 15 * 15_000
    spending.change(Nanos(spending.meter.nano + spending.purse.pending + 10**6), spending.reason)
    assert writer.pay("x" * 200, NOW, announced=None) is None
    assert writer.pay("x" * 5, NOW, announced=None) is not None  # drawn at the beginning and not yet spoken


def test_without_a_reply_there_is_nothing_to_pay_write_or_drop() -> None:
    writer, _ = replies()
    assert writer.pay("Hello.", NOW, announced=None) is None
    assert writer.piece(1, "Hello. ") == []
    assert writer.finish(1) is None
    assert not writer.fail(1)
    assert writer.drop() == []
    assert not writer.writing
    assert not writer.spoken


def test_a_dropped_reply_writes_no_more_but_is_still_counted_once() -> None:
    writer, spending = replies()
    writer.ask(HISTORY, NOW, announced=None)
    assert writer.drop() == [DropReply(1)]
    assert writer.drop() == []
    assert writer.piece(1, "Hello. ") == []
    assert writer.finish(1) is None
    finished = ReplyFinished(NOW, 1, 40, 0, 3)
    assert len(writer.count(finished, NOW)) == 2
    assert writer.count(finished, NOW) == []
    assert writer.count(ReplyFinished(NOW, 9, 40, 0, 3), NOW) == []
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
    writer.pay("Hello.", NOW, announced=None)
    assert writer.stop() == [DropReply(1)]
    assert writer.spoken


def test_a_failure_is_that_of_the_reply_being_written() -> None:
    writer, _ = replies()
    writer.ask(HISTORY, NOW, announced=None)
    assert not writer.fail(7)
    assert writer.fail(1)
    assert not writer.fail(1)
    writer.ask(HISTORY, NOW, announced=None)
    writer.pay("Hello.", NOW, announced=None)
    assert writer.fail(2)


def test_cached_tokens_have_their_own_price() -> None:
    cached = Price(8, "llm", "mind", "token_cached", 12_500_000, 1_000_000)
    writer, spending = replies(prices=(*PRICES, cached))
    writer.ask(HISTORY, NOW, announced=None)
    before = spending.meter.nano
    writer.count(ReplyFinished(NOW, 1, 0, 80, 0), NOW)
    assert spending.meter.nano - before == 1_000
