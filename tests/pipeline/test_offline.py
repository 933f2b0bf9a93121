"""A whole call from a caller's recording: handset, journal and WAV, faster than real time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips import Clips
from pipeline.clock import Clock, real_seconds, run_virtual
from pipeline.core import effects as fx
from pipeline.core.events import AudioQueued, CallStarted, MarkReached
from pipeline.core.terms import EndReason
from pipeline.journal_file import NoJournal, read_lines, steps
from pipeline.offline import AFTER_S, Aside, Handset, run_call
from pipeline.replay import replay
from pipeline.runner import LiveCall
from tests.core.story import PHRASES, started
from tests.pipeline.rig import Stage, line, speech
from tests.pipeline.test_recorder import sides


def call(tmp_path: Path, caller: bytes, stage: Stage) -> Aside:
    journal, wav = tmp_path / "1.journal", tmp_path / "1.wav"
    run = run_call(stage.start, caller, stage.engines(), voice="nora", journal=journal, wav=wav)
    return run_virtual(run)


STORY = Stage(hears=["What is new?"], answers=["Not much."])


def test_a_recorded_caller_is_greeted_heard_and_answered(tmp_path: Path) -> None:
    aside = call(tmp_path, line(4.0, speech(1.0), 3.0), STORY)
    assert [(turn.role, turn.text) for turn in aside.turns[:3]] == [
        ("agent", f"{PHRASES.disclosure} {PHRASES.greeting}"),
        ("caller", "What is new?"),
        ("agent", "Not much."),
    ]
    assert aside.ended is not None


def test_its_journal_replays_exactly_and_its_sound_is_where_it_was(tmp_path: Path) -> None:
    aside = call(tmp_path, line(4.0, speech(1.0), 3.0), STORY)
    lines = read_lines(tmp_path / "1.journal")
    assert replay(lines).exact
    left, right = sides(tmp_path / "1.wav")
    assert aside.ended is not None
    assert abs(len(left) / 8_000 - aside.ended.seconds) <= 1
    assert abs(left[:31_000]).max() < 200 < abs(left[32_500:39_500]).min()
    assert abs(right[:8_000]).max() > 2_000, "the greeting begins at once"
    answer = (
        next(
            event.at
            for event in (step.event for step in steps(lines))
            if isinstance(event, AudioQueued) and event.utterance == 3
        )
        - 2_000
    )
    assert abs(right[answer * 8 - 1_600 : answer * 8 - 160]).max() < 200
    assert abs(right[answer * 8 + 200 : answer * 8 + 1_800]).max() > 2_000


def test_it_takes_far_less_than_its_own_time(tmp_path: Path) -> None:
    begun = real_seconds()
    aside = call(
        tmp_path, line(4.0, line(speech(1.0), 5.0) * 10), Stage(hears=["Go on."] * 10, answers=["So."] * 10)
    )
    assert aside.ended is not None
    assert aside.ended.seconds > 60
    assert real_seconds() - begun < 20


def test_the_caller_hangs_up_some_time_after_the_recording_ends(tmp_path: Path) -> None:
    stage = Stage(start=started(), hears=["Hi."], answers=["Hello, " + "and so on, " * 60])
    aside = call(tmp_path, line(4.0, speech(1.0)), stage)
    assert aside.ended is not None
    assert aside.ended.reason is EndReason.CALLER_HUNG_UP
    assert aside.ended.seconds == 5 + AFTER_S


def test_an_agent_that_hangs_up_first_ends_it(tmp_path: Path) -> None:
    aside = call(tmp_path, line(60.0), Stage())
    assert aside.ended is not None
    assert aside.ended.reason is EndReason.IDLE


def test_it_is_the_same_call_every_time(tmp_path: Path) -> None:
    for name in "ab":
        call(
            tmp_path / name, line(4.0, speech(1.0), 3.0), Stage(hears=["What is new?"], answers=["Not much."])
        )
    assert (tmp_path / "a/1.journal").read_bytes() == (tmp_path / "b/1.journal").read_bytes()
    assert (tmp_path / "a/1.wav").read_bytes() == (tmp_path / "b/1.wav").read_bytes()


# -- the handset ---------------------------------------------------------------------------


class MarkedCall(LiveCall):
    """Notes the marks it is told of; nothing of it runs."""

    def __init__(self, start: CallStarted, handset: Handset, clock: Clock) -> None:
        super().__init__(
            start,
            voice="nora",
            engines=Stage().engines(),
            clips=Clips(),
            clock=clock,
            journal=NoJournal(),
            outside=Aside(handset),
        )
        self.marks: list[int] = []

    def played(self, chunk: int) -> None:
        self.marks.append(chunk)


ORDERS = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.integers(0, 4_000)),
        st.tuples(st.just("wait"), st.integers(0, 1_000)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=30,
)


@given(orders=ORDERS)
def test_marks_come_back_in_order_and_not_before_their_sound_was_played(
    orders: list[tuple[str, int]],
) -> None:
    async def main() -> None:
        clock = Clock()
        handset = Handset(clock)
        handset.tick()
        handset.call = call = MarkedCall(started(), handset, clock)
        due: dict[int, float] = {}
        free, number = 0.0, 0
        for what, size in orders:
            if what == "play":
                number += 1
                free = max(free, clock.seconds()) + size / 8_000
                due[number] = free
                handset.play(number, b"\x10" * size)
            elif what == "wait":
                await asyncio.sleep(size / 1_000)
                handset.tick()
            else:
                handset.clear()
                free = 0.0
                due = dict.fromkeys(due, 0.0)
                assert call.marks == list(range(1, number + 1)), "a clear returns all of them at once"
            assert call.marks == list(range(1, len(call.marks) + 1))
            assert all(due[mark] <= clock.seconds() + 1e-9 for mark in call.marks)

    run_virtual(main())


def test_a_played_call_hears_its_marks_when_the_sound_is_over(tmp_path: Path) -> None:
    call(tmp_path, line(4.0), Stage())
    events = [step.event for step in steps(read_lines(tmp_path / "1.journal"))]
    queued = {event.chunk: event for event in events if isinstance(event, AudioQueued)}
    for event in events:
        if isinstance(event, MarkReached):
            assert event.at >= queued[event.chunk].at + queued[event.chunk].ms


def test_what_is_said_aside_is_kept() -> None:
    aside = Aside(Handset(Clock()))
    turn = fx.TurnTaken(0, "caller", "Hi.", started().at, started().at)
    aside.happened(started(), [fx.Listen(), turn])
    assert (aside.turns, aside.ended) == ([turn], None)
