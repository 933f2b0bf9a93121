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
    warn_used: int | None = None,
    limits: Limits | None = None,
    answered: bool = True,
) -> Spending:
    due = None if warn_used is None else Nanos(warn_used)
    made = Spending(prices, Allowance(allowed, allowed, EndReason.BUDGET, due), limits or Limits())
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
    by_percentage = spending(warn_used=MINUTE)
    assert by_percentage.warning == ANSWER


def test_a_longest_call_of_broken_seconds_still_ends_for_its_length() -> None:
    odd = spending(limits=Limits(max_duration_ms=100_500))
    assert odd.cutoff == ANSWER + 100_000
    assert odd.reason is EndReason.MAX_DURATION
    assert odd.warning is None


def test_a_change_of_the_allowance_moves_the_cutoff_both_ways() -> None:
    running = spending(minutes_paid(2))
    running.change(minutes_paid(4), minutes_paid(4), EndReason.CREDIT, None, ANSWER)
    assert (running.cutoff, running.reason) == (ANSWER + 240_000, EndReason.CREDIT)
    running.change(minutes_paid(1), minutes_paid(1), EndReason.CREDIT, None, ANSWER)
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


# -- several engines -------------------------------------------------------------------

SPARE = Price(11, "stt", "spare", "second", 13_000_000, 60)
OTHER_VOICE = Price(14, "tts", "other", "char", 60_000_000, 1_000)


def test_the_clock_follows_the_transcriber_that_listens() -> None:
    running = spending(prices=(*PRICES, SPARE))
    running.run(Millis(ANSWER + 19_500))
    running.listening("spare", Millis(ANSWER + 20_000))
    assert running.next_second == ANSWER + 20_000
    assert [(c.line, c.to_qty) for c in running.run(Millis(ANSWER + 20_000))] == [(SPARE.line, 1)]
    running.run(Millis(ANSWER + 29_000))
    running.listening(STT.model, Millis(ANSWER + 29_500))
    running.run(Millis(ANSWER + 39_000))
    assert (running.meter.total(STT.line), running.meter.total(SPARE.line)) == (20 + 11, 10)


def test_a_switch_moves_the_cutoff_to_what_the_new_line_allows() -> None:
    running = spending(minutes_paid(2, slack=0), prices=(*PRICES, SPARE))
    assert running.cutoff == ANSWER + 120_000
    running.listening("spare", Millis(ANSWER + 1_000))
    nearer = running.cutoff
    assert nearer is not None
    assert nearer < ANSWER + 120_000
    running.listening(STT.model, Millis(ANSWER + 1_000))
    assert running.cutoff == ANSWER + 120_000


def test_a_transcriber_without_a_price_or_the_same_again_switches_nothing() -> None:
    running = spending()
    running.run(Millis(ANSWER + 9_000))
    before = running.purse
    running.listening("unknown", Millis(ANSWER + 9_500))
    running.listening(STT.model, Millis(ANSWER + 9_500))
    assert running.purse is before


def test_a_call_that_pinned_no_price_for_listening_has_no_clock() -> None:
    assert spending(prices=(CARRIER,)).purse.clocks == ()
    free = spending(prices=(CARRIER, STREAM))
    free.listening("spare", ANSWER)
    assert free.purse.clocks == ()


def test_the_vendors_own_counts_close_the_bill_line_by_line() -> None:
    running = spending(prices=(*PRICES, SPARE))
    running.run(Millis(ANSWER + 19_500))
    running.listening("spare", Millis(ANSWER + 20_000))
    running.run(Millis(ANSWER + 29_000))
    now = Millis(ANSWER + 30_000)
    assert running.used_line(STT.line, 18, now) == []  # less than ours: only at the end
    (more,) = running.used_line(SPARE.line, 14, now)
    assert (more.from_qty, more.to_qty) == (10, 14)
    running.used_line(STT.line, 17, now)
    charges = running.close(30, now)
    assert [(c.line, c.from_qty, c.to_qty) for c in charges] == [(STT.line, 20, 18)]
    assert charges[0].nano == cost(STT, 18) - cost(STT, 20)


@pytest.mark.parametrize(("open_ms", "counted", "billed"), [(0, 0, 0), (99, 0, 0), (100, 0, 10), (50, 4, 4)])
def test_a_transcriber_that_failed_as_it_opened_has_heard_nothing(
    open_ms: int, counted: int, billed: int
) -> None:
    running = spending()
    if open_ms:
        running.listening(STT.model, ANSWER)
    if counted:
        running.used_line(STT.line, counted, ANSWER)
    running.deaf(Millis(ANSWER + open_ms))
    running.deaf(Millis(ANSWER + 5_000))  # it failed to open again
    running.run(Millis(ANSWER + 9_500))
    assert running.meter.total(STT.line) == 10  # what it may yet come to runs on
    running.close(10, Millis(ANSWER + 10_000))
    assert running.meter.total(STT.line) == billed


def test_the_times_a_transcriber_listened_add_up() -> None:
    running = spending(prices=(*PRICES, SPARE))
    for begun in (0, 1_000):
        running.listening(STT.model, Millis(ANSWER + begun))
        running.deaf(Millis(ANSWER + begun + 60))
    running.listening("spare", Millis(ANSWER + 2_000))
    running.run(Millis(ANSWER + 4_500))
    running.close(5, Millis(ANSWER + 5_000))
    assert (running.meter.total(STT.line), running.meter.total(SPARE.line)) == (1, 3)


def test_without_a_price_for_listening_nobody_minds_a_transcriber_that_fails() -> None:
    running = spending(prices=(CARRIER,))
    running.deaf(ANSWER)
    assert running.close(60, ANSWER) == []


def test_only_listening_is_corrected_to_the_vendors_count() -> None:
    """A count of characters or tokens is what was charged already."""
    running = spending()
    running.use("tts", TTS.model, "char", 50, ANSWER)
    running.used_line(TTS.line, 40, ANSWER)
    running.close(30, ANSWER)
    assert running.meter.total(TTS.line) == 50


def test_the_worst_case_is_that_of_the_dearest_engine() -> None:
    running = spending(prices=(*PRICES, OTHER_VOICE))
    assert running.price_of("tts", "char", 10) == cost(OTHER_VOICE, 10)
    assert running.price_of("tts", "second", 10) == 0


def test_speech_is_drawn_when_it_is_queued_and_bought_when_a_voice_has_it() -> None:
    running = spending(prices=(*PRICES, OTHER_VOICE))
    running.draw_speech(4, 10)
    assert (running.unsold, running.purse.pending) == (True, cost(OTHER_VOICE, 10))
    (charge,) = running.buy_speech(4, TTS.model, ANSWER)
    assert (charge.line, charge.to_qty) == (TTS.line, 10)
    assert (running.unsold, running.purse.pending) == (False, 0)
    assert running.buy_speech(4, OTHER_VOICE.model, ANSWER) == []
    running.draw_speech(5, 10)
    running.drop_speech(5)
    running.drop_speech(5)
    assert running.buy_speech(5, TTS.model, ANSWER) == []
    assert (running.unsold, running.purse.pending) == (False, 0)


def test_a_part_of_one_purchase_may_be_kept_for_another() -> None:
    running = spending()
    running.authorise("reply:1", Nanos(5_000), ANSWER, announced=None)
    running.move("reply:1", "voice:1", Nanos(2_000))
    assert running.purse.pending == 5_000
    running.release("reply:1")
    assert running.purse.pending == 2_000
    running.release("voice:1")
    assert running.purse.pending == 0


def test_money_lasts_where_a_purchase_takes_no_time_off_the_call_or_enough_is_left() -> None:
    running = spending(minutes_paid(2, slack=1_000_000))
    late, soon = Millis(ANSWER + 200_000), Millis(ANSWER + 90_000)
    assert running.lasts(Nanos(1_000_000), late)
    assert not running.lasts(Nanos(2_000_000), late)
    assert running.lasts(Nanos(2_000_000), soon)
    assert not running.lasts(Nanos(12_000_000), soon)
    assert spending(minutes_paid(2), answered=False).lasts(Nanos(1), late)


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


# -- who listened ----------------------------------------------------------------------


def heard(bill: Spending) -> int:
    bill.close(60, Millis(ANSWER + 30_000))
    return bill.meter.total(STT.line)


def test_a_transcriber_that_could_never_be_opened_has_heard_nothing() -> None:
    bill = spending()
    bill.deaf(Millis(ANSWER + 1_000))
    bill.run(Millis(ANSWER + 3_500))
    assert bill.meter.total(STT.line) == 4  # it might still have been
    bill.deaf(Millis(ANSWER + 4_000))
    assert heard(bill) == 0


@pytest.mark.parametrize(("open_ms", "charged"), [(0, 0), (99, 0), (100, 4), (2_000, 4)])
def test_one_that_was_open_for_no_time_has_heard_nothing(open_ms: int, charged: int) -> None:
    bill = spending()
    bill.listening(STT.model, Millis(ANSWER + 500))
    bill.deaf(Millis(ANSWER + 500 + open_ms))
    bill.run(Millis(ANSWER + 3_500))
    assert heard(bill) == charged


def test_openings_add_up_and_a_count_is_believed_whatever_they_come_to() -> None:
    bill = spending()
    for at in (500, 1_000):
        bill.listening(STT.model, Millis(ANSWER + at))
        bill.deaf(Millis(ANSWER + at + 50))
    assert heard(bill) == 1
    bill = spending()
    bill.used_line(STT.line, 2, Millis(ANSWER + 1_000))
    bill.deaf(Millis(ANSWER + 1_000))
    assert heard(bill) == 2


def test_one_that_another_took_over_from_at_once_has_heard_nothing() -> None:
    spare = Price(90, "stt", "spare", "second", 6_000_000, 60)
    bill = spending(prices=(*PRICES, spare))
    bill.listening(STT.model, Millis(ANSWER + 100))
    bill.listening("spare", Millis(ANSWER + 100))
    bill.run(Millis(ANSWER + 9_500))
    bill.close(60, Millis(ANSWER + 10_000))
    assert (bill.meter.total(STT.line), bill.meter.total(spare.line)) == (0, 10)


def test_without_a_transcriber_nobody_is_deaf() -> None:
    bill = spending(prices=(CARRIER, STREAM))
    bill.deaf(Millis(ANSWER + 1_000))
    assert bill.close(60, Millis(ANSWER + 2_000)) == []
