"""What a replay of a recorded call comes to, in figures and in one sentence: for a script, and for the console."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.conducted import replay_call
from pipeline.journal_file import read_lines
from pipeline.replay import Difference, replay
from pipeline.traffic import SUFFIX as TRAFFIC
from pipeline.traffic import complete
from pipeline.traffic import read as read_traffic


@dataclass(frozen=True, slots=True)
class Verdict:
    """`level` 1: every decision; 2: the sound as well, made anew from what caller and engines gave.

    `seconds` is the length of what was replayed, `first_difference` the line of the journal that is not as recorded.
    """

    exact: bool
    level: Literal[1, 2]
    steps: int
    seconds: float
    summary: str
    first_difference: str | None


def verdict(journal: Path) -> Verdict:
    """Replays one journal as far as it can be. Raises `JournalError`, `OSError`."""
    lines = read_lines(journal)
    result = replay(lines)
    seconds = result.millis / 1000
    if result.difference is not None:
        return _differs(1, result.steps, seconds, result.difference)
    decided = Verdict(
        True,
        1,
        result.steps,
        seconds,
        f"exact: all {result.steps} steps of {seconds:.0f} s are decided as then.",
        None,
    )
    traffic = journal.with_suffix(TRAFFIC)
    if not traffic.exists():
        return decided
    facts = read_traffic(traffic)
    if not complete(facts):
        return decided
    again = replay_call(lines, facts)
    if again.replay.difference is not None:
        return _differs(2, again.replay.steps, seconds, again.replay.difference)
    spoken = len(again.sound) / 8000
    summary = (
        f"exact, sound included: all {result.steps} steps of {seconds:.0f} s are decided as then, and the same "
        f"{spoken:.0f} s of speech come out."
    )
    return Verdict(True, 2, result.steps, seconds, summary, None)


def _differs(level: Literal[1, 2], steps: int, seconds: float, difference: Difference) -> Verdict:
    said = f"recorded: {difference.recorded or 'nothing'}; now: {difference.replayed or 'nothing'}"
    summary = (
        f"differs at line {difference.line} of the journal, after {steps} steps; what follows is stale. "
        "The server is another version than the one that was on the call."
    )
    return Verdict(False, level, steps, seconds, summary, f"line {difference.line}: {said}")
