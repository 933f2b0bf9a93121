"""What a call has bought and until when it is paid, in call time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.money import Millis, Nanos
from pipeline.core.spending import Spending
from pipeline.core.tariff import Price, cost
from pipeline.core.terms import Allowance, EndReason, Limits
from tests.core.story import AMD, CARRIER, MINUTE, PLENTY, PRICES, STREAM, STT, TTS, minutes_paid

ANSWER = Millis(7_000)


def spending(
    allowed: Nanos = PLENTY,
    *,
    prices: tuple[Price, ...] = PRICES,
    budget: int = 0,
    percent: int = 80,
    limits: Limits | None = None,
    answered: bool = True,
) -> Spending:
    made = Spending(prices, Allowance(allowed, EndReason.BUDGET, Nanos(budget), percent), limits or Limits())
    if answered:
        made.answer(ANSWER)
    return made


def test_ringing_is_free() -> None:
    ringing = spending(answered=False)
    assert ringing.run(Millis(60_000)) == []
    assert ringing.used_line(STT.line, 9, Millis(60_000)) == []
    assert ringing.close(0, Millis(60_000)) == []
    assert (ringing.cutoff, ringing.warning, ringing.next_second) == (None, None, None)
    assert ringing.second(Millis(60_000)) == ringing.meter.nano == 0
    assert ringing.reason is EndReason.BUDGET


def test_the_answer_buys_the_machine_check_the_first_minute_and_the_first_second() -> None:
    ringing = spending(answered=False)
    charges = ringing.answer(ANSWER)
    assert [(c.line, c.to_qty, c.second) for c in charges] == [
        (AMD.line, 1, 0),
        (CARRIER.line, 60, 0),
        (STREAM.line, 60, 0),
        (STT.line, 1, 0),
    ]


def test_a_minute_is_a_lump_bought_when_it_begins() -> None:
    running = spending()
    assert [c.line for c in running.run(Millis(ANSWER + 59_999))] == [STT.line]
    assert running.next_second == ANSWER + 60_000
    assert [(c.line, c.to_qty, c.second) for c in running.run(Millis(ANSWER + 60_000))] == [
        (CARRIER.line, 120, 60),
        (STREAM.line, 120, 60),
        (STT.line, 61, 60),
    ]


def test_nothing_is_bought_past_the_cutoff() -> None:
    running = spending(minutes_paid(1))
    assert running.cutoff == ANSWER + 60_000
    running.run(Millis(ANSWER + 59_000))
    before = running.meter.nano
    assert running.run(Millis(ANSWER + 60_000)) == []
    assert running.meter.nano == before


def test_a_vendor_that_counts_ahead_does_not_put_off_the_next_minute() -> None:
    running = spending()
    running.used_line(STT.line, 100, Millis(ANSWER + 5_000))
    assert running.next_second == ANSWER + 60_000
    assert running.used_line(STT.line, 90, Millis(ANSWER + 6_000)) == []
    assert running.used_line("stt:unknown:second", 90, Millis(ANSWER + 6_000)) == []


def test_without_prices_nothing_is_to_be_bought() -> None:
    free = spending(Nanos(0), prices=())
    assert free.next_second is None
    assert free.cutoff == ANSWER + 900_000
    assert free.price_of("tts", "char", 9) == 0
    assert free.use("tts", TTS.model, "char", 9, ANSWER) == []


def test_by_the_minute_only_and_by_the_second_only() -> None:
    assert spending(prices=(CARRIER,)).next_second == ANSWER + 60_000
    by_second = spending(prices=(STT,))
    assert by_second.next_second == ANSWER + 1_000
    assert by_second.purse.bought_s == 0


def test_the_reason_and_the_warning_of_each_limit() -> None:
    by_money = spending(minutes_paid(2))
    assert by_money.reason is EndReason.BUDGET
    assert by_money.warning == ANSWER + 60_000
    by_time = spending()
    assert by_time.reason is EndReason.MAX_DURATION
    assert by_time.warning is None
    by_percentage = spending(budget=MINUTE, percent=100)
    assert by_percentage.warning == ANSWER


def test_a_longest_call_of_broken_seconds_still_ends_for_its_length() -> None:
    odd = spending(limits=Limits(max_duration_ms=100_500))
    assert odd.cutoff == ANSWER + 100_000
    assert odd.reason is EndReason.MAX_DURATION
    assert odd.warning is None


def test_a_change_of_the_allowance_moves_the_cutoff_both_ways() -> None:
    running = spending(minutes_paid(2))
    running.change(minutes_paid(4), EndReason.CREDIT)
    assert (running.cutoff, running.reason) == (ANSWER + 240_000, EndReason.CREDIT)
    running.change(minutes_paid(1), EndReason.CREDIT)
    assert running.cutoff == ANSWER + 60_000


def test_what_is_drawn_counts_as_spent_until_it_is_given_back() -> None:
    running = spending(minutes_paid(2))
    assert running.authorise("reply:1", Nanos(5_000_000), ANSWER, announced=None)
    assert running.authorise("reply:1", Nanos(1_000_000), ANSWER, announced=None)
    assert running.purse.pending == 6_000_000
    assert not running.authorise("reply:2", PLENTY, ANSWER, announced=None)
    assert not running.authorise("reply:2", PLENTY, ANSWER, announced=running.cutoff)
    running.release("reply:1", Nanos(2_000_000))
    assert running.purse.pending == 4_000_000
    running.release("reply:1", Nanos(9_000_000))
    assert running.purse.pending == 0
    running.release("reply:1")
    running.release("reply:1")
    running.release("reply:1", Nanos(1))
    assert running.purse.pending == 0


def test_before_the_answer_time_counts_as_none() -> None:
    assert spending(minutes_paid(2), answered=False).authorise(
        "reply:1", Nanos(1), Millis(500_000), announced=None
    )


def test_usage_is_charged_in_its_second() -> None:
    running = spending()
    (charge,) = running.use("tts", TTS.model, "char", 10, Millis(ANSWER + 4_500))
    assert (charge.line, charge.to_qty, charge.nano, charge.second) == (TTS.line, 10, 150_000, 4)
    assert running.use("tts", TTS.model, "char", 0, ANSWER) == []
    assert running.use("tts", "", "char", 10, ANSWER) == []


@pytest.mark.parametrize(
    ("seconds", "nano"), [(0, -2 * MINUTE), (60, -MINUTE), (61, 0), (120, 0), (121, MINUTE)]
)
def test_the_carriers_own_seconds_are_what_counts_in_the_end(seconds: int, nano: int) -> None:
    running = spending()
    running.run(Millis(ANSWER + 65_000))
    assert sum(charge.nano for charge in running.close(seconds, Millis(ANSWER + 66_000))) == nano


@given(st.integers(0, 200_000_000), st.lists(st.integers(1, 30_000), max_size=40), st.integers(1, 20_000_000))
def test_time_is_never_bought_beyond_the_allowance(extra: int, waits: list[int], stt_nano: int) -> None:
    ear = Price(4, "stt", "ear", "second", stt_nano, 60)
    first = MINUTE + 7_500_000 + cost(ear, 1)
    running = spending(Nanos(first + extra), prices=(CARRIER, STREAM, AMD, ear))
    now = int(ANSWER)
    for wait in waits:
        now += wait
        running.run(Millis(now))
        assert running.meter.nano <= first + extra
