"""Level 1 replay: a journal's events through today's core, and whether the same effects come out.

Exact or not, byte for byte. Against changed code everything after the first line that
differs is stale, because the recorded events answer questions the new code did not ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.core import journal
from pipeline.core.call import Call
from pipeline.core.effects import Effect
from pipeline.core.errors import JournalError
from pipeline.core.events import CallStarted
from pipeline.journal_file import Step, steps


@dataclass(frozen=True, slots=True)
class Difference:
    """The first line that is not as recorded; either side is None where it has no such line."""

    line: int
    recorded: str | None
    replayed: str | None


@dataclass(frozen=True, slots=True)
class Replay:
    """`millis` is the length of the call as recorded."""

    steps: int
    millis: int
    difference: Difference | None

    @property
    def exact(self) -> bool:
        return self.difference is None


def replay(lines: Sequence[str]) -> Replay:
    """Feed the events back. Raises `JournalError` when this is no journal of a call."""
    done, at = 0, 0
    for step, effects in rerun(lines):
        done, at = done + 1, step.event.at
        difference = compare(step, [journal.effect_line(effect) for effect in effects])
        if difference is not None:
            return Replay(done, at, difference)
    return Replay(done, at, None)


def rerun(lines: Sequence[str]) -> Iterator[tuple[Step, list[Effect]]]:
    """Each recorded step with the effects today's core has for it."""
    call: Call | None = None
    for step in steps(lines):
        if call is None:
            if not isinstance(step.event, CallStarted):
                raise JournalError("a journal begins with CallStarted")
            call = Call(step.event)
        yield step, call.step(step.event)
    if call is None:
        raise JournalError("the journal is empty")


def compare(step: Step, replayed: Sequence[str]) -> Difference | None:
    for number in range(max(len(step.effects), len(replayed))):
        was = step.effects[number] if number < len(step.effects) else None
        now = replayed[number] if number < len(replayed) else None
        if was != now:
            return Difference(step.line + 1 + number, was, now)
    return None
