"""How a node's engines are, as it says with each renewal of its lease, so that any node can show all of them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.core.effects import TurnTimed
from server.metrics import ENGINE_BREAKERS

BUILT_IN = "built-in"
"""In the place of a breaker's state: it runs in the node's own process and has no breaker."""
LATEST = 100
"""So many answers are remembered for the figures."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of a seam's share in the latest answers, whichever of its engines gave it, in milliseconds."""

    p50_ms: int
    p95_ms: int
    answers: int


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """`state` of its breaker: closed, open or half-open; `failures` and `openings` since the node started.

    `speed` is that of its seam, null before the node's first answer.
    """

    name: str
    state: str
    failures: int
    openings: int
    speed: Speed | None = None


class Speeds:
    """How long the latest answers of this process waited for each seam."""

    def __init__(self) -> None:
        self._latest: dict[str, deque[int]] = {seam: deque(maxlen=LATEST) for seam in ("stt", "llm", "tts")}

    def note(self, timed: TurnTimed) -> None:
        """What each seam took: until the turn was over, until the first word, until the first sound."""
        for seam, ms in (
            ("stt", timed.end_of_turn_ms),
            ("llm", timed.first_token_ms - timed.end_of_turn_ms),
            ("tts", timed.first_audio_ms - timed.first_token_ms),
        ):
            # An answer begun before the turn was over has its first word before that.
            self._latest[seam].append(max(0, ms))

    def of(self, name: str) -> Speed | None:
        """Of the seam of this engine."""
        found = sorted(self._latest.get(name.partition(":")[0], ()))
        if not found:
            return None
        return Speed(_share(found, 50), _share(found, 95), len(found))


def _share(rising: list[int], percent: int) -> int:
    """The least figure that so many percent do not exceed."""
    return rising[-(-len(rising) * percent // 100) - 1]


SPEEDS = Speeds()


def here() -> list[EngineHealth]:
    """The engines of this process, by name."""
    watched = [
        EngineHealth(name, breaker.state.value, breaker.failures, breaker.openings, SPEEDS.of(name))
        for name, breaker in ENGINE_BREAKERS.breakers.items()
    ]
    certain = [EngineHealth(name, BUILT_IN, 0, 0, SPEEDS.of(name)) for name in ENGINE_BREAKERS.certain]
    return sorted((*watched, *certain), key=lambda engine: engine.name)


def written() -> str:
    """Those of this process, for the node's row."""
    return json.dumps([asdict(engine) for engine in here()])


def read(words: str) -> list[EngineHealth]:
    """Of a node's row; what another version wrote in another way says nothing."""
    try:
        return list(_engines(json.loads(words or "[]")))
    except (ValueError, TypeError, KeyError):
        return []


def _engines(found: Any) -> Iterator[EngineHealth]:
    for each in found:
        yield EngineHealth(
            str(each["name"]),
            str(each["state"]),
            int(each["failures"]),
            int(each["openings"]),
            _speed(each.get("speed")),
        )


def _speed(found: Mapping[str, Any] | None) -> Speed | None:
    if found is None:
        return None
    return Speed(int(found["p50_ms"]), int(found["p95_ms"]), int(found["answers"]))
