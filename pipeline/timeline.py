"""A journal as a person reads it: what happened when, what it led to, how long each answer took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.effects import Effect
from pipeline.core.events import Event
from pipeline.core.money import Millis, usd
from pipeline.journal_file import steps


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline. `actor` is caller, agent, money or carrier."""

    at: Millis
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class TurnLatency:
    """One answered turn: what the caller said, and how fast it was answered."""

    said: str
    timed: fx.TurnTimed


def entries(lines: Sequence[str]) -> Iterator[Entry]:
    """The call line by line, without the chunks and ticks that only machines care about."""
    for step in steps(lines):
        entry = _event(step.event)
        if entry is not None:
            yield Entry(step.event.at, *entry)
        for line in step.effects:
            told = _effect(journal.parse_effect(line))
            if told is not None:
                yield Entry(step.event.at, *told)


def _event(event: Event) -> tuple[str, str] | None:
    match event:
        case ev.CallStarted():
            return "carrier", f"dialling for {event.persona}"
        case ev.Answered():
            return "carrier", "answered"
        case ev.StreamStarted():
            return "carrier", "sound connected"
        case ev.SpeechHeld():
            return "caller", "speaks"
        case ev.SegmentHeard() if event.text:
            return "caller", f"heard as: {event.text}"
        case ev.Listening():
            return "caller", f"is listened to by {event.model}"
        case ev.TurnLikelyEnded():
            return "caller", f"is probably done: {event.text}"
        case ev.TurnResumed():
            return "caller", "goes on"
        case ev.ReplyEndsCall():
            return "agent", "wants to end the call"
        case ev.ReplyCutShort():
            return "agent", "has written as much as it may, and was not done"
        case ev.BeepHeard():
            return "carrier", "a beep"
        case ev.MachineDetected():
            return "carrier", f"answering machine detection: {event.kind}"
        case ev.DigitPressed():
            return "caller", f"pressed {event.digit}"
        case ev.EngineFailed():
            return "agent", f"{event.service} failed ({event.kind})"
        case ev.LineDropped():
            return "carrier", "sound disconnected"
        case ev.HangUpAsked():
            return "carrier", f"hang-up asked for: {event.reason}"
        case ev.CarrierSilent():
            return "carrier", "has not said that the call is over"
        case ev.CarrierDone():
            return "carrier", f"{event.status}, {event.seconds} s"
        case _:
            return None


def _effect(effect: Effect) -> tuple[str, str] | None:
    match effect:
        case fx.AskReply():
            return "agent", f"thinks (reply {effect.reply})"
        case fx.Say():
            return "agent", f"says: {effect.text}"
        case fx.Hush():
            return "agent", "stops speaking"
        case fx.Pause():
            return "agent", "stops, and waits for what the voice was"
        case fx.Resume():
            return "agent", "speaks on"
        case fx.ListenForBeep():
            return "agent", "waits for the machine's beep"
        case fx.TurnTimed():
            return "agent", f"answered turn {effect.index} in {effect.audible_ms} ms"
        case fx.EagerSettled():
            fate = "used" if effect.committed else "dropped"
            return "money", f"reply {effect.reply}, begun early, was {fate}: {usd(effect.nano)}"
        case fx.OptedOut():
            return "caller", f"wants no more calls (by {effect.how})"
        case fx.TurnTaken():
            cut = " (interrupted)" if effect.interrupted else ""
            return effect.role, f"turn {effect.index}{cut}: {effect.text}"
        case fx.Charge() if effect.line.startswith(("carrier", "stream", "amd")) or effect.nano < 0:
            return "money", f"{effect.line} {effect.from_qty}..{effect.to_qty}: {usd(effect.nano)}"
        case fx.Warned():
            return "money", f"warning; {usd(effect.rest)} left, cutoff at {effect.cutoff / 1000:.0f} s"
        case fx.HangUp():
            return "carrier", f"hang up: {effect.reason}"
        case fx.Learned():
            return "agent", f"remembers {len(effect.findings)} things of the call"
        case fx.Unlearned():
            return "agent", f"remembers nothing of the call ({effect.why})"
        case fx.Ended():
            return "money", f"ended ({effect.reason or 'unanswered'}), {usd(effect.total)} in all"
        case _:
            return None


def latencies(lines: Sequence[str]) -> list[TurnLatency]:
    """How fast each turn was answered, as the call measured it."""
    found: list[TurnLatency] = []
    said: dict[int, str] = {}
    for step in steps(lines):
        for line in step.effects:
            match journal.parse_effect(line):
                case fx.TurnTaken(index=index, role="caller", text=text):
                    said[index] = text
                case fx.TurnTimed() as timed:
                    found.append(TurnLatency(said.get(timed.index, ""), timed))
                case _:
                    pass
    return found
