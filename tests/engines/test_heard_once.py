"""What is heard again after a failure is paid once: the vendors count it twice, the call does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from pipeline.audio.mulaw import RATE, silence
from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.base import Ear, Hearing, Transcriber, Used
from pipeline.engines.breaker import Breaker
from pipeline.engines.deepgram.flux import FluxSettings, FluxTranscriber
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from pipeline.engines.failover import FailoverTranscriber
from tests.emulators.caller import loud
from tests.emulators.deepgram import KEY, Act, Moment, Outcome, fault
from tests.emulators.flux import FluxEmulator
from tests.emulators.nova import NovaEmulator
from tests.engines.echoing import Echo, Opening, say, sound

FLUX, NOVA = "flux-general-en", "nova-3"
SOUND_S = 12
STEP_MS = 80
"""As the engines send it, so that a vendor can be lost at a whole second."""


@dataclass
class Paid:
    told: Counter[str]
    """Of each model, as the call pays for it."""
    counted: Counter[str]
    """Of each model, as its vendor counts it."""
    lost: Counter[str]
    noted: Counter[str]
    heard: int
    """Bytes that Flux got."""


async def listen(ear: Ear, told: Counter[str]) -> None:
    async for hearing in ear.heard():
        if isinstance(hearing, Used):
            assert hearing.seconds >= told[hearing.model], "a running total"
            told[hearing.model] = hearing.seconds


async def talk(ear: Ear, quiet_ms: int) -> None:
    """One stretch of speech to the end, after some silence."""
    for at in range(0, SOUND_S * 1000, STEP_MS):
        if at == quiet_ms:
            ear.voice(True)
        ear.feed(silence(STEP_MS) if at < quiet_ms else loud(STEP_MS))
        await asyncio.sleep(STEP_MS / 1000)
    ear.voice(False)
    await asyncio.sleep(2)


def paid(drops_s: float, quiet_ms: int = 0) -> Paid:
    """Flux is lost after so many seconds of sound."""

    async def main() -> Paid:
        told, noted = Counter[str](), Counter[str]()

        def heard_again(model: str, seconds: int) -> None:
            noted[model] += seconds

        plan = fault(Moment.AUDIO, Act.DROP, Outcome.FAILED, seconds=drops_s)
        async with FluxEmulator(["One."], [plan]) as flux, NovaEmulator(["One."]) as nova:
            engines: list[tuple[Transcriber, Breaker]] = [
                (FluxTranscriber(FluxSettings(KEY, flux.url)), Breaker("flux", Clock())),
                (NovaTranscriber(NovaSettings(KEY, nova.url)), Breaker("nova", Clock())),
            ]
            transcriber = FailoverTranscriber(engines, 1.0, on_heard_again=heard_again)
            async with transcriber.open() as ear, asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(listen(ear, told))
                await talk(ear, quiet_ms)
                listening.cancel()
            assert flux.violations == nova.violations == []
            counted = Counter({FLUX: flux.seconds_billed, NOVA: nova.seconds_billed})
            return Paid(told, counted, transcriber.heard_again, noted, flux.records[0].bytes)

    return run_virtual(main(), grace=0.001)


def seconds(size: int) -> int:
    return -(-size // RATE)


@pytest.mark.parametrize(
    ("drops_s", "quiet_ms", "again"),
    [
        (4.0, 0, 4),
        (10.0, 0, 8),  # no more is kept
        (6.0, 4_000, 2),  # of the silence before it only what is soft in the beginning
    ],
)
def test_all_sound_is_paid_once(drops_s: float, quiet_ms: int, again: int) -> None:
    once = paid(drops_s, quiet_ms)
    rest = SOUND_S * RATE - once.heard
    assert once.counted[FLUX] + once.counted[NOVA] >= SOUND_S + again
    assert once.told[FLUX] == once.counted[FLUX] == seconds(once.heard) == drops_s
    assert 0 <= seconds(rest) - once.told[NOVA] <= (quiet_ms > 0), "a second begun is not begun twice"
    assert once.told[NOVA] + once.lost[NOVA] == once.counted[NOVA]
    assert once.lost == once.noted == {NOVA: again + (quiet_ms > 0)}
    if not quiet_ms:
        assert sum(once.told.values()) == SOUND_S


@pytest.mark.parametrize("drops_s", [0.16, 2.4, 5.52, 11.6])
def test_a_part_of_a_second_that_was_heard_before_is_never_paid_again(drops_s: float) -> None:
    once = paid(drops_s)
    due = seconds(once.heard) + seconds(SOUND_S * RATE - once.heard)
    assert due - 1 <= sum(once.told.values()) <= due
    assert once.told[NOVA] + once.lost[NOVA] == once.counted[NOVA]


def bill(*openings: tuple[str, Opening], says: str, later: str = "") -> tuple[list[Used], Counter[str]]:
    """What is told of engines that hear what is said, the next one after each failure."""

    async def main() -> tuple[list[Used], Counter[str]]:
        told: list[Hearing] = []
        transcriber = FailoverTranscriber(
            [(Echo(model, [opening]), Breaker(model, Clock())) for model, opening in openings], 1.0
        )

        async def follow(ear: Ear) -> None:
            async for hearing in ear.heard():
                told.append(hearing)  # noqa: PERF401  # it is read when this was cancelled

        async with transcriber.open() as ear, asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow(ear))
            say(ear, says)
            await asyncio.sleep(0.1)
            if later:
                ear.feed(sound(later))
            await asyncio.sleep(5)
            following.cancel()
        return [each for each in told if isinstance(each, Used)], transcriber.heard_again

    return run_virtual(main())


def test_sound_that_came_while_nobody_listened_is_heard_for_the_first_time() -> None:
    used, lost = bill(
        ("a", Opening(answers=0)),
        ("b", Opening(opens_s=0.9, before=[Used("b", 3)])),
        says="[" + "x" * 10 + "]",
        later="y" * 20,
    )
    assert used == [Used("b", 2)]
    assert lost == {"b": 1}


def test_what_a_third_hears_again_is_nobodys_either() -> None:
    used, lost = bill(
        ("a", Opening(before=[Used("a", 2)], answers=0)),
        ("b", Opening(before=[Used("b", 1), Used("b", 2)], answers=0)),
        ("c", Opening(before=[Used("c", 1), Used("c", 2), Used("c", 3)])),
        says="[" + "x" * 20 + "]",
    )
    assert used == [Used("a", 2), *[Used("b", 0)] * 2, *[Used("c", 0)] * 2, Used("c", 1)]
    assert lost == {"b": 2, "c": 2}


def test_one_that_could_not_be_opened_has_heard_nothing() -> None:
    used, lost = bill(
        ("a", Opening(refuses=EngineError("refused", retryable=True))),
        ("b", Opening(before=[Used("b", 2)])),
        says="[" + "x" * 20 + "]",
    )
    assert used == [Used("b", 2)]
    assert not lost


# -- what nobody hears any more ------------------------------------------------------------


def lost_of(*openings: tuple[str, Opening], says: str) -> list[tuple[str, float]]:
    async def main() -> list[tuple[str, float]]:
        told: list[tuple[str, float]] = []
        transcriber = FailoverTranscriber(
            [(Echo(model, [opening]), Breaker(model, Clock())) for model, opening in openings],
            1.0,
            on_sound_lost=lambda model, seconds: told.append((model, seconds)),
        )
        async with transcriber.open() as ear:
            say(ear, says)
            await asyncio.sleep(5)
        return told

    return run_virtual(main())


def test_of_a_turn_longer_than_what_is_kept_the_beginning_is_lost_once() -> None:
    fails, hears = Opening(answers=0), Opening()
    assert lost_of(("a", fails), ("b", hears), says="[" + "x" * 120 + "]") == [("a", 4.0)]
    assert lost_of(("a", fails), ("b", fails), ("c", hears), says="[" + "x" * 120 + "]") == [("a", 4.0)]


def test_of_a_shorter_one_and_of_silence_nothing_is_lost() -> None:
    fails, hears = Opening(answers=0), Opening()
    assert lost_of(("a", fails), ("b", hears), says="_" * 100 + "[" + "x" * 70 + "]") == []
    assert lost_of(("a", hears), ("b", hears), says="[" + "x" * 120 + "]") == []
