"""The recording of a call that several processes had, as one sound at its times."""

from __future__ import annotations

import io
import itertools
import tempfile
import wave
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core import events as ev
from pipeline.core.money import Millis
from pipeline.journal_file import SUFFIX, JournalFile, part_name
from pipeline.recorder import FRAME_BYTES, HEADER, RATE, Recorder
from pipeline.recording import WAV, Recording, recording

LOUD = (b"\x20", b"\x9a", b"\x10")


def part(folder: Path, epoch: int, begun_ms: int | None, ms: int) -> None:
    """A part of the call: of another sound each, `ms` long, begun at that time by its journal."""
    name = part_name("call", epoch)
    recorder = Recorder(folder / f"{name}{WAV}")
    recorder.caller(LOUD[epoch - 1] * (ms * RATE // 1000))
    recorder.close()
    if begun_ms is not None:
        journal = JournalFile(folder / f"{name}{SUFFIX}")
        journal.append(ev.Answered(Millis(begun_ms - 100)), [])
        journal.append(ev.StreamStarted(Millis(begun_ms)), [])
        journal.append(ev.StreamStarted(Millis(begun_ms + ms)), [])  # the line broke and came back
        journal.close()


def caller(whole: Recording) -> NDArray[np.int16]:
    data = b"".join(whole.read())
    assert len(data) == whole.size
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 0]


def found(folder: Path) -> Recording:
    whole = recording(folder, "call")
    assert whole is not None
    return whole


def at(samples: NDArray[np.int16], ms: int) -> int:
    return int(samples[ms * RATE // 1000])


def test_each_part_is_at_its_time_with_silence_where_nobody_had_the_call(tmp_path: Path) -> None:
    part(tmp_path, 1, 3_000, 2_000)
    part(tmp_path, 2, 9_000, 1_000)
    whole = found(tmp_path)
    samples = caller(whole)
    assert (whole.starts, len(samples)) == (3_000, 7 * RATE)
    one, two = at(samples, 1_000), at(samples, 6_500)
    assert 0 not in (one, two)
    assert one != two
    assert [at(samples, ms) for ms in (0, 1_999, 2_000, 5_999, 6_000, 6_999)] == [one, one, 0, 0, two, two]


def test_who_lost_the_call_and_did_not_know_is_heard_until_it_goes_on(tmp_path: Path) -> None:
    part(tmp_path, 1, 3_000, 5_000)
    part(tmp_path, 2, 6_000, 1_000)
    samples = caller(found(tmp_path))
    assert len(samples) == 4 * RATE
    assert at(samples, 2_999) != at(samples, 3_000)


def test_a_call_of_one_part_is_that_file(tmp_path: Path) -> None:
    part(tmp_path, 1, 3_000, 500)
    assert b"".join(found(tmp_path).read()) == (tmp_path / f"call{WAV}").read_bytes()


def test_a_part_nobody_spoke_in_is_none(tmp_path: Path) -> None:
    """Its process opened the file, and the line never came back."""
    part(tmp_path, 1, 3_000, 500)
    (tmp_path / f"call.2{WAV}").touch()
    assert len(found(tmp_path).pieces) == 1
    (tmp_path / f"call{WAV}").unlink()
    assert recording(tmp_path, "call") is None


def test_without_a_journal_a_part_follows_the_one_before_it(tmp_path: Path) -> None:
    part(tmp_path, 1, None, 1_000)
    part(tmp_path, 2, 9_000, 1_000)
    whole = found(tmp_path)
    assert (whole.starts, len(caller(whole))) == (None, 2 * RATE)
    (tmp_path / f"call{SUFFIX}").write_bytes(b"no journal\n")
    assert found(tmp_path).starts is None


def test_the_last_part_of_three_on_another_machine_leaves_where_it_begins(tmp_path: Path) -> None:
    part(tmp_path, 2, 9_000, 1_000)
    part(tmp_path, 3, 11_000, 1_000)
    assert (found(tmp_path).starts, len(caller(found(tmp_path)))) == (9_000, 3 * RATE)


def test_half_a_frame_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    part(tmp_path, 1, 3_000, 1_000)
    with open(tmp_path / f"call{WAV}", "ab") as file:
        file.write(b"xyz")
    part(tmp_path, 2, 4_000, 1_000)
    assert found(tmp_path).size == HEADER.size + 2 * RATE * FRAME_BYTES


def test_any_range_of_it_is_what_is_there_in_the_whole(tmp_path: Path) -> None:
    part(tmp_path, 1, 3_000, 2_500)
    part(tmp_path, 2, 9_000, 2_500)
    whole = found(tmp_path)
    data = b"".join(whole.read())
    edges, around = (
        (0, HEADER.size, HEADER.size + 80_000, HEADER.size + 192_000, len(data)),
        (-3, 0, 1, 70_000),
    )
    places = sorted({edge + off for edge in edges for off in around if 0 <= edge + off <= len(data)})
    for start, end in itertools.product(places, places):
        assert b"".join(whole.read(start, end)) == data[start:end], (start, end)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(10, 2_000)), min_size=1, max_size=3))
def test_whatever_the_times_the_file_is_whole(parts: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder, begun = Path(made), 1_000
        for epoch, (after, ms) in enumerate(parts, start=1):
            begun += after
            part(folder, epoch, begun, ms)
        whole = found(folder)
        assert len(caller(whole)) == whole.pieces[-1].at + whole.pieces[-1].frames
        begins = [piece.at for piece in whole.pieces]
        assert begins == sorted(begins)
        assert sum(piece.frames for piece in whole.pieces) > 0
