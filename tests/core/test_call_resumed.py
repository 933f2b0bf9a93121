"""A media socket that breaks and comes back, and a call that goes on in another process."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.call import Phase
from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import Price, PriceBook, cost
from pipeline.core.terms import EndReason, Limits
from tests.core.story import (
    AMD,
    ANSWERED,
    CARRIER,
    PHRASES,
    PRICES,
    STREAM,
    STT,
    Story,
    minutes_paid,
    started,
)

ROLES = {"caller": "user", "agent": "assistant"}
OTHER_EAR = Price(8, "stt", "other", "second", 60_000_000, 60)


def talk(**limits: int) -> Story:
    return Story(started(limits=patient(**limits))).answer().hear_out()


def patient(**limits: int) -> Limits:
    """Nobody is asked whether they are still there."""
    return Limits(**{"idle_prompt_ms": 900_000, **limits})


def broken(story: Story) -> Story:
    return story.post(ev.LineBroken).run()


def back(story: Story, after: int = 1_000) -> Story:
    return story.post(ev.StreamStarted, after).run(after)


def bought(story: Story) -> dict[str, int]:
    return {**story.audit.quantity}


def died(story: Story, *, after: int = 2_000, announced: Millis | None = None) -> ev.CallResumed:
    """The first event of the process that takes over `after` milliseconds later, made of what was written down."""
    start = story.start
    known = ev.Resumed(
        answered=story.call.spending.answered or ANSWERED,
        seq=story.audit.seq,
        bought=tuple(ev.Bought(line, quantity) for line, quantity in story.audit.quantity.items()),
        said=tuple(fx.Message(ROLES[turn.role], turn.text) for turn in story.audit.turns),  # type: ignore[arg-type]
        reply=story.call.replies.number,
        announced=announced,
    )
    common = {field.name: getattr(start, field.name) for field in fields(ev.CallStarted)}
    return ev.CallResumed(**{**common, "at": Millis(story.now + after)}, resumed=known)


# -- a socket that breaks --------------------------------------------------------------


def test_a_socket_that_comes_back_goes_on_with_an_apology() -> None:
    story = broken(talk().run(1_000))
    assert story.phase() is Phase.BROKEN
    said = len(story.said())
    back(story).hear_out()
    assert story.said()[said:] == [PHRASES.dropped]
    assert story.phase() is Phase.LISTENING
    story.reply("Fine.").say("How are you?").run(4_000)
    assert story.said()[said + 1 :] == ["Fine."]


def test_what_was_left_unanswered_is_answered_when_it_is_back() -> None:
    story = talk().reply("Nothing", hangs=True).say("What is new?").run(2_000)
    assert story.phase() is Phase.THINKING
    broken(story)
    assert len(story.all(fx.DropReply)) == 1
    back(story.reply("All is new.")).hear_out()
    assert story.said()[-2:] == [PHRASES.dropped, "All is new."]


def test_a_turn_that_ends_while_it_is_gone_is_answered_afterwards() -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    broken(story).post(lambda at: ev.TurnEnded(at, "What is new?", 300)).run()
    assert (story.phase(), story.heard()[-1]) == (Phase.BROKEN, "c: What is new?")
    back(story.reply("All is new.")).hear_out()
    assert story.said()[-1] == "All is new."


@pytest.mark.parametrize("text", ["", "Stop calling me."])
def test_only_one_thing_is_done_while_it_is_gone(text: str) -> None:
    story = Story(started(transcriber_ends_turns=True)).answer().hear_out()
    broken(story).post(lambda at: ev.TurnEnded(at, text, 300)).run()
    assert len(story.all(fx.OptedOut)) == bool(text)
    assert story.phase() is (Phase.HUNG_UP if text else Phase.BROKEN)


def test_one_that_does_not_come_back_means_that_the_caller_hung_up() -> None:
    story = broken(talk(rejoin_ms=5_000))
    at = story.now
    end = story.end()
    assert end.reason is EndReason.CALLER_HUNG_UP
    assert story.times(fx.HangUp) == [at + 5_000 - ANSWERED]


def test_a_disclosure_that_was_cut_off_is_given_again() -> None:
    story = Story(started()).answer().run(300)
    said = len(story.said())
    back(broken(story)).hear_out()
    assert story.said()[said:] == [PHRASES.disclosure, PHRASES.greeting]


def test_a_goodbye_waits_for_no_socket() -> None:
    story = talk().post(lambda at: ev.HangUpAsked(at, EndReason.DRAINED)).run()
    assert story.phase() is Phase.CLOSING
    assert broken(story).end().reason is EndReason.DRAINED


@pytest.mark.parametrize("breaks", [0, 1])
def test_what_breaks_before_there_is_a_conversation_changes_nothing(breaks: int) -> None:
    story = Story(started())
    for _ in range(breaks):
        broken(story)
    assert story.phase() is Phase.RINGING
    story.answer().hear_out()
    assert broken(broken(story)).phase() is Phase.BROKEN


def test_the_money_that_runs_out_meanwhile_ends_the_call() -> None:
    story = Story(started(minutes_paid(1), limits=patient(rejoin_ms=90_000))).answer().hear_out()
    assert broken(story).end().reason is EndReason.CREDIT
    assert story.times(fx.HangUp)[0] <= 60_000


# -- another process -------------------------------------------------------------------


def test_it_goes_on_where_the_other_left_off() -> None:
    first = talk().reply("Not much.").say("What is new?").run(6_000).run(to=ANSWERED + 70_500)
    start = died(first)
    second = Story(start)
    assert second.all(fx.Prepare)[0].texts[0] == PHRASES.dropped
    assert second.charged(AMD) == second.charged(CARRIER) == 0, "bought already"
    back(second, 500).hear_out()
    assert second.said() == [PHRASES.dropped]
    assert second.phase() is Phase.LISTENING
    second.reply("Fine.").say("How are you?").run(5_000)
    asked = second.all(fx.AskReply)[0]
    assert [message.content for message in asked.messages if message.role != "system"][-4:] == [
        *("What is new?", "Not much."),
        *(PHRASES.dropped, "How are you?"),
    ]
    assert second.all(fx.TurnTaken)[0].index == len(start.resumed.said)
    second.run(to=ANSWERED + 121_000)
    minutes = [charge for charge in second.all(fx.Charge) if charge.line == CARRIER.line]
    assert [(charge.from_qty, charge.to_qty, charge.second) for charge in minutes] == [(120, 180, 120)]


def test_seconds_in_which_nobody_listened_are_not_bought() -> None:
    first = talk().run(to=ANSWERED + 30_500)
    before = bought(first)[STT.line]
    second = Story(died(first, after=9_000))
    assert bought(second)[STT.line] == before + 1
    second.run(3_000)
    assert bought(second)[STT.line] == before + 4


def test_a_second_that_is_begun_is_not_bought_twice() -> None:
    first = talk().run(to=ANSWERED + 30_100)
    before = bought(first)[STT.line]
    second = Story(died(first, after=200))
    assert bought(second)[STT.line] == before == 31
    assert bought(second.run(700))[STT.line] == 32


def test_a_vendors_count_begins_anew() -> None:
    first = talk().run(to=ANSWERED + 30_500)
    before = bought(first)[STT.line]
    second = back(Story(died(first)), 500)
    second.run(5_000).post(lambda at: ev.EngineUsed(at, STT.line, 4)).run()
    second.carrier_seconds = 40
    second.carrier_done().end()
    assert bought(second)[STT.line] == before + 4
    assert bought(second)[CARRIER.line] == bought(second)[STREAM.line] == 60


def test_a_transcriber_that_heard_nothing_since_costs_nothing_more() -> None:
    first = (
        Story(started(prices=(*PRICES, OTHER_EAR), limits=patient()))
        .answer()
        .hear_out()
        .run(to=ANSWERED + 30_500)
    )
    before = bought(first)[STT.line]
    second = Story(died(first))
    second.post(lambda at: ev.Listening(at, STT.model, False))  # by place, as its makers do
    second.post(lambda at: ev.Listening(at, "other", False), 50)
    second.run(3_000)
    second.carrier_seconds = 40
    second.carrier_done().end()
    assert bought(second)[STT.line] == before


def test_without_a_transcriber_to_pay_there_is_nothing_to_go_on_counting() -> None:
    deaf = tuple(price for price in PRICES if price is not STT)
    first = Story(started(prices=deaf, limits=patient())).answer().hear_out().run(to=ANSWERED + 30_500)
    assert back(Story(died(first)), 500).hear_out().phase() is Phase.LISTENING


def test_nobody_is_warned_twice() -> None:
    first = Story(started(minutes_paid(2), limits=patient())).answer().hear_out().run(to=ANSWERED + 70_000)
    assert first.audit.warned == 1
    assert (
        back(Story(died(first, announced=Millis(ANSWERED + 120_000))), 500).end().reason is EndReason.CREDIT
    )
    second = back(Story(died(first, announced=Millis(ANSWERED + 120_000))), 500).run(20_000)
    assert second.all(fx.Warned) == []


def test_one_whose_socket_never_comes_was_lost_by_the_server() -> None:
    second = Story(died(talk()))
    assert second.end().reason is EndReason.SERVER_LOST


def test_one_that_breaks_again_later_was_left_by_the_caller() -> None:
    second = back(Story(died(talk())), 500).hear_out()
    assert broken(second).end().reason is EndReason.CALLER_HUNG_UP


def test_replies_are_numbered_on() -> None:
    first = talk().reply("Not much.").say("What is new?").run(6_000)
    second = back(Story(died(first)), 500).hear_out()
    second.reply("Fine.").say("How are you?").run(5_000)
    assert second.all(fx.AskReply)[0].reply == 2


def test_whoever_takes_a_call_over_is_told_what_was_under_way() -> None:
    story = talk().run(2_000)
    assert (story.call.unconfirmed, story.call.announced) == (0, None)
    most = story.call.largest_lump
    story.reply("Nothing", hangs=True).say("What is new?").run(2_000)
    assert 0 < most <= story.call.unconfirmed <= story.call.largest_lump
    warned = Story(started(minutes_paid(2), limits=patient())).answer().hear_out().run(to=ANSWERED + 70_000)
    assert warned.call.announced == ANSWERED + 120_000
    assert Story(died(warned, announced=warned.call.announced)).call.announced == ANSWERED + 120_000


def test_its_first_event_is_read_back_as_it_was_written() -> None:
    start = died(talk())
    line = journal.event_line(start)
    assert journal.parse_event(line) == start
    older = replace(start, phrases=replace(start.phrases, dropped="x"))
    assert journal.parse_event(journal.event_line(older).replace(',"dropped":"x"', "")) == start


@given(
    cuts=st.lists(st.integers(300, 40_000), min_size=1, max_size=4),
    gaps=st.lists(st.integers(0, 30_000), min_size=4, max_size=4),
    rest=st.integers(0, 20_000),
)
@settings(max_examples=60)
def test_wherever_it_is_cut_the_bill_is_that_of_one_call(cuts: list[int], gaps: list[int], rest: int) -> None:
    """Each part goes on behind the one before: all cost what their sum costs, and the minutes are the carrier's."""
    story = Story(started(limits=patient())).reply("One. Two. Three.").answer().say("What is new with you?")
    seconds = 0
    for cut, gap in zip(cuts, gaps, strict=False):
        story.run(cut)
        story = back(Story(died(story, after=gap)), 300).reply("Go on.").say("And then?")
    story.run(rest)
    seconds = -(-(story.now - ANSWERED) // 1000)
    story.carrier_seconds = seconds
    story.carrier_done().end()
    book = PriceBook(PRICES)
    quantities = bought(story)
    assert quantities[CARRIER.line] == quantities[STREAM.line] == -(-seconds // 60) * 60
    assert quantities[AMD.line] == 1
    assert quantities[STT.line] <= seconds + len(cuts) + 1
    assert story.audit.total == sum(cost(book.line(line), quantity) for line, quantity in quantities.items())
    assert Nanos(story.audit.total) == story.call.spending.meter.nano
