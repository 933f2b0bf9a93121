"""Sound waits for its probability: each window with what was fed, and how loud the agent was then."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.windows import KEPT, PATIENCE, WINDOW_BYTES, Windows


def counted(start: int = 1) -> Iterator[int]:
    while True:
        yield start
        start += 1


@given(st.lists(st.integers(0, 900), max_size=30))
def test_windows_are_the_sound_in_order_whatever_the_frames(sizes: list[int]) -> None:
    sound = bytes(index % 251 for index in range(sum(sizes)))
    windows, taken, fed = Windows(), b"", 0
    for size in sizes:
        windows.feed(sound[fed : fed + size], lambda: 0)
        fed += size
    for _ in range(len(sound) // WINDOW_BYTES):
        window, _ = windows.take()
        assert len(window) == WINDOW_BYTES
        taken += window
    assert taken == sound[: len(taken)]
    assert windows.take() == (b"", 0), "what makes no whole window waits for more"


def test_the_agent_is_as_loud_as_when_the_window_was_full() -> None:
    windows, loudness = Windows(), counted()
    for _ in range(4):
        windows.feed(b"\xff" * 160, lambda: next(loudness))
    assert [windows.take()[1] for _ in range(2)] == [1, 2], "asked once a window"


def test_probabilities_that_come_late_find_their_own_sound() -> None:
    windows = Windows()
    for number in range(5):
        windows.feed(bytes([number]) * WINDOW_BYTES, lambda number=number: 100 * number)  # type: ignore[misc]
    assert [windows.take() for _ in range(5)] == [(bytes([n]) * WINDOW_BYTES, 100 * n) for n in range(5)]


def test_a_probability_without_sound_finds_nothing() -> None:
    assert Windows().take() == (b"", 0)


def test_only_so_much_waits() -> None:
    windows = Windows()
    for number in range(KEPT + 3):
        windows.feed(bytes([number % 256]) * WINDOW_BYTES, lambda: 0)
    assert windows.take() == (bytes([3]) * WINDOW_BYTES, 0), "the oldest make room"


# -- to be transcribed -----------------------------------------------------------------------

SPEAKS, SILENT = 5_000, 0
MUTE = bytes([0xFF]) * WINDOW_BYTES


def piece(number: int) -> bytes:
    return bytes([number]) * WINDOW_BYTES


def fed(windows: Windows, sound: bytes, agent: int) -> bytes:
    return windows.feed(sound, lambda: agent)


def judged(windows: Windows, *, echo: bool) -> bytes:
    windows.take()
    return windows.judged(echo=echo)


def test_while_the_agent_is_silent_sound_goes_at_once() -> None:
    windows = Windows()
    for number in range(20):
        frame = bytes([number]) * 160
        assert fed(windows, frame, SILENT) == frame
    assert judged(windows, echo=False) == b"", "and only once"


def test_beside_the_agent_sound_waits_for_its_verdict_and_an_echo_goes_as_silence() -> None:
    windows = Windows()
    assert fed(windows, piece(1), SPEAKS) == piece(1), "nothing of it can have come back yet"
    assert fed(windows, piece(2) + piece(3), SPEAKS) == b""
    assert judged(windows, echo=True) == b""
    assert judged(windows, echo=True) == MUTE
    assert judged(windows, echo=False) == piece(3)


def test_what_waits_is_not_overtaken_when_the_agent_falls_silent() -> None:
    windows = Windows()
    fed(windows, piece(1), SPEAKS)
    assert fed(windows, piece(2) + piece(3)[:100], SILENT) == b""
    judged(windows, echo=False)
    assert judged(windows, echo=True) == piece(2) + piece(3)[:100], "beside a silent agent nothing is an echo"
    assert fed(windows, piece(3)[100:], SILENT) == piece(3)[100:]


def test_a_verdict_that_does_not_come_is_not_waited_for() -> None:
    windows, passed = Windows(), b""
    for number in range(30):
        passed += fed(windows, piece(number), SPEAKS)
    assert len(passed) >= (30 - PATIENCE) * WINDOW_BYTES
    assert passed == b"".join(piece(number) for number in range(30))[: len(passed)]


@given(
    st.lists(st.tuples(st.integers(1, 700), st.booleans(), st.integers(0, 3)), max_size=40),
    st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_what_is_transcribed_does_not_depend_on_when_verdicts_come(
    frames: list[tuple[int, bool, int]], echoes: list[bool]
) -> None:
    sound = bytes(index % 251 for index in range(sum(size for size, _, _ in frames)))
    ways = []
    for prompt in (True, False):
        windows, went, start, count = Windows(), b"", 0, 0
        agents: list[int] = []

        def agent(speaks: bool, agents: list[int] = agents) -> int:
            agents.append(SPEAKS * speaks)
            return agents[-1]

        for size, speaks, verdicts in frames:
            went += windows.feed(sound[start : start + size], lambda speaks=speaks: agent(speaks))  # type: ignore[misc]
            start += size
            waiting = len(agents) - count
            late = max(waiting - PATIENCE + 4, 0)
            for _ in range(waiting if prompt else max(late, min(waiting, verdicts))):
                windows.take()
                went += windows.judged(echo=echoes[count])
                count += 1
        for number in range(count, len(agents)):
            windows.take()
            went += windows.judged(echo=echoes[number])
        ways.append(went)
        assert len(sound) - len(went) < WINDOW_BYTES, "all but what makes no whole window"
        for number in range(len(went) // WINDOW_BYTES):
            window = slice(number * WINDOW_BYTES, (number + 1) * WINDOW_BYTES)
            muted = number > 0 and agents[number - 1] > 0 and agents[number] > 0 and echoes[number]
            assert went[window] == (MUTE if muted else sound[window])
    shorter = min(map(len, ways))
    assert ways[0][:shorter] == ways[1][:shorter]
