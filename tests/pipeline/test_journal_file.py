"""The journal on disk: append only, a checksum a line, readable after the worst."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.effects import Charge, Effect, Say
from pipeline.core.errors import JournalError
from pipeline.core.events import ReplyPiece, Tick
from pipeline.core.journal import effect_line, event_line
from pipeline.core.money import Millis, Nanos
from pipeline.journal_file import (
    JournalFile,
    NoJournal,
    Step,
    frame,
    mend,
    part_name,
    parts,
    read_lines,
    steps,
)

TICK = Tick(Millis(5))
SAY = Say(1, "Hé 🙂")
CHARGE = Charge(1, "stt:ear:second", 0, 1, Nanos(108_334), 0)


def written(path: Path, *happened: tuple[Tick | ReplyPiece, list[Effect]]) -> Path:
    journal = JournalFile(path)
    for event, effects in happened:
        journal.append(event, effects)
    journal.close()
    return path


def test_what_was_written_is_read_back_step_by_step(tmp_path: Path) -> None:
    path = written(tmp_path / "calls" / "1.journal", (TICK, [SAY, CHARGE]), (Tick(Millis(9)), []))
    lines = read_lines(path)
    assert lines == [
        event_line(TICK),
        effect_line(SAY),
        effect_line(CHARGE),
        event_line(Tick(Millis(9))),
    ]
    assert list(steps(lines)) == [
        Step(1, TICK, (effect_line(SAY), effect_line(CHARGE))),
        Step(4, Tick(Millis(9)), ()),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_step_is_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "1.journal")
    journal.append(TICK, [SAY])
    assert len(read_lines(journal.path)) == 2
    journal.close()


def test_a_file_opened_again_is_continued(tmp_path: Path) -> None:
    path = written(tmp_path / "1.journal", (TICK, []))
    assert len(read_lines(written(path, (TICK, [])))) == 2


def test_only_money_asks_for_the_disk(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "1.journal")
    owed = []
    for effects in ([SAY], [CHARGE], []):
        journal.append(TICK, [*effects])
        owed.append(journal.owes_sync)
    for _ in range(2):
        journal.sync()
        owed.append(journal.owes_sync)
    journal.close()
    assert owed == [False, True, True, False, False]


def test_a_closed_journal_takes_no_more(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "1.journal")
    journal.close()
    journal.close()
    journal.sync()
    with pytest.raises(ValueError, match="closed"):
        journal.append(TICK, [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_told() -> None:
    journal = JournalFile(Path("/dev/full"))
    with pytest.raises(OSError, match="space"):
        journal.append(TICK, [CHARGE])
    journal.close()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "1.journal", (TICK, [SAY]))
    whole = path.read_bytes()
    last = len(frame(effect_line(SAY)))
    for torn in range(1, last):
        path.write_bytes(whole[:-torn])
        assert read_lines(path) == [event_line(TICK)]
    path.write_bytes(whole[:-last])
    assert read_lines(path) == [event_line(TICK)]


def test_a_torn_file_is_mended_and_can_be_continued(tmp_path: Path) -> None:
    path = written(tmp_path / "1.journal", (TICK, [SAY, CHARGE]))
    whole = path.read_bytes()
    for kept in range(len(whole) + 1):
        path.write_bytes(whole[:kept])
        mend(path)
        assert whole.startswith(path.read_bytes())
        known = read_lines(path)
        complete = [event_line(TICK), effect_line(SAY), effect_line(CHARGE)]
        assert known == complete[: whole[:kept].count(b"\n")]
        mend(path, complete[len(known) :])
        assert path.read_bytes() == whole
        assert len(read_lines(written(path, (TICK, [])))) == 4


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "1.journal", (TICK, [SAY, CHARGE]))
    damaged = path.read_bytes().replace(b'"utterance":1', b'"utterance":2')
    path.write_bytes(damaged)
    with pytest.raises(JournalError, match=r"1\.journal: line 2 is damaged"):
        read_lines(path)


@pytest.mark.parametrize("content", [b"RIFF....WAVE", b"x\n", b"\n", b"00000000\n"])
def test_another_file_is_no_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    if content == b"00000000\n":  # the checksum of nothing: a line, but an empty one
        with pytest.raises(JournalError):
            list(steps(read_lines(path)))
        return
    with pytest.raises(JournalError):
        read_lines(path)


def test_a_line_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    path.write_bytes(b"ff000000 \xff\n")
    with pytest.raises(JournalError, match="line 1"):
        read_lines(path)


def test_an_empty_file_holds_no_steps(tmp_path: Path) -> None:
    path = written(tmp_path / "1.journal")
    assert list(steps(read_lines(path))) == []


def test_steps_begin_with_an_event() -> None:
    with pytest.raises(JournalError):
        list(steps([effect_line(SAY)]))


def test_half_an_emoji_does_not_take_the_call_down(tmp_path: Path) -> None:
    piece = ReplyPiece(Millis(5), 1, "\ud83d")
    path = written(tmp_path / "1.journal", (piece, []))
    assert [step.event for step in steps(read_lines(path))] == [piece]


def test_no_journal_takes_everything() -> None:
    sink = NoJournal()
    sink.append(TICK, [CHARGE])


@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_one_wrong_byte_never_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    data = b"".join(frame(line) for line in (event_line(TICK), effect_line(SAY), event_line(TICK)))
    place %= len(data)
    path = tmp_path_factory.getbasetemp() / "damaged.journal"
    path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
    original = [event_line(TICK), effect_line(SAY), event_line(TICK)]
    try:
        lines = read_lines(path)
    except JournalError:
        return
    assert lines == original[: len(lines)]


def test_what_could_not_be_synced_is_still_owed_and_the_file_is_closed_all_the_same() -> None:
    """The null device takes everything and syncs nothing."""
    sink = JournalFile(Path("/dev/null"))
    sink.append(TICK, [CHARGE])
    with pytest.raises(OSError, match="Invalid argument"):
        sink.sync()
    assert sink.owes_sync
    with pytest.raises(OSError, match="Invalid argument"):
        sink.close()
    with pytest.raises(ValueError, match="closed"):
        sink.append(TICK, [])


def test_the_parts_of_a_call_are_found_in_the_order_of_their_epochs(tmp_path: Path) -> None:
    assert parts(tmp_path, "a") == []
    names = ["a.journal", "a.2.journal", "a.10.journal"]
    for name in (*names, "a.x.journal", "a.3.wav", "b.4.journal"):
        (tmp_path / name).touch()
    assert [path.name for path in parts(tmp_path, "a")] == names
    assert [path.name for path in parts(tmp_path, "a", ".wav")] == ["a.3.wav"]
    assert [part_name("a", epoch) for epoch in (1, 2)] == ["a", "a.2"]
