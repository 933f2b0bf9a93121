"""How soon an answer is audible at the telephone, against what the vendors themselves take. In virtual time.

So what is found here is waiting: for timers, for frames, for each other. What the work takes is measured by
`benchmarks/vendors.py`, in real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest

from benchmarks.figures import percentile
from pipeline.clock import run_virtual
from pipeline.core import effects as fx
from tests.vendors.cast import PHRASES, Cast
from tests.vendors.checks import wrong
from tests.vendors.rig import Held, perform

END_MS, EAGER_MS, TOKEN_MS, SOUND_MS = 250, 100, 200, 120
"""What the vendors take: to see the end of a turn, to guess it, to the first word, to the first sound."""
ADDED_MS = 40
"""What the server may add. 10 of it are the emulator's: it hears in frames of 20 ms."""
LATE_MS = 20
"""The carrier of these tests tells what was played a frame at a time."""
FLUX = Cast(
    lines=("hobbies",) * 20,
    texts=lambda messages: "I do. Yes.",
    eot_ms=END_MS,
    eager_ms=EAGER_MS,
    first_token_ms=TOKEN_MS,
    first_sound_ms=SOUND_MS,
    word_ms=2,
    frame_ms=20,
    pause_s=0.3,
)
EAGER = replace(FLUX, eager=True)
NOVA = replace(FLUX, ear="nova", lines=FLUX.lines[:5])
TOGETHER = 10

CALLS: Mapping[str, list[Cast]] = {
    "one": [FLUX],
    "ten": [replace(FLUX, lines=FLUX.lines[:5])] * TOGETHER,
    "one, eager": [EAGER],
    "ten, eager": [replace(EAGER, lines=EAGER.lines[:5])] * TOGETHER,
    "nova": [NOVA],
}


@cache
def held() -> Mapping[str, list[Held]]:
    """All of them in one loop, for the sake of the tests' time."""

    async def one(cast: Cast, number: int) -> Held:
        # No two callers speak in step, but on the same grid of frames: each jump in time waits for the sockets.
        await asyncio.sleep(number * 0.14)
        return await perform(cast)

    async def main() -> Mapping[str, list[Held]]:
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: [group.create_task(one(cast, number)) for number, cast in enumerate(casts)]
                for name, casts in CALLS.items()
            }
        return {name: [task.result() for task in each] for name, each in tasks.items()}

    return run_virtual(main(), grace=0.001)


def waits(call: Held) -> list[float]:
    """From each line's last audible sample to the answer's first, at the telephone."""
    found = []
    for spoken in call.person.said:
        begins = call.ears.next_sound(spoken.ended / 1000)
        assert begins is not None
        found.append(begins * 1000 - spoken.ended)
    return found


def check(name: str, least: float) -> None:
    found = [wait for call in held()[name] for wait in waits(call)]
    assert len(found) == sum(len(cast.lines) for cast in CALLS[name])
    assert min(found) >= least
    assert percentile(found, 95) <= least + ADDED_MS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "ten"])
def test_an_answer_takes_what_the_vendors_take(name: str) -> None:
    check(name, END_MS + TOKEN_MS + SOUND_MS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one, eager", "ten, eager"])
def test_an_eager_answer_takes_no_longer_than_the_slower_of_turn_and_word(name: str) -> None:
    check(name, max(END_MS, EAGER_MS + TOKEN_MS) + SOUND_MS)
    for call in held()[name]:
        assert [effect.committed for effect in call.all(fx.EagerSettled)] == [True] * len(call.cast.lines)


@pytest.mark.soak
@pytest.mark.parametrize("cast", [FLUX, EAGER], ids=["plain", "eager"])
def test_two_hundred_answers_of_one_call(cast: Cast) -> None:
    call = run_virtual(perform(replace(cast, lines=("hobbies",) * 200).lasting()), grace=0.001)
    found = waits(call)
    least = (max(END_MS, EAGER_MS + TOKEN_MS) if cast.eager else END_MS + TOKEN_MS) + SOUND_MS
    print(f"{len(found)} answers, p50 {percentile(found, 50):.0f} ms, p95 {percentile(found, 95):.0f} ms")
    assert len(found) == 200
    assert least <= min(found)
    assert percentile(found, 95) <= least + ADDED_MS


@pytest.mark.slow
def test_with_our_own_end_of_turn_an_answer_takes_that_long_too() -> None:
    check("nova", NOVA.limits.end_of_turn_ms + TOKEN_MS + SOUND_MS)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CALLS if name != "nova"])
def test_what_the_call_says_of_its_answers_is_what_the_telephone_hears(name: str) -> None:
    for call in held()[name]:
        timed = call.all(fx.TurnTimed)
        assert [each.eager for each in timed] == [call.cast.eager] * len(call.cast.lines)
        assert [each.speech_end + call.zero for each in timed] == [each.ended for each in call.person.said]
        assert [each.audible_ms for each in timed] == pytest.approx(waits(call), abs=LATE_MS)
        for each in timed:
            assert END_MS <= each.end_of_turn_ms <= END_MS + 20
            assert each.first_token_ms + SOUND_MS <= each.first_audio_ms <= each.first_frame_ms
            assert each.first_frame_ms <= each.audible_ms
        assert PHRASES.apology not in call.said.values()


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_nothing_else_is_wrong_with_them(name: str) -> None:
    assert [wrong(call) for call in held()[name]] == [[]] * len(CALLS[name])
