"""What a call writes to: its journal, and where calls are recorded the sound and the engines' traffic."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.journal_file import SUFFIX, JournalFile, part_name
from pipeline.recorder import Recorder
from pipeline.traffic import SUFFIX as TRAFFIC
from pipeline.traffic import Tape
from server.settings import Settings
from storage.records import CallRow


@dataclass(frozen=True, slots=True)
class Files:
    journal: JournalFile
    recorder: Recorder | None = None
    tape: Tape | None = None


def open_files(settings: Settings, clock: Clock, row: CallRow, opened: ExitStack) -> Files:
    """New files for this process's part of the call; `opened` closes them. Raises `OSError`, with all closed."""
    name = part_name(row.id, row.epoch)
    folder = settings.calls_dir
    journal = JournalFile(folder / f"{name}{SUFFIX}")
    opened.callback(journal.close)
    if not settings.record_calls:
        return Files(journal)
    recorder = Recorder(folder / f"{name}.wav")
    opened.callback(recorder.close)
    tape = Tape(folder / f"{name}{TRAFFIC}", clock)
    opened.callback(tape.close)
    return Files(journal, recorder, tape)
