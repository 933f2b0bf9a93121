"""The machine under measurement: processor time and memory of a process, cores, and what others use of them.

Reads Linux's /proc. A process is pinned by itself, first thing (`pin`), so that its threads inherit it.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


_ALLOWED = sorted(os.sched_getaffinity(0))


def cores() -> tuple[int, int]:
    """The core of what is measured and that of what loads it; the same where there is but one."""
    return _ALLOWED[-1], _ALLOWED[0]


def pin(core: int) -> None:
    """Keep this process, and what it starts, to one core."""
    os.sched_setaffinity(0, {core})


def cpu_of(pid: int) -> float:
    """Processor seconds of all threads of a process so far, ended ones included, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # the kernel's name of another process's clock


def cpu_by_thread(names: dict[str, str], pid: int) -> dict[str, float]:
    """Processor seconds by the name given for a thread id; threads of one name are added up."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            nanos = int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # it ended meanwhile
            continue
        name = names.get(task.name, "other")
        found[name] = found.get(name, 0.0) + nanos / 1e9
    return found


def rss_mb(pid: int) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


def busy_seconds() -> float:
    """Processor seconds all cores have spent on anything but waiting."""
    user, nice, system, _idle, _wait, irq, soft, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / TICKS


def describe() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


@dataclass(frozen=True, slots=True)
class Spent:
    """A stretch of time. `others` is how many cores everybody else kept busy in it."""

    seconds: float
    cpu: float
    others: float


class Meter:
    """From its making to `read`: what one process spent, and what the machine spent beside it and us."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._at, self._cpu = time.perf_counter(), cpu_of(pid)
        self._own, self._busy = time.process_time(), busy_seconds()

    def read(self) -> Spent:
        seconds, cpu = time.perf_counter() - self._at, cpu_of(self._pid) - self._cpu
        others = busy_seconds() - self._busy - cpu - (time.process_time() - self._own)
        return Spent(seconds, cpu, max(0.0, others / seconds))
