"""The recording: who is on which side, when, how much is left after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from structlog.testing import capture_logs

from pipeline.audio import mulaw
from pipeline.recorder import BEHIND, FLUSH_BYTES, FRAME_BYTES, HEADER, RecordedLine, Recorder

CALLER = b"\x20"
AGENT = b"\x9a"
QUIET = b"\xff"


def sides(path: Path) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return samples[:, 0], samples[:, 1]


def await_written(recorder: Recorder, samples: int) -> None:
    """Until the header counts so many: the thread writes soon."""
    for _ in range(10_000):
        with recorder.path.open("rb") as file:
            if int.from_bytes(file.read(HEADER.size)[-4:], "little") >= FRAME_BYTES * samples:
                return
        threading.Event().wait(0.001)
    raise AssertionError("it is not written")


def expect(path: Path, left: bytes, right: bytes) -> None:
    found_left, found_right = sides(path)
    assert np.array_equal(found_left, mulaw.decode(left))
    assert np.array_equal(found_right, mulaw.decode(right))


def test_the_person_is_left_and_the_agent_right_where_it_is_played(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "calls" / "1.wav")
    recorder.caller(CALLER * 1_600)
    recorder.agent(AGENT * 800)
    recorder.agent(AGENT * 800)
    recorder.caller(CALLER * 4_000)
    recorder.agent(AGENT * 400)
    recorder.caller(CALLER * 800)
    recorder.close()
    expect(
        recorder.path,
        CALLER * 6_400,
        QUIET * 1_600 + AGENT * 1_600 + QUIET * 2_400 + AGENT * 400 + QUIET * 400,
    )


def test_clear_takes_back_what_was_not_played(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    recorder.agent(AGENT * 16_000)
    recorder.caller(CALLER * 4_000)
    recorder.cleared()
    recorder.caller(CALLER * 4_000)
    recorder.agent(AGENT * 800)
    recorder.cleared()
    recorder.close()
    expect(recorder.path, CALLER * 8_000, AGENT * 4_000 + QUIET * 4_000)


def test_what_was_sent_but_never_played_is_not_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    recorder.caller(CALLER * 100)
    recorder.agent(AGENT * 5_000)
    recorder.caller(CALLER * 100)
    recorder.close()
    expect(recorder.path, CALLER * 200, QUIET * 100 + AGENT * 100)


def test_the_time_without_a_line_is_silent_on_both_sides(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    recorder.caller(CALLER * 800)
    recorder.agent(AGENT * 8_000)
    recorder.gap(6_000)
    recorder.gap(-3)
    recorder.agent(AGENT * 800)
    recorder.caller(CALLER * 1_600)
    recorder.close()
    expect(
        recorder.path,
        CALLER * 800 + QUIET * 48_000 + CALLER * 1_600,
        QUIET * 48_800 + AGENT * 800 + QUIET * 800,
    )


def test_sound_sent_ahead_stays_in_place_across_a_flush(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    recorder.caller(CALLER * (FLUSH_BYTES - 100))
    recorder.agent(AGENT * 1_000)
    recorder.caller(CALLER * 200)
    recorder.caller(CALLER * 2_000)
    recorder.close()
    length = FLUSH_BYTES + 2_100
    right = QUIET * (FLUSH_BYTES - 100) + AGENT * 1_000
    expect(recorder.path, CALLER * length, right + QUIET * (length - len(right)))


def test_a_long_call_is_on_the_disk_as_it_goes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    for second in range(1, 61):
        recorder.caller(CALLER * 8_000)
        recorder.agent(AGENT * 8_000)
        await_written(recorder, second * 8_000 // FLUSH_BYTES * FLUSH_BYTES)
    assert len(sides(recorder.path)[0]) == 60 * 8_000 // FLUSH_BYTES * FLUSH_BYTES
    recorder.close()
    assert len(sides(recorder.path)[0]) == 60 * 8_000


def test_an_empty_recording_is_a_wav_too(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    recorder.close()
    recorder.close()
    expect(recorder.path, b"", b"")


def test_a_recording_is_private(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "1.wav")
    recorder.close()
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600


KILLED = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from pipeline.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]))
for _ in range(13 * 50):
    recorder.caller(b"\\x20" * 160)
while int.from_bytes(recorder.path.read_bytes()[40:44], "little") < 4 * 10 * 8_000:
    os.sched_yield()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_header_counts_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "1.wav"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -signal.SIGKILL
    left, right = sides(path)
    assert len(left) == len(right) == 10 * 8_000
    assert path.stat().st_size == 44 + 4 * len(left)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    path = tmp_path / "1.wav"
    path.symlink_to("/dev/full")
    recorder = Recorder(path)
    for _ in range(5):
        recorder.caller(CALLER * FLUSH_BYTES)
        recorder.agent(AGENT * FLUSH_BYTES)
    recorder.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_disk_that_hangs_holds_up_neither_call_nor_memory(tmp_path: Path) -> None:
    """A pipe that nobody reads takes 64 KiB and then keeps its writer waiting."""
    path = tmp_path / "1.wav"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with capture_logs() as told:
        recorder = Recorder(path)
        for _ in range(BEHIND + 5):
            recorder.caller(CALLER * FLUSH_BYTES)
        assert [entry["event"] for entry in told] == ["recording_lost"]
        os.close(reader)  # now writing fails, and the thread ends
        recorder.close()
    assert len(told) == 1


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "calls").write_bytes(b"")
    with pytest.raises(OSError, match=r"calls"):
        Recorder(tmp_path / "calls" / "1.wav")


class Noted:
    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes] | str] = []

    def play(self, chunk: int, mulaw: bytes) -> None:
        self.seen.append((chunk, mulaw))

    def clear(self) -> None:
        self.seen.append("clear")

    async def close(self) -> None:
        self.seen.append("close")


async def test_a_recorded_line_hands_on_what_it_records(tmp_path: Path) -> None:
    recorder, noted = Recorder(tmp_path / "1.wav"), Noted()
    line = RecordedLine(noted, recorder)
    line.play(7, AGENT * 160)
    recorder.caller(CALLER * 80)
    line.clear()
    recorder.caller(CALLER * 80)
    await line.close()
    recorder.close()
    assert noted.seen == [(7, AGENT * 160), "clear", "close"]
    expect(recorder.path, CALLER * 160, AGENT * 80 + QUIET * 80)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("caller"), st.integers(0, 30_000)),
        st.tuples(st.just("agent"), st.integers(0, 30_000)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_both_sides_are_as_long_as_the_person_was_heard(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against the plain meaning: an endless right side that is written ahead and cut back."""
    recorder = Recorder(tmp_path_factory.getbasetemp() / f"{os.getpid()}.wav")
    left, right = 0, b""
    for what, size in steps:
        if what == "caller":
            recorder.caller(CALLER * size)
            left += size
        elif what == "agent":
            recorder.agent(AGENT * size)
            right = right.ljust(left, QUIET) + AGENT * size
        else:
            recorder.cleared()
            right = right[:left]
    recorder.close()
    expect(recorder.path, CALLER * left, right[:left].ljust(left, QUIET))
