"""Sound waits for its probability: each window with what was fed, and how loud the agent was then."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio.windows import KEPT, WINDOW_BYTES, Windows


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
