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
    """One answered turn, in milliseconds after the caller's last voiced sound."""

    said: str
    end_of_turn: int
    first_token: int
    first_audio: int


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
        case fx.TurnTaken():
            cut = " (interrupted)" if effect.interrupted else ""
            return effect.role, f"turn {effect.index}{cut}: {effect.text}"
        case fx.Charge() if effect.line.startswith(("carrier", "stream", "amd")) or effect.nano < 0:
            return "money", f"{effect.line} {effect.from_qty}..{effect.to_qty}: {usd(effect.nano)}"
        case fx.Warned():
            return "money", f"warning; {usd(effect.rest)} left, cutoff at {effect.cutoff / 1000:.0f} s"
        case fx.HangUp():
            return "carrier", f"hang up: {effect.reason}"
        case fx.Ended():
            return "money", f"ended ({effect.reason or 'unanswered'}), {usd(effect.total)} in all"
        case _:
            return None


def latencies(lines: Sequence[str]) -> list[TurnLatency]:
    """How fast each turn was answered, as the journal saw it."""
    found: list[TurnLatency] = []
    said, stopped, asked, token = "", 0, -1, -1
    for step in steps(lines):
        match step.event:
            case ev.SpeechStopped(at=at, silence_ms=silence):
                stopped = at - silence
            case ev.ReplyPiece(at=at) if asked >= 0 and token < 0:
                token = at
            case ev.AudioQueued(at=at) if token >= 0:
                found.append(TurnLatency(said, asked - stopped, token - stopped, at - stopped))
                asked = token = -1
            case _:
                pass
        for line in step.effects:
            effect = journal.parse_effect(line)
            if isinstance(effect, fx.TurnTaken) and effect.role == "caller":
                said = effect.text
            elif isinstance(effect, fx.AskReply):
                asked, token = step.event.at, -1
    return found
