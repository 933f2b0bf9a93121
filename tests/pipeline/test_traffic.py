"""The traffic file: complete when it is closed, off the event loop, and never the end of a call."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipeline import traffic
from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.traffic import (
    BEHIND,
    FRAMES,
    VERSION,
    Begun,
    Closed,
    Failed,
    Sound,
    Tape,
    Windows,
    Wrote,
    complete,
    read,
)


class Slow(Clock):
    """Stands still unless it is moved."""

    now = 0

    def millis(self) -> int:  # type: ignore[override]  # a number will do
        return self.now


def pieces(facts: list[traffic.AnyFact]) -> list[tuple[int, bytes]]:
    return [piece for fact in facts if isinstance(fact, Sound) for piece in fact.pieces()]


def test_the_callers_sound_comes_back_as_it_came(tmp_path: Path) -> None:
    """Carriers send 20 ms at a time, but nothing says that they must."""
    clock = Slow()
    tape = Tape(tmp_path / "1.traffic", clock)
    clock.now = 500
    tape.begin()
    sent: list[tuple[int, bytes]] = []
    for number, size in enumerate([160] * 25 + [320, 160, 160, 80, 0, 80] + [160] * 3):
        clock.now += 19 + number % 3
        sound = bytes([number]) * size
        tape.caller(sound)
        sent.append((clock.now - 500, sound))
    tape.close()
    facts = read(tape.path)
    assert pieces(facts) == [piece for piece in sent if piece[1]]
    assert max(len(fact.at_ms) for fact in facts if isinstance(fact, Sound)) == FRAMES


def test_what_has_no_length_is_no_sound(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "1.traffic", Slow())
    tape.caller(b"")
    tape.close()
    assert read(tape.path) == []


def test_a_second_is_written_while_the_call_goes_on(tmp_path: Path) -> None:
    clock = Slow()
    tape = Tape(tmp_path / "1.traffic", clock)
    tape.note(Wrote(1, "one"))
    clock.now = 999
    tape.caller(b"\xff" * 160)
    tape.window(0.5)
    clock.now = 1_000
    tape.note(Wrote(1, "two"))
    assert read_when_written(tape.path, 5) == [
        Begun(VERSION), Wrote(1, "one"), Wrote(1, "two"), Sound([999], b"\xff" * 160), Windows([0.5], []),
    ]  # fmt: skip
    assert not complete(read(tape.path)), "the process may be killed now"
    tape.note(Wrote(1, "three"))
    tape.close()
    assert read(tape.path)[5:] == [Wrote(1, "three"), Closed()]
    assert complete(read(tape.path))


def read_when_written(path: Path, count: int) -> list[traffic.AnyFact]:
    """A thread writes it, soon."""
    for _ in range(2_000):
        if len(facts := read(path) if path.stat().st_size else []) >= count:
            return facts
        threading.Event().wait(0.001)
    raise AssertionError("it was never written")


def test_half_an_emoji_is_kept(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "1.traffic", Slow())
    facts: list[traffic.AnyFact] = [
        Wrote(1, "Well \ud83d"),
        Wrote(1, "\ude00 yes"),
        Failed("mind", 1, True, False, 7),
    ]
    tape.note(facts[0])
    tape.note(facts[1])
    clock_error = EngineError("no", retryable=True)
    tape.note(facts[2])
    tape.failed("mind", 2, clock_error)
    tape.close()
    assert read(tape.path)[1:-1] == [*facts, Failed("mind", 2, True, False, 0, (1, 0))]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk to be had")
def test_a_full_disk_ends_the_taping_and_not_the_call() -> None:
    clock = Slow()
    threads = threading.active_count()
    with capture_logs() as told:
        tape = Tape(Path("/dev/full"), clock)
        for second in range(1, 50):
            clock.now = second * 1_000
            tape.note(Wrote(1, "one"))
        tape.close()
        tape.close()
    assert [entry["event"] for entry in told] == ["traffic_lost"]
    assert threading.active_count() == threads


def test_a_disk_that_hangs_holds_up_neither_call_nor_memory(tmp_path: Path) -> None:
    """A pipe that nobody reads takes 64 KiB and then keeps its writer waiting."""
    path = tmp_path / "1.traffic"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def main() -> None:
        clock = Slow()
        tape = Tape(path, clock)
        for second in range(1, BEHIND + 100):
            clock.now = second * 1_000
            tape.note(Wrote(1, "x" * 100_000 if second == 1 else "x"))
            if second == 10:
                (other := Tape(path, clock)).note(Wrote(1, "x" * 100_000))
                other.finish()
                writing = [thread for thread in threading.enumerate() if thread.name == "traffic"]
                assert len(writing) == 2, "the end of a call waits for no disk"

    with capture_logs() as told:
        run_virtual(main())
        assert [entry["error"] for entry in told] == ["the disk is too slow"]
        os.close(reader)
        for thread in threading.enumerate():
            if thread.name == "traffic":
                thread.join(5)


def test_a_tape_given_up_over_a_slow_disk_does_not_pass_for_whole(tmp_path: Path) -> None:
    """Also when the disk comes round, and in the last flush of a call as well as in its middle."""
    for seconds in (BEHIND + 100, BEHIND + 2):
        path = tmp_path / f"{seconds}.pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        clock = Slow()
        with capture_logs() as told:
            tape = Tape(path, clock)
            for second in range(1, seconds):
                clock.now = second * 1_000
                tape.note(Wrote(1, "x" * 100_000 if second == 1 else "x"))
                if second == 1:
                    select.select([reader], [], [], 5)  # its writer waits by now
            tape.finish()
        assert [entry["event"] for entry in told] == ["traffic_lost"]
        [writing] = [thread for thread in threading.enumerate() if thread.name == "traffic"]
        written = b""
        while writing.is_alive():
            with suppress(BlockingIOError):
                written += os.read(reader, 1_000_000)
        while piece := os.read(reader, 1_000_000):
            written += piece
        os.close(reader)
        (kept := tmp_path / f"{seconds}.traffic").write_bytes(written)
        facts = read(kept)
        assert facts[:2] == [Begun(VERSION), Wrote(1, "x" * 100_000)]
        assert not complete(facts)


def test_a_tape_of_a_call_that_was_given_up_does_not_pass_for_whole(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "1.traffic", Slow())
    tape.note(Wrote(1, "one"))
    tape.finish(whole=False)
    tape.close()
    assert read(tape.path) == [Begun(VERSION), Wrote(1, "one")]
    assert not complete(read(tape.path))


def test_a_tape_of_an_older_version_does_not_say_and_is_taken_for_whole() -> None:
    assert complete([Wrote(1, "one")])
    assert not complete([])


def test_a_call_that_is_never_taped_starts_no_thread(tmp_path: Path) -> None:
    threads = threading.active_count()
    tape = Tape(tmp_path / "1.traffic", Slow())
    tape.close()
    assert threading.active_count() == threads
    assert read(tape.path) == []
