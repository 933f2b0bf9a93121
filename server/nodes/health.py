"""How a node's engines are, as it says with each renewal of its lease, so that any node can show all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from server.metrics import ENGINE_BREAKERS


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """`state` of its breaker: closed, open or half-open; `failures` and `openings` since the node started."""

    name: str
    state: str
    failures: int
    openings: int


def here() -> list[EngineHealth]:
    """The engines of this process, by name."""
    return [
        EngineHealth(name, breaker.state.value, breaker.failures, breaker.openings)
        for name, breaker in sorted(ENGINE_BREAKERS.breakers.items())
    ]


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
            str(each["name"]), str(each["state"]), int(each["failures"]), int(each["openings"])
        )
