"""Circuit breakers: which engine is worth trying just now, from what became of the tries before.

A breaker belongs to one vendor engine and is shared by all calls of the process, so that a
vendor that is down is found out once and not anew by every caller. It decides whether a try
may begin; it must not try anything itself, and it knows neither engines nor other breakers.

Slowness has no rule of its own. Whoever waits for an engine gives up after its patience and
reports that as a failure, so an engine whose answers mostly come too late (a 95th percentile
over the patience) opens its breaker as one that refuses does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from types import TracebackType

import structlog

from pipeline.clock import Clock
from pipeline.core.errors import EngineError

log = structlog.get_logger()

FAILURES = 5
WITHIN_S = 20.0
ONE_IN = 20
"""Failures of fewer tries than one in so many are no outage: of a hundred calls some reply is always late."""
OPEN_S = 15.0
"""How long an open breaker lets nothing through, and how long a probe may be without a verdict."""


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    """One try at a time is let through as a probe; its verdict decides."""


OnChange = Callable[[str, State], None]


class Attempt:
    """One try that was let through. As a context it ends with it: without a verdict it was neither."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def succeeded(self) -> None:
        """The engine has begun to answer."""
        self._breaker.note_success(self)

    def failed(self, error: EngineError) -> None:
        """It failed, or was too slow; also after it had begun to answer."""
        self._breaker.note_failure(self, error)

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._breaker.note_end(self)


class Breaker:
    """Five failures within 20 s that are one try in twenty, or one that no retry mends, keep an engine from being
    tried for 15 s.

    Then one probe at a time is let through: a success closes the breaker, a failure opens it
    again. What comes of tries that began earlier changes nothing while it is not closed.
    `failures` and `openings` count up for ever; `on_change` is told each new state.
    """

    def __init__(self, name: str, clock: Clock, on_change: OnChange = lambda name, state: None) -> None:
        self.name = name
        self.state = State.CLOSED
        self.failures = 0
        self.openings = 0
        self._clock = clock
        self._on_change = on_change
        self._recent: deque[float] = deque()
        """When it failed, while closed; of the last 20 s."""
        self._tries: deque[float] = deque()
        """When each try began; likewise."""
        self._failed: float | None = None
        """The last time it did while closed."""
        self._until = 0.0
        """Unless closed: when the next probe may begin."""
        self._probe: Attempt | None = None

    def admit(self) -> Attempt | None:
        """A try that may begin now, or None. Leave it as a context, whatever became of it."""
        attempt = Attempt(self)
        if self.state is State.CLOSED:
            self._keep(self._tries)
            return attempt
        if self._clock.seconds() < self._until:
            return None
        # A probe that is never heard of again, say of an idle call, must not keep the engine shut.
        self._until = self._clock.seconds() + OPEN_S
        self._probe = attempt
        self._enter(State.HALF_OPEN)
        return attempt

    def note_success(self, attempt: Attempt) -> None:
        if attempt is self._probe:
            self._probe = None
            self._recent.clear()
            self._tries.clear()
            self._enter(State.CLOSED)

    def note_failure(self, attempt: Attempt, error: EngineError) -> None:
        self.failures += 1
        if self.state is State.CLOSED:
            self._tell(error)
        if error.of_one:
            return  # no verdict on the engine
        if attempt is self._probe:
            self._open()
        elif self.state is State.CLOSED:
            self._keep(self._recent)
            self._forget(self._tries)
            often = len(self._recent) >= max(FAILURES, len(self._tries) / ONE_IN)
            if often or not error.retryable:
                self._open()

    def _tell(self, error: EngineError) -> None:
        """Once, not for each of a series."""
        before, self._failed = self._failed, self._clock.seconds()
        if before is None or self._failed - before > WITHIN_S:
            log.warning("engine_failed", engine=self.name, error=str(error))

    def note_end(self, attempt: Attempt) -> None:
        if attempt is self._probe:
            self._probe = None
            self._until = self._clock.seconds()

    def _keep(self, moments: deque[float]) -> None:
        """One more, and no older ones than count."""
        moments.append(self._clock.seconds())
        self._forget(moments)

    def _forget(self, moments: deque[float]) -> None:
        now = self._clock.seconds()
        while moments and now - moments[0] > WITHIN_S:
            moments.popleft()

    def _open(self) -> None:
        self.openings += 1
        self._probe = None
        self._until = self._clock.seconds() + OPEN_S
        self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._on_change(self.name, state)
