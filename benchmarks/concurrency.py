"""Many calls at once: what they cost against an echo of the same frames, and how long anybody waits.

Server and load have a core each. At every level the server's processor time is read over a
window in which all calls talk; the echo's is read over its own window, before (and, at the
highest level, also after), on the same core with the same frames.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.callers import FRAME_S, LINES, SILENCE, Tally, spoken
from benchmarks.child import Child, child
from benchmarks.figures import Figure, percentile
from benchmarks.load import Exchange, Pacer
from benchmarks.machine import Meter, Spent, cores, cpu_by_thread
from benchmarks.wire import Wire

TRIES = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """Levels of calls and seconds of each window.

    `ramp_s` lies between two calls that are placed, `settle_s` between the last one's greeting and the window:
    by then all have begun to talk.
    """

    levels: tuple[int, ...]
    window_s: float
    echo_window_s: float
    ramp_s: float
    settle_s: float


@dataclass(slots=True)
class Level:
    """What was seen with so many calls. Times in milliseconds; processor time in seconds per call and minute."""

    calls: int
    cpu: float
    core: float
    others: float
    lag: list[float]
    flushes_a_second: float
    threads: dict[str, float]
    seen: Tally
    engine_to_wire: list[float] = field(default_factory=list)
    sound_to_wire: list[float] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def per_call_minute(spent: Spent, calls: int) -> float:
    return spent.cpu / (calls * spent.seconds / 60)


# -- the yardstick ---------------------------------------------------------------------------


class _EchoCaller:
    def __init__(self, payloads: Sequence[bytes], start: int) -> None:
        self._payloads = payloads
        self._start = start
        self._stream = b"MZ" + secrets.token_hex(16).encode()
        self.sent = 0
        self.back = 0
        self.wire: Wire | None = None

    def frame(self, now: float, due: float) -> None:
        if self.wire is None:
            return
        self.sent = number = self.sent + 1
        payload = self._payloads[(self._start + number) % len(self._payloads)]
        self.wire.send(
            b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d",'
            b'"payload":"%s"},"streamSid":"%s"}' % (number, number, 20 * number, payload, self._stream)
        )

    def hear(self, text: bytes) -> None:
        self.back += 1


async def echo(levels: Sequence[int], window_s: float, kind: str = "bare") -> dict[int, Spent]:
    """What an echo of as many callers' frames costs, by level; `kind` is bare or decoding."""
    core, _ = cores()
    port = free_port()
    payloads = [frame for name in LINES for frame in (*spoken(name).frames, *([SILENCE] * 150))]
    found: dict[int, Spent] = {}
    pacer = Pacer()
    callers: list[_EchoCaller] = []
    async with child("benchmarks.echo", str(core), str(port), kind) as server:
        await server.answer()
        pacer.start()
        try:
            for level in levels:
                while len(callers) < level:
                    caller = _EchoCaller(payloads, 977 * len(callers))
                    caller.wire = await _connect(caller, port)
                    callers.append(caller)
                    pacer.add(caller)
                found[level] = await _echoed(server, callers, window_s)
        finally:
            pacer.stop()
            for caller in callers:
                if caller.wire is not None:
                    caller.wire.close()
    return found


async def _echoed(server: Child, callers: Sequence[_EchoCaller], window_s: float) -> Spent:
    """One window, again where the machine stalled in it. `RuntimeError` when it does so every time."""
    seen = ""
    for _ in range(TRIES):
        await asyncio.sleep(1.0)
        sent, back = _counted(callers)
        meter = Meter(server.pid)
        await asyncio.sleep(window_s)
        spent = meter.read()
        sent, back = _counted(callers)[0] - sent, _counted(callers)[1] - back
        due = len(callers) * spent.seconds / FRAME_S
        if abs(back - due) < 0.05 * due and abs(sent - due) < 0.05 * due:
            return spent
        seen = f"the echo returned {back} of {sent} frames, {due:.0f} were due"
    raise RuntimeError(seen)


def _counted(callers: Sequence[_EchoCaller]) -> tuple[int, int]:
    return sum(caller.sent for caller in callers), sum(caller.back for caller in callers)


async def _connect(caller: _EchoCaller, port: int) -> Wire:
    wire = Wire("/", f"127.0.0.1:{port}", {}, caller.hear)
    await wire.connect("127.0.0.1", port)
    return wire


# -- the server ------------------------------------------------------------------------------


@asynccontextmanager
async def serving(people: int) -> AsyncIterator[tuple[Exchange, Child]]:
    """A fresh server with so many users, and an exchange that rings for it."""
    core, _ = cores()
    with tempfile.TemporaryDirectory(prefix="callmeback-bench-") as data_dir:
        async with Exchange() as exchange:
            arguments = (str(core), str(free_port()), data_dir, str(people))
            async with child("benchmarks.served", *arguments, on_news=exchange.news) as server:
                exchange.greet(server, await server.answer())
                yield exchange, server


async def calls(plan: Plan) -> list[Level]:
    """Grow to each level in turn and watch it for a window."""
    async with serving(max(plan.levels)) as (exchange, server):
        found = [await _level(exchange, server, level, plan) for level in plan.levels]
        await exchange.hang_up_all()
        await asyncio.sleep(2.5)  # two flushes
        report = await server.ask(do="audit")
        if report["breaches"]:
            raise RuntimeError(f"the audit found {report['breaches']} breaches")
    return found


async def _level(exchange: Exchange, server: Child, level: int, plan: Plan) -> Level:
    tally = exchange.tally
    tally.start()
    await exchange.place(level - len(exchange.calls), plan.ramp_s)
    await asyncio.sleep(plan.settle_s)
    greetings, first_words = [*tally.greetings], [*tally.first_words]
    await server.ask(do="trace")
    before = await server.ask(do="figures")
    await server.ask(do="lag")
    tally.start()
    threads = cpu_by_thread(before["threads"], server.pid)
    meter = Meter(server.pid)
    await asyncio.sleep(plan.window_s)
    spent = meter.read()
    after_threads = cpu_by_thread(before["threads"], server.pid)
    tally.on = False
    after = await server.ask(do="figures")
    turns = (await server.ask(do="trace"))["turns"]
    seen = Tally(
        greetings=greetings, first_words=first_words, barge_ins=[*tally.barge_ins], late=[*tally.late]
    )
    result = Level(
        calls=level,
        cpu=per_call_minute(spent, level),
        core=spent.cpu / spent.seconds,
        others=spent.others,
        lag=after["lag"],
        flushes_a_second=(after["flushes"] - before["flushes"]) / spent.seconds,
        threads={name: (cpu - threads.get(name, 0.0)) / spent.seconds for name, cpu in after_threads.items()},
        seen=seen,
    )
    for serial, at, caller in tally.answers:
        if (turn := turns.get(str(serial))) is not None:
            ended, windows = turn
            result.engine_to_wire.append(1000 * (at - ended))
            result.sound_to_wire.append(1000 * (at - caller.sent_by(windows)))
    return result


# -- the result ------------------------------------------------------------------------------


async def measure(plan: Plan) -> list[Figure]:
    top = max(plan.levels)
    before = await echo(plan.levels, plan.echo_window_s)
    levels = await calls(plan)
    yardstick = {level: per_call_minute(spent, level) for level, spent in before.items()}
    first, again = yardstick[top], per_call_minute((await echo([top], plan.echo_window_s))[top], top)
    decoding = per_call_minute((await echo([top], plan.echo_window_s, "decoding"))[top], top)
    yardstick[top] = (first + again) / 2
    figures = [
        Figure("yardstick", f"bare echo at {top} again, after", again / first, "×",
               note="far from 1: the machine changed under the run"),
        Figure("yardstick", f"echo with framework, JSON, base64 at {top}", decoding, "CPU-s per call-minute",
               note=f"the server takes {levels[-1].cpu / decoding:.2f} × this"),
    ]  # fmt: skip
    for level in levels:
        figures += _cost(level, yardstick[level.calls], top)
        figures += _waits(level, top, plan.ramp_s)
    return figures


def _cost(level: Level, echo_cpu: float, top: int) -> list[Figure]:
    group = f"{level.calls} calls" if level.calls > 1 else "1 call"
    busiest = sorted(level.threads.items(), key=lambda item: -item[1])[:4]
    where = ", ".join(f"{name} {100 * share:.1f} %" for name, share in busiest)
    return [
        Figure(group, "processor: echo", echo_cpu, "CPU-s per call-minute"),
        Figure(group, "processor: the server", level.cpu, "CPU-s per call-minute"),
        Figure(
            group, "processor: against the echo", level.cpu / echo_cpu, "×", 2.0 if level.calls == top else None,
            note=f"{100 * level.core:.0f} % of the core; {where}",
        ),
        Figure(
            group, "others on this machine", level.others, "cores",
            note=f"load sent late: p99 {percentile(level.seen.late, 99):.1f} ms",
        ),
    ]  # fmt: skip


def _waits(level: Level, top: int, ramp_s: float) -> list[Figure]:
    group = f"{level.calls} calls" if level.calls > 1 else "1 call"
    at_50, at_top = level.calls == 50, level.calls == top
    turns, sound, barge = level.engine_to_wire, level.sound_to_wire, level.seen.barge_ins
    greeted, words = level.seen.greetings, level.seen.first_words
    return [
        Figure(group, "end of turn → first frame, p50", percentile(turns, 50), "ms", 5.0 if at_50 else None,
               note=f"{len(turns)} turns"),
        Figure(group, "end of turn → first frame, p99", percentile(turns, 99), "ms", 20.0 if at_50 else None),
        Figure(group, "deciding sound → first frame, p50", percentile(sound, 50), "ms"),
        Figure(group, "deciding sound → first frame, p95", percentile(sound, 95), "ms", 50.0 if at_top else None,
               note="added response latency"),
        Figure(group, "answer → greeting, p50", percentile(greeted, 50), "ms"),
        Figure(group, "answer → greeting, p95", percentile(greeted, 95), "ms", 60.0,
               note=f"{len(greeted)} calls, {1 / ramp_s:.0f} a second; from `start` {percentile(words, 95):.0f} ms"),
        Figure(group, "barge-in → clear, p50", percentile(barge, 50), "ms"),
        Figure(group, "barge-in → clear, p95", percentile(barge, 95), "ms", 300.0, note=f"{len(barge)} times"),
        Figure(group, "event-loop lag, p99", percentile(level.lag, 99), "ms", 20.0),
        Figure(group, "event-loop lag, max", max(level.lag, default=0.0), "ms", 150.0),
        Figure(group, "flushes", level.flushes_a_second, "a second", 1.05),
    ]  # fmt: skip
