"""A journal told to a person, and how long each answer took."""

from __future__ import annotations

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.journal import effect_line, event_line
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason
from pipeline.engines.scripted import Answer
from pipeline.replay import rerun
from pipeline.timeline import Entry, entries, latencies
from tests.core.story import PHRASES, minutes_paid, started
from tests.pipeline.doubles import DeadTranscriber
from tests.pipeline.rig import Stage, act, line, speech

ANSWER = "Not much here, it has been a quiet week. And what about you, how was yours?"


def test_a_conversation_reads_as_one() -> None:
    stage = Stage(hears=["What is new?", "Wait, stop."], answers=[ANSWER, "Yes?"], stays=3.0)
    told = list(entries(act(stage, line(4.0, speech(1.0), 4.0, speech(0.8), 3.0)).lines))
    assert [entry.at for entry in told] == sorted(entry.at for entry in told)
    assert told[0] == Entry(started().at, "carrier", "dialling for nora")
    story = [f"{entry.actor}: {entry.text}" for entry in told]
    wanted = [
        "caller: is listened to by ear",
        "carrier: answered",
        "money: carrier:voice:second 0..60: 0.014",
        "carrier: sound connected",
        f"agent: says: {PHRASES.disclosure}",
        f"agent: turn 0: {PHRASES.disclosure} {PHRASES.greeting}",
        "caller: speaks",
        "caller: heard as: What is new?",
        "caller: turn 1: What is new?",
        "agent: thinks (reply 1)",
        "agent: says: Not much here, it has been a quiet week.",
        "agent: stops, and waits for what the voice was",
        "agent: stops speaking",
        "caller: turn 3: Wait, stop.",
        "carrier: sound disconnected",
        "carrier: completed, 16 s",
    ]
    places = [story.index(one) for one in wanted]
    assert places == sorted(places)
    (cut,) = (one for one in story if "(interrupted)" in one)
    assert cut.startswith("agent: turn 2 (interrupted): Not much")
    assert story[-1].startswith("money: ended (caller_hung_up), 0.0")
    assert not [one for one in story if "chunk" in one.lower() or "Tick" in one]


def test_the_money_of_a_budget_is_in_it() -> None:
    stage = Stage(
        start=started(minutes_paid(2), binds=EndReason.BUDGET),
        hears=["More."] * 20,
        answers=["It was a fine day."] * 20,
    )
    texts = [entry.text for entry in entries(act(stage, line(4.0, line(speech(1.0), 7.0) * 20)).lines)]
    assert [text for text in texts if text.startswith("warning; ") and text.endswith("cutoff at 122 s")]
    assert "carrier:voice:second 60..120: 0.014" in texts
    assert "hang up: budget" in texts


def test_failures_machines_keys_and_orders_are_in_it() -> None:
    stage = Stage(
        transcriber=DeadTranscriber(times=1),
        stays=9.0,
        asides={
            4.5: lambda call: call.pressed("5"),
            5.0: lambda call: call.machine("human"),
            6.0: lambda call: call.ask_hang_up(EndReason.USER_HUNG_UP),
        },
    )
    told = {(entry.actor, entry.text) for entry in entries(act(stage).lines)}
    assert {
        ("agent", "stt failed (retryable)"),
        ("caller", "pressed 5"),
        ("carrier", "answering machine detection: human"),
        ("carrier", "hang-up asked for: user_hung_up"),
    } <= told


def test_an_unanswered_call_is_told_as_such() -> None:
    events = [event_line(started()), event_line(ev.CarrierDone(Millis(20_000), "no-answer", 0))]
    lines = [
        text for step, made in rerun(events) for text in (event_line(step.event), *map(effect_line, made))
    ]
    assert [entry.text for entry in entries(lines)][-1] == "ended (unanswered), 0.00 in all"


def test_latencies_are_those_of_the_turns_that_were_answered() -> None:
    stage = Stage(hears=["What is new?", "And then?"], answers=["Not much.", "Nothing."], stays=3.0)
    played = act(stage, line(4.0, speech(1.0), 4.0, speech(1.0), 4.0))
    first, second = latencies(played.lines)
    assert (first.said, second.said) == ("What is new?", "And then?")
    assert [first.timed, second.timed] == played.all(fx.TurnTimed)
    told = [entry.text for entry in entries(played.lines)]
    for turn in (first.timed, second.timed):
        assert f"answered turn {turn.index} in {turn.audible_ms} ms" in told


def test_a_reply_nobody_waited_for_has_no_latency() -> None:
    slow = Answer("Never spoken.", first_ms=60_000)
    stage = Stage(hears=["Hello.", "Are you there?"], answers=[slow, "Yes."], stays=4.0)
    found = latencies(act(stage, line(4.0, speech(1.0), 2.0, speech(0.8), 4.0)).lines)
    assert [turn.said for turn in found] == ["Are you there?"]
    assert latencies([]) == []


def test_each_new_turn_of_a_call_has_its_line() -> None:
    """Beeps, guesses, second thoughts, keys and ends, as a person would put them."""
    at = Millis(5)
    told = {
        ev.TurnLikelyEnded(at, "I think"): ("caller", "is probably done: I think"),
        ev.TurnResumed(at): ("caller", "goes on"),
        ev.BeepHeard(at): ("carrier", "a beep"),
        ev.ReplyEndsCall(at, 1): ("agent", "wants to end the call"),
        ev.ReplyCutShort(at, 1): ("agent", "has written as much as it may, and was not done"),
        ev.Listening(at, "flux", True): ("caller", "is listened to by flux"),
    }
    for event, line_of_it in told.items():
        (entry,) = entries([event_line(event)])
        assert (entry.actor, entry.text) == line_of_it
    made = {
        fx.Resume(): ("agent", "speaks on"),
        fx.ListenForBeep(): ("agent", "waits for the machine's beep"),
        fx.OptedOut("voice"): ("caller", "wants no more calls (by voice)"),
        fx.EagerSettled(3, True, Nanos(2_500_000)): ("money", "reply 3, begun early, was used: 0.0025"),
        fx.EagerSettled(3, False, Nanos(0)): ("money", "reply 3, begun early, was dropped: 0.00"),
    }
    for effect, line_of_it in made.items():
        (entry,) = entries([event_line(ev.Tick(at)), effect_line(effect)])
        assert (entry.actor, entry.text) == line_of_it
