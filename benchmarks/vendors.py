"""How soon an answer is audible with hosted engines, in real time: the vendors take what they take, and the server?

The vendors are emulated in another process. Here are the calls, whole, each with a telephone that says the
same recorded line again as soon as the answer was heard. `python -m benchmarks.vendors [--turns N] [--calls N]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import uvloop

from benchmarks import machine
from benchmarks.child import child
from benchmarks.figures import Figure, percentile
from pipeline.core import effects as fx
from server.logs import configure
from tests.vendors.cast import Cast
from tests.vendors.rig import Addresses, Talk, company, talk

END_MS, EAGER_MS, TOKEN_MS, SOUND_MS = 250, 100, 200, 120
"""What the vendors take: to see the end of a turn, to guess it, to the first word, to the first sound."""
ADDED_MS = 40
"""What the server may add to them, and the emulators: they hear in frames of 20 ms, and write a word in 2."""
AGREES_MS = 20
PAUSE_S = 0.4
APART_S = 0.137
"""Between the beginnings of two calls: nobody speaks in step."""
CAST = Cast(frame_ms=20, pause_s=PAUSE_S)


async def calls(at: Addresses, lines: Sequence[int], *, eager: bool) -> list[Talk]:
    """As many calls side by side as `lines` has numbers of turns."""

    async def one(number: int, turns: int) -> Talk:
        cast = replace(CAST, lines=("hobbies",) * turns, eager=eager).lasting()
        async with company(cast, at) as together:
            await asyncio.sleep(number * APART_S)
            return await talk(cast, together)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(number, turns)) for number, turns in enumerate(lines)]
    return [call.result() for call in running]


def waits(call: Talk) -> list[float]:
    """From the last audible sample of each line to the answer's first, at the telephone."""
    heard = [(spoken, call.ears.next_sound(spoken.ended / 1000)) for spoken in call.person.said]
    return [begins * 1000 - spoken.ended for spoken, begins in heard if begins is not None]


def figures(talks: Sequence[Talk], least_ms: int, *, eager: bool, cpu_s: float) -> list[Figure]:
    found = [wait for call in talks for wait in waits(call)]
    told = [abs(each.audible_ms - wait) for call in talks for each, wait in _pairs(call)]
    turns = sum(len(call.person.said) for call in talks)
    minutes = sum(call.over - call.zero for call in talks) / 60_000
    group = (
        f"hosted engines{', eager' if eager else ''}, {len(talks)} {'call' if len(talks) == 1 else 'calls'}"
    )
    return [
        Figure(
            group,
            "turns answered",
            len(found),
            "",
            turns,
            "at least",
            f"of which the vendors themselves take {least_ms} ms each",
        ),
        Figure(group, "speech over to answer audible, p50", percentile(found, 50), "ms"),
        Figure(group, "the same, p95", percentile(found, 95), "ms", least_ms + ADDED_MS),
        Figure(group, "the same, p99", percentile(found, 99), "ms"),
        Figure(group, "what the call says of it is off by, p95", percentile(told, 95), "ms", AGREES_MS),
        Figure(
            group,
            "processor, telephone included",
            cpu_s / minutes,
            "s a call-minute",
            note="without voice activity's model",
        ),
    ]


def _pairs(call: Talk) -> list[tuple[fx.TurnTimed, float]]:
    return list(zip(call.all(fx.TurnTimed), waits(call), strict=False))


async def measure(turns: int, count: int) -> list[Figure]:
    """So many turns with replies that begin when the turn is over, and as many with eager ones."""
    ours, theirs = os.sched_getaffinity(0), machine.cores()
    core = next((core for core in theirs if core not in ours), theirs[-1])
    times = map(str, (END_MS, EAGER_MS, TOKEN_MS, SOUND_MS))
    each = -(-turns // count)
    found: list[Figure] = []
    async with child("benchmarks.emulated", str(core), *times) as emulated:
        urls = await emulated.answer()
        at = Addresses(urls["ear"], urls["mind"], urls["voice"])
        # The client's library takes half a second to load, once.
        await calls(at, [1], eager=False)
        for eager in (False, True):
            least_ms = (max(END_MS, EAGER_MS + TOKEN_MS) if eager else END_MS + TOKEN_MS) + SOUND_MS
            spent = machine.cpu_of(os.getpid())
            talks = await calls(at, [each] * count, eager=eager)
            spent = machine.cpu_of(os.getpid()) - spent
            found += figures(talks, least_ms, eager=eager, cpu_s=spent)
    return found


def main() -> int:
    """0 however the bars fare: a benchmark is no test."""
    from rich.console import Console

    from benchmarks.__main__ import WIDTH, show

    parser = argparse.ArgumentParser(prog="python -m benchmarks.vendors", description=__doc__)
    parser.add_argument("--turns", type=int, default=200, help="of each kind, some three seconds each")
    parser.add_argument("--calls", type=int, default=10)
    given = parser.parse_args()
    configure("error")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(machine.describe())
    machine.pin(machine.cores()[0])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        show(console, runner.run(measure(given.turns, given.calls)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
