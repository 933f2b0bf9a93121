"""What every voice activity detection must do, and what Silero does besides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import numpy as np
import pytest

from pipeline.audio import mulaw
from pipeline.audio.vad import Detector, Fact, Held, Started, Stopped
from pipeline.clock import run_virtual
from pipeline.engines.base import WINDOW_SAMPLES, VoiceActivity
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.silero import WINDOWS_A_RUN, Due, Floats, SileroActivity, SileroModel
from pipeline.engines.scripted import LoudnessActivity

Opened = Callable[[], AbstractAsyncContextManager[VoiceActivity]]


@pytest.fixture(params=["scripted", "silero"])
def opened(request: pytest.FixtureRequest, silero: SileroModel, worker: Worker) -> Opened:
    @asynccontextmanager
    async def scripted() -> AsyncIterator[VoiceActivity]:
        yield LoudnessActivity()

    return scripted if request.param == "scripted" else SileroActivity(silero, worker).running


async def probabilities(activity: VoiceActivity, sound: bytes, piece: int = 160) -> list[float]:
    found: list[float] = []
    complete = asyncio.Event()

    def on_window(probability: float) -> None:
        found.append(probability)
        if len(found) == len(sound) // WINDOW_SAMPLES:
            complete.set()

    with activity.open(on_window) as track:
        for start in range(0, len(sound), piece):
            track.feed(sound[start : start + piece])
        async with asyncio.timeout(60):
            await complete.wait()
    return found


def facts(found: Sequence[float]) -> list[tuple[int, Fact]]:
    """The detector's facts, each with the millisecond it came at."""
    detector = Detector(barge_in_ms=250)
    return [(index * 32, fact) for index, each in enumerate(found, 1) for fact in detector.window(each)]


def within(sound: bytes) -> bytes:
    return mulaw.silence(640) + sound + mulaw.silence(640)


def test_a_probability_for_each_window_whatever_the_pieces(opened: Opened, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with opened() as activity:
            sound = sounds["hello"]
            found = await probabilities(activity, sound)
            assert len(found) == len(sound) // WINDOW_SAMPLES
            assert all(0 <= each <= 1 for each in found)
            assert await probabilities(activity, sound, piece=1) == found
            assert await probabilities(activity, sound, piece=3_000) == found

    run_virtual(main())


def test_speech_is_found_where_it_is(opened: Opened, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with opened() as activity:
            for name in ("hello", "interview", "okay"):
                found = facts(await probabilities(activity, within(sounds[name])))
                assert [type(fact) for _, fact in found][:2] == [Started, Held], name
                at, first = found[0]
                assert isinstance(first, Started)
                # 640 ms of silence and the line's own margin of 150 ms.
                assert at - first.onset_ms == pytest.approx(790, abs=130), name
                at, last = found[-1]
                assert isinstance(last, Stopped)
                assert at - last.silence_ms == pytest.approx(
                    640 + mulaw.duration_ms(sounds[name]) - 150, abs=250
                ), name

    run_virtual(main())


def test_a_click_is_no_speech(opened: Opened, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with opened() as activity:
            for name in ("click", "cough"):
                found = facts(await probabilities(activity, within(sounds[name])))
                assert not [fact for _, fact in found if isinstance(fact, Held)], name

    run_virtual(main())


def test_silence_is_no_speech(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as activity:
            assert max(await probabilities(activity, mulaw.silence(3_000))) < 0.35

    run_virtual(main())


def test_tracks_do_not_hear_each_other(opened: Opened, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with opened() as activity:
            chosen = [sounds["hello"], sounds["sister"], sounds["okay"]]
            alone = [await probabilities(activity, sound) for sound in chosen]
            async with asyncio.TaskGroup() as group:
                together = [group.create_task(probabilities(activity, sound)) for sound in chosen]
            assert [task.result() for task in together] == alone

    run_virtual(main())


def test_nothing_comes_after_closing(opened: Opened, sounds: dict[str, bytes]) -> None:
    async def main() -> None:
        async with opened() as activity:
            found: list[float] = []
            with activity.open(found.append) as track:
                track.feed(sounds["hello"][:1_000])
            before = len(found)
            track.feed(sounds["hello"])
            await asyncio.sleep(1)
            assert len(found) == before

    run_virtual(main())


def test_an_error_leaves_the_context_as_it_is(opened: Opened) -> None:
    async def main() -> None:
        async with opened() as activity:
            with activity.open(lambda probability: None):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtual(main())


# -- Silero only -----------------------------------------------------------------------


def test_a_batch_equals_single_runs(silero: SileroModel, sounds: dict[str, bytes]) -> None:
    chosen = [sounds[name][: len(sounds[name]) // 256 * 256] for name in ("hello", "idea", "bye", "click")]
    alone = [silero.run([Due(0, sound, fresh=True)])[0] for sound in chosen]
    batch = silero.run([Due(slot + 5, sound, fresh=True) for slot, sound in enumerate(chosen)])
    for one, other in zip(batch, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_tone_is_no_speech(silero: SileroModel) -> None:
    time = np.arange(16_384) / mulaw.RATE
    tone = mulaw.encode(mulaw.from_float((0.3 * np.sin(2 * np.pi * 425 * time)).astype(np.float32)))
    detector = Detector(barge_in_ms=250)
    found = silero.run([Due(0, tone, fresh=True)])[0]
    assert not [fact for each in found for fact in detector.window(each) if isinstance(fact, Held)]


def test_calls_that_are_behind_catch_up_without_holding_up_others(
    silero: SileroModel, worker: Worker
) -> None:
    async def main() -> None:
        async with SileroActivity(silero, worker).running() as activity:
            late: list[float] = []
            prompt: list[float] = []
            with activity.open(late.append) as one, activity.open(prompt.append) as other:
                one.feed(mulaw.silence(32) * WINDOWS_A_RUN * 3)
                other.feed(mulaw.silence(32))
                await asyncio.sleep(0.01)
                assert len(late) == WINDOWS_A_RUN
                assert len(prompt) == 1
                await asyncio.sleep(0.1)
                assert len(late) == 3 * WINDOWS_A_RUN

    run_virtual(main())


class BrokenSession:
    def run(self, names: None, feed: dict[str, object]) -> Sequence[Floats]:
        raise RuntimeError("no such model")


def test_a_broken_model_is_silence_and_counted(worker: Worker) -> None:
    async def main() -> None:
        async with SileroActivity(SileroModel(BrokenSession()), worker).running() as activity:
            assert await probabilities(activity, mulaw.silence(96)) == [0.0, 0.0, 0.0]
            assert activity.failures == 1

    run_virtual(main())


def test_a_listener_that_fails_does_not_deafen_the_others(silero: SileroModel, worker: Worker) -> None:
    def fail(probability: float) -> None:
        raise ValueError(probability)

    async def main() -> None:
        async with SileroActivity(silero, worker).running() as activity:
            with activity.open(fail) as track:
                track.feed(mulaw.silence(32))
                assert len(await probabilities(activity, mulaw.silence(320))) == 10
            assert activity.failures == 1

    run_virtual(main())
