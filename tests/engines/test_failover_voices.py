"""Voices behind one are opened, passed over, closed and cut off, and none is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import AllDown
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.breaker import State
from pipeline.engines.deepgram.aura import AuraSettings, AuraSpeaker
from pipeline.engines.elevenlabs import ElevenLabsSettings, ElevenLabsSpeaker
from tests.emulators.aura import Aura
from tests.emulators.elevenlabs import ElevenLabs
from tests.engines.speakers import TEXT, Rig, Stage, Staged, scripted, spoken
from tests.pipeline.doubles import DeadSpeaker

GRACE = 0.001

# -- opening -------------------------------------------------------------------------------


def test_one_that_cannot_be_opened_is_tried_again_when_it_may_be_well() -> None:
    first = DeadSpeaker(scripted("a"), times=1)
    rig = Rig([first, scripted("b")])

    async def main() -> None:
        async with rig.opened() as voice:
            await spoken(voice)
            assert (voice.model, first.tried) == ("b", 1)
            await asyncio.sleep(15)
            await spoken(voice)
            assert (voice.model, first.tried) == ("a", 2)
            assert rig.doors.open == 2

    run_virtual(main())


@pytest.mark.parametrize(
    ("vendor", "make"),
    [
        (
            ElevenLabs(),
            lambda key, url: ElevenLabsSpeaker(ElevenLabsSettings(key, url, voices={"brad": "nobody"})),
        ),
        (Aura(), lambda key, url: AuraSpeaker(AuraSettings(key, url, voices={"brad": "nobody"}))),
    ],
    ids=["elevenlabs", "aura"],
)
def test_a_voice_that_the_vendor_does_not_have_keeps_no_other_from_it(
    vendor: ElevenLabs | Aura, make: Callable[[str, str], Speaker]
) -> None:
    """With one persona's voice mistyped, all others spoke in the one behind for 15 s."""

    async def main() -> None:
        async with vendor:
            hosted = make(vendor.key, vendor.url)
            rig = Rig([hosted, scripted("behind")])
            for name, model in (*[("brad", "behind")] * 6, ("sarah", hosted.models[0])):
                async with rig.speaker.open(name) as voice:
                    assert await spoken(voice)
                    assert voice.model == model

    run_virtual(main(), grace=GRACE)


def test_a_voice_that_none_can_give_is_not_opened() -> None:
    rig = Rig([DeadSpeaker(), DeadSpeaker()])

    async def main() -> None:
        with pytest.raises(AllDown, match="refused"):
            async with rig.opened():
                pass

    run_virtual(main())


@dataclass
class SlowDoors:
    """Takes its time to open and to close, and notes who did: the one must be the other."""

    inner: Speaker
    opens_s: float = 0.0
    closes_s: float = 0.0
    passed: list[object] = field(default_factory=list)

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        self.passed.append(asyncio.current_task())
        try:
            await asyncio.sleep(self.opens_s)
            async with self.inner.open(voice) as opened:
                yield opened
        finally:
            await asyncio.sleep(self.closes_s)
            self.passed.append(asyncio.current_task())


def test_one_that_does_not_open_in_time_is_passed_over_and_left_in_the_task_that_entered_it() -> None:
    first = SlowDoors(scripted("a"), opens_s=5.0, closes_s=2.0)
    rig = Rig([first, scripted("b")])

    async def main() -> None:
        clock = Clock()
        async with rig.opened():
            assert clock.seconds() == pytest.approx(1.0)
        assert clock.seconds() == pytest.approx(3.0)
        entered, left = first.passed
        assert entered is left

    run_virtual(main())


def test_a_broken_voice_is_closed_beside_the_next_ones_speech() -> None:
    first = SlowDoors(scripted("a", fails=True), closes_s=9.0)
    second = SlowDoors(scripted("b"))
    rig = Rig([first, second])

    async def main() -> None:
        clock = Clock()
        async with rig.opened() as voice:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(spoken(voice))
            assert task.result()
            assert clock.seconds() == 0
            assert second.passed != [task]  # an utterance's task is too short-lived to leave anything
        for each in (first, second):
            entered, left = each.passed
            assert entered is left

    run_virtual(main())


def test_a_broken_voice_is_closed_at_once_and_opened_anew_when_it_is_needed_again() -> None:
    first = scripted("a", fails=lambda text: text == "One.")
    rig = Rig([first, scripted("b")])

    async def main() -> None:
        async with rig.opened() as voice:
            await spoken(voice, "One.")
            await asyncio.sleep(1)
            assert (rig.doors.open, rig.doors.ever) == (1, 2)
            await asyncio.sleep(15)
            await spoken(voice, "Two.")
            assert voice.model == "a"
            assert (rig.doors.open, rig.doors.ever) == (2, 3)

    run_virtual(main())


def test_an_utterance_cancelled_while_its_voice_opens_has_it_left_again() -> None:
    second = SlowDoors(scripted("b"), opens_s=5.0)
    rig = Rig([scripted("a", fails=True), second])

    async def main() -> None:
        async with rig.opened() as voice:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await spoken(voice)
            await asyncio.sleep(1)
            entered, left = second.passed
            assert entered is left
            assert rig.breakers[1].failures == 0

    run_virtual(main())


def test_the_first_sound_lets_a_probe_succeed() -> None:
    first = scripted("a", fails=lambda text: text == "One.")
    rig = Rig([first])
    closing: list[State] = []

    async def main() -> None:
        async with rig.opened() as voice:
            for _ in range(5):
                with pytest.raises(AllDown):
                    await spoken(voice, "One.")
            assert rig.breakers[0].state is State.OPEN
            await asyncio.sleep(15)
            async with aclosing(voice.speak("Two.")) as pieces:
                await anext(pieces)
                closing.append(rig.breakers[0].state)
        assert closing == [State.CLOSED]

    run_virtual(main())


def test_the_bodys_error_comes_out_as_it_is() -> None:
    rig = Rig([scripted("a")])

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with rig.opened():
                raise ZeroDivisionError
        assert rig.doors.open == 0

    run_virtual(main())


def test_a_bug_while_opening_is_a_failure_like_any_other() -> None:
    class Buggy(DeadSpeaker):
        @asynccontextmanager
        async def open(self, voice: str) -> AsyncIterator[Voice]:
            raise ZeroDivisionError
            yield  # type: ignore[unreachable]  # makes it a generator

    rig = Rig([Buggy(), scripted("b")])

    async def main() -> None:
        async with rig.opened() as voice:
            assert await spoken(voice)
        assert rig.breakers[0].state is State.OPEN

    run_virtual(main())


# -- being cut off -------------------------------------------------------------------------


def test_closing_cancels_the_engines_utterance_and_is_no_failure() -> None:
    stage = Stage()
    rig = Rig([Staged("a", stage, [(0, None)]), Staged("b", stage, [(0, None)])])

    async def main() -> None:
        async with rig.opened() as voice:
            async with aclosing(voice.speak(TEXT)) as pieces:
                await anext(pieces)
                assert stage.speaking == 1
            assert stage.speaking == 0
            assert rig.breakers[0].failures == 0
            await spoken(voice)
            assert voice.model == "a"

    run_virtual(main())


def test_cancelling_while_the_first_sound_is_waited_for_leaves_nothing_behind() -> None:
    stage = Stage()
    rig = Rig([Staged("a", stage, [(800, None), (0, None)]), Staged("b", stage, [(0, None)])])

    async def main() -> None:
        async with rig.opened() as voice:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await spoken(voice)
            assert (stage.speaking, rig.breakers[0].failures) == (0, 0)
            await spoken(voice)
            assert voice.model == "a"

    run_virtual(main())
