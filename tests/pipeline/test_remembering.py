"""A call that is remembered, through the whole shell: its journal and its sound replay exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.clock import run_virtual
from pipeline.conducted import replay_call
from pipeline.core import effects as fx
from pipeline.core.journal import parse_effect
from pipeline.core.memory import Finding
from pipeline.core.terms import Remember
from pipeline.engines.scripted import Answer
from pipeline.journal_file import read_lines, steps
from pipeline.offline import run_call
from pipeline.replay import replay
from pipeline.traffic import SUFFIX
from pipeline.traffic import read as read_traffic
from tests.core.story import started
from tests.pipeline.rig import Stage, line, speech

START = replace(started(), remember=Remember("2026-11-26"))
CALLER = line(4.0, speech(1.0), 3.0)


def played(tmp_path: Path, *answers: str | Answer) -> tuple[list[str], list[fx.Effect]]:
    journal = tmp_path / "1.journal"
    stage = Stage(start=START, hears=["I have an exam on Monday."], answers=list(answers))
    run_virtual(
        run_call(START, CALLER, stage.engines(), voice="nora", journal=journal, wav=tmp_path / "1.wav")
    )
    lines = read_lines(journal)
    assert replay(lines).exact
    again = replay_call(lines, read_traffic(journal.with_suffix(SUFFIX)))
    assert again.replay.exact, again.replay.difference
    return lines, [parse_effect(effect) for step in steps(lines) for effect in step.effects]


def test_what_is_learned_is_in_the_journal_and_replays(tmp_path: Path) -> None:
    _, effects = played(tmp_path, "Good luck!", "fact | 4 | exam | I have an exam on Monday")
    [learned] = [each for each in effects if isinstance(each, fx.Learned)]
    assert learned.findings == (Finding("fact", "I have an exam on Monday", "exam", 4),)
    assert isinstance(effects[-1], fx.Ended)


def test_a_model_that_fails_then_is_no_trouble(tmp_path: Path) -> None:
    _, effects = played(tmp_path, "Good luck!", Answer("fact | 4 | a | b", fails_after=1))
    assert [each for each in effects if isinstance(each, fx.Unlearned)] == [fx.Unlearned("failed")]
