"""`callmeback replay`: a journal exactly, or the line that differs; a WAV through today's engines."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import mulaw
from pipeline.core.effects import Say
from pipeline.core.journal import effect_line, is_effect
from pipeline.journal_file import SUFFIX, frame, read_lines
from pipeline.replay import replay
from server.commands.replaying import main
from tests.golden import CALLS
from tests.pipeline.rig import Pages, Stage, act, line, speech
from tests.pipeline.test_conducted import TALK, Recorded, engines


def run(file: Path, *, timeline: bool = False, persona: str = "sarah", out: Path | None = None) -> int:
    return main(file, timeline=timeline, persona=persona, engines="scripted", out=out)


def journal(path: Path, lines: list[str]) -> Path:
    path.write_bytes(b"".join(map(frame, lines)))
    return path


def telephone(path: Path, sound: bytes, rate: int = 8_000) -> Path:
    """A linear WAV of the caller, as any recorder writes it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(mulaw.decode(sound), rate // 8_000).astype("<i2").tobytes())
    return path


# -- journals ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CALLS.glob(f"*{SUFFIX}")), ids=lambda path: path.stem)
def test_an_exact_journal_is_0_and_says_how_fast(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path) == 0
    told = capsys.readouterr().out
    assert told.startswith("exact: ")
    assert "× real time" in told


def test_a_tampered_journal_is_1_and_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = read_lines(CALLS / f"interrupted{SUFFIX}")
    at = next(index for index, one in enumerate(lines) if is_effect(one) and '"Say"' in one)
    was, lines[at] = lines[at], effect_line(Say(1, "Something [b]else[/b]."))
    assert run(journal(tmp_path / f"1{SUFFIX}", lines)) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"differs at line {at + 1}; everything after it is stale",
        f"  recorded: {lines[at]}",
        f"  replayed: {was}",
    ]


def test_a_missing_effect_is_told_as_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = read_lines(CALLS / f"interrupted{SUFFIX}")
    at = next(index for index, one in enumerate(lines) if '"AskReply"' in one)
    assert run(journal(tmp_path / f"1{SUFFIX}", [*lines[:at], *lines[at + 1 :]])) == 1
    assert (
        f"differs at line {at + 1}; everything after it is stale\n  recorded: nothing"
        in capsys.readouterr().out
    )


def test_a_damaged_journal_is_1_and_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray((CALLS / f"budget{SUFFIX}").read_bytes())
    data[data.index(b"\n") + 15] ^= 1
    (tmp_path / f"1{SUFFIX}").write_bytes(data)
    assert run(tmp_path / f"1{SUFFIX}") == 1
    assert "line 2 is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["E [/]", 'E {"type":"[/red]"}', "[/]"])
def test_a_foreign_line_is_refused_without_being_repeated(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal holds what was said; what looks like the screen's own markup does no harm either."""
    assert run(journal(tmp_path / f"1{SUFFIX}", [content])) == 1
    told = capsys.readouterr().out
    assert "line" in told
    assert content[2:] not in told


def test_a_timeline_shows_words_as_they_were_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(hears=["What [/] now?"], answers=["Not much."], stays=3.0, pages=Pages())
    path = journal(tmp_path / f"1{SUFFIX}", act(stage, line(4.0, speech(1.0), 4.0)).lines)
    assert run(path, timeline=True) == 0
    told = capsys.readouterr().out
    assert "What [/] now?" in told
    assert "says: Not much." in told
    assert "0:02.000" in told


def test_a_file_that_is_not_there_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / f"none{SUFFIX}") == 1
    assert run(tmp_path / "none.wav") == 1
    assert capsys.readouterr().out.count("No such file") == 2


# -- recordings --------------------------------------------------------------------------


def test_a_wav_goes_through_the_engines_and_leaves_an_exact_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = telephone(tmp_path / "caller.wav", line(14.0, speech(1.0), 4.0), rate=16_000)
    assert run(file, out=tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "caller  Hello." in told
    assert "That is turn one. Please go on." in told
    assert "ended: caller_hung_up" in told
    written = tmp_path / "out" / f"caller-replayed{SUFFIX}"
    assert replay(read_lines(written)).exact
    assert (tmp_path / "out" / "caller-replayed.wav").stat().st_size > 32_000 * 19
    assert run(written) == 0
    assert capsys.readouterr().out.startswith("exact: ")


def test_a_recording_replayed_twice_is_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = telephone(tmp_path / "caller.wav", line(3.0))
    for _ in range(2):
        assert run(file) == 0
    assert replay(read_lines(tmp_path / f"caller-replayed{SUFFIX}")).exact


def test_an_unknown_persona_is_told_who_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(telephone(tmp_path / "caller.wav", line(1.0)), persona="nobody") == 1
    told = capsys.readouterr().out
    assert "'nobody'" in told
    assert "sarah" in told


def test_what_is_no_wav_is_told_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "caller.mp3").write_bytes(b"ID3 and so on, and so on, and so on")
    assert run(tmp_path / "caller.mp3") == 1
    assert "caller.mp3 is no WAV file" in capsys.readouterr().out


# -- with the sound -----------------------------------------------------------------------


def test_a_recorded_call_repeats_its_sound_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Recorded(tmp_path, TALK, engines())
    again = tmp_path / "again"
    again.mkdir()
    assert run(tmp_path / f"call{SUFFIX}", out=again) == 0
    told = [text for text in capsys.readouterr().out.splitlines() if text.startswith("exact")]
    decisions, sound = told
    assert decisions.startswith("exact: ")
    assert sound.startswith("exact with sound, offline: ")
    with wave.open(str(again / "call-replayed.wav")) as file:
        assert file.getnchannels() == 2
        assert file.getnframes() > 8_000 * 20


def test_sound_that_differs_is_1_and_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Recorded(tmp_path, TALK, engines())
    traffic = tmp_path / "call.traffic"
    lines = [
        text.replace('"is":"wrote","of":1,"text":"', '"is":"wrote","of":1,"text":"Oh, ')
        for text in read_lines(traffic)
    ]
    traffic.write_bytes(b"".join(map(frame, lines)))
    assert run(tmp_path / f"call{SUFFIX}") == 1
    told = capsys.readouterr().out
    assert "differs at line" in told
    assert "Oh, " in told


@pytest.mark.parametrize("kept", [0, 1, 20, -1])
def test_traffic_that_was_given_up_ends_the_replay_at_level_1(
    kept: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full or slow disk, or a killed process: nothing differs, there is only less to go by."""
    Recorded(tmp_path, TALK, engines())
    traffic = tmp_path / "call.traffic"
    traffic.write_bytes(b"".join(map(frame, read_lines(traffic)[:kept])))
    assert run(tmp_path / f"call{SUFFIX}") == 0
    told = capsys.readouterr().out.splitlines()[-2:]
    assert told[0].startswith("exact: ")
    assert told[1:] == ["the engines' traffic is incomplete: replay ends at level 1"]


def test_traffic_of_an_older_version_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a first line and a last one."""
    Recorded(tmp_path, TALK, engines())
    traffic = tmp_path / "call.traffic"
    traffic.write_bytes(b"".join(map(frame, read_lines(traffic)[1:-1])))
    assert run(tmp_path / f"call{SUFFIX}") == 0
    assert "exact with sound, offline: " in capsys.readouterr().out


def test_damaged_traffic_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Recorded(tmp_path, TALK, engines())
    (tmp_path / "call.traffic").write_bytes(b"12345678 {}\n")
    assert run(tmp_path / f"call{SUFFIX}") == 1
    assert "damaged" in capsys.readouterr().out
