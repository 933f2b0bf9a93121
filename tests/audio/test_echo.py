"""What is taken for the agent's own voice, and how loud that has been."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.echo import FAINTEST_ECHO, LOUDEST_ECHO, Echo, Greatest, Origin, Playing
from pipeline.audio.mulaw import FRAME, loudness, silence

AGENT = 10_000


def told(level: int, count: int, *, voiced: bool) -> Echo:
    echo = Echo()
    for _ in range(count):
        echo.judge(level, AGENT, voiced=voiced)
    return echo


def test_a_line_is_suspected_until_it_was_heard_for_a_while() -> None:
    assert Echo().suspected
    assert told(50, 31, voiced=False).suspected
    assert not told(50, 32, voiced=False).suspected


def test_an_echo_is_found_only_where_the_line_was_heard_for_a_while() -> None:
    assert not told(1_000, 31, voiced=True).found
    assert told(1_000, 32, voiced=True).found
    assert not told(50, 60, voiced=False).found


def test_a_line_that_speaks_softly_under_the_agent_has_an_echo() -> None:
    echo = told(1_000, 60, voiced=True)
    assert echo.suspected
    assert echo.limit == LOUDEST_ECHO
    assert echo.judge(1_000, AGENT, voiced=True) is Origin.EITHER
    assert echo.judge(400, AGENT, voiced=True) is Origin.ECHO
    assert echo.judge(1_300, AGENT, voiced=True) is Origin.CALLER


def test_a_quiet_line_lowers_the_limit_but_never_to_nothing() -> None:
    assert told(5, 60, voiced=False).limit == FAINTEST_ECHO
    assert told(600, 60, voiced=False).limit == pytest.approx(1.4 * 0.06)


def test_a_loud_caller_does_not_make_an_echo() -> None:
    echo = told(20, 60, voiced=False)
    for _ in range(60):
        assert echo.judge(9_000, AGENT, voiced=True) is Origin.CALLER
    assert not echo.suspected
    assert echo.limit == LOUDEST_ECHO


def test_an_echo_that_ends_is_forgotten() -> None:
    echo = told(1_000, 200, voiced=True)
    for _ in range(104):
        echo.judge(20, AGENT, voiced=False)
    assert not echo.suspected
    assert echo.limit == FAINTEST_ECHO


def test_a_voice_does_not_raise_its_own_limit() -> None:
    echo = told(20, 60, voiced=False)
    assert [echo.judge(400, AGENT, voiced=True) for _ in range(8)] == [Origin.CALLER] * 8


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=60), st.integers(0, 12))
def test_the_greatest_of_a_stretch_is_found_without_looking_at_all_of_it(
    steps: list[tuple[int, int]], stretch: int
) -> None:
    greatest, place, noted = Greatest(), 0, list[tuple[int, int]]()
    for further, value in steps:
        place += further
        greatest.note(place, value)
        noted.append((place, value))
        since = place - stretch
        assert greatest.since(since) == max(value for at, value in noted if at >= since)
    assert greatest.since(place + 1) == 0


# -- what plays ----------------------------------------------------------------------------

LOUD, SOFT = b"\x80" * FRAME, b"\xd0" * FRAME


def test_silence_is_nothing() -> None:
    playing = Playing()
    assert playing.loudest(0) == 0
    playing.play(0, silence(200))
    assert playing.loudest(100) == 0


def test_sound_counts_from_when_it_plays_until_it_can_come_back_no_more() -> None:
    playing = Playing()
    playing.play(100, SOFT * 5)
    playing.play(100, LOUD * 5)  # queued behind: plays from 200 to 300
    assert playing.loudest(99) == 0
    assert playing.loudest(100) == playing.loudest(199) == loudness(SOFT)
    assert playing.loudest(200) == playing.loudest(750) == loudness(LOUD)
    assert playing.loudest(850) == 0


def test_what_was_cleared_is_not_heard() -> None:
    playing = Playing()
    playing.play(0, SOFT * 5)
    playing.play(0, LOUD * 5)
    playing.cut(50)
    assert playing.loudest(150) == loudness(SOFT)
    playing.play(60, LOUD)
    assert playing.loudest(60) == loudness(LOUD)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3_000), st.booleans()), max_size=20))
def test_never_louder_than_what_was_played(steps: list[tuple[int, int, bool]]) -> None:
    playing, now = Playing(), 0
    for wait, size, cut in steps:
        now += wait
        if cut:
            playing.cut(now)
        playing.play(now, SOFT[:1] * size)
        assert playing.loudest(now) in (0, loudness(SOFT))
