"""The breaker opens on many failures or one lasting one, and lets single probes through after a while."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pipeline.clock import Clock
from pipeline.core.errors import EngineError
from pipeline.engines.breaker import Attempt, Breaker, State

PASSING = EngineError("busy", retryable=True)
LASTING = EngineError("wrong key")
OF_ONE = EngineError("no such voice", of_one=True)


class HandClock(Clock):
    """Stands still until it is set."""

    now = 100.0

    def seconds(self) -> float:
        return self.now


def begun(breaker: Breaker) -> Attempt:
    attempt = breaker.admit()
    assert attempt is not None
    return attempt


def fail(breaker: Breaker, error: EngineError = PASSING) -> None:
    with begun(breaker) as attempt:
        attempt.failed(error)


def state(breaker: Breaker) -> State:
    """Asked anew each time, which a type checker cannot know of an attribute."""
    return breaker.state


def opened() -> tuple[Breaker, HandClock]:
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    fail(breaker, LASTING)
    return breaker, clock


def test_five_failures_within_twenty_seconds_open_it_for_fifteen() -> None:
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    for _ in range(4):
        fail(breaker)
        clock.now += 5
    assert state(breaker) is State.CLOSED
    fail(breaker)
    assert state(breaker) is State.OPEN
    clock.now += 14.99
    assert breaker.admit() is None
    clock.now += 0.01
    assert breaker.admit() is not None
    assert (breaker.failures, breaker.openings) == (5, 1)


def test_failures_that_are_further_apart_do_not() -> None:
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    for _ in range(30):
        fail(breaker)
        clock.now += 5.01
    assert (state(breaker), breaker.failures, breaker.openings) == (State.CLOSED, 30, 0)


def test_successes_in_between_do_not_excuse_failures() -> None:
    breaker = Breaker("vendor", HandClock())
    for _ in range(5):
        begun(breaker).succeeded()
        fail(breaker)
    assert state(breaker) is State.OPEN


def busy(breaker: Breaker, clock: HandClock, one_in: int) -> None:
    """Twenty tries a second for a minute, of which one in so many fails."""
    for number in range(1, 1_201):
        with begun(breaker) as attempt:
            if number % one_in:
                attempt.succeeded()
            else:
                attempt.failed(PASSING)
        if state(breaker) is not State.CLOSED:
            return
        clock.now += 0.05


def test_a_few_failures_of_very_many_tries_are_no_outage() -> None:
    """With a hundred calls, one late reply in sixty-six kept the model from all of them."""
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    busy(breaker, clock, 25)
    assert (state(breaker), breaker.failures) == (State.CLOSED, 48)
    busy(breaker, clock, 15)
    assert state(breaker) is State.OPEN
    assert breaker.failures > 48 + 5


def test_what_was_tried_long_ago_or_before_an_outage_excuses_nothing() -> None:
    clock = HandClock()
    for lasting in (False, True):
        breaker = Breaker("vendor", clock)
        busy(breaker, clock, 2_000)
        if lasting:
            fail(breaker, LASTING)
            clock.now += 15
            begun(breaker).succeeded()
        else:
            clock.now += 20
        for _ in range(4):
            fail(breaker)
        assert state(breaker) is State.CLOSED
        fail(breaker)
        assert state(breaker) is State.OPEN


def test_tries_that_last_do_not_excuse_those_that_fail_long_after_they_began() -> None:
    """A call listens as long as it goes on: when the vendor drops some, the others began a while ago."""
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    listening = [begun(breaker) for _ in range(200)]
    clock.now += 21
    for attempt in listening[:4]:
        attempt.failed(PASSING)
    assert state(breaker) is State.CLOSED
    listening[4].failed(PASSING)
    assert state(breaker) is State.OPEN


def test_a_lasting_failure_opens_it_at_once() -> None:
    assert state(opened()[0]) is State.OPEN


def test_what_only_one_request_failed_for_is_told_and_is_no_verdict() -> None:
    breaker = Breaker("vendor", HandClock())
    with capture_logs() as logs:
        for _ in range(10):
            fail(breaker, OF_ONE)
    assert (state(breaker), breaker.failures) == (State.CLOSED, 10)
    assert [line["error"] for line in logs] == ["no such voice"]


def test_a_probe_that_failed_for_its_own_request_only_makes_room_for_the_next() -> None:
    breaker, clock = opened()
    clock.now += 15
    fail(breaker, OF_ONE)
    assert state(breaker) is State.HALF_OPEN
    begun(breaker).succeeded()
    assert state(breaker) is State.CLOSED


def test_one_probe_at_a_time_and_its_success_closes() -> None:
    breaker, clock = opened()
    clock.now += 15
    with begun(breaker) as probe:
        assert state(breaker) is State.HALF_OPEN
        assert breaker.admit() is None
        probe.succeeded()
    assert state(breaker) is State.CLOSED
    for _ in range(4):  # what was before is forgotten
        fail(breaker)
    assert state(breaker) is State.CLOSED


def test_a_probe_that_fails_opens_it_again_for_fifteen_seconds() -> None:
    breaker, clock = opened()
    clock.now += 15
    fail(breaker)
    assert (state(breaker), breaker.openings) == (State.OPEN, 2)
    clock.now += 14.9
    assert breaker.admit() is None


def test_a_probe_that_was_cancelled_makes_room_for_the_next() -> None:
    breaker, clock = opened()
    clock.now += 15
    with begun(breaker):
        pass
    assert state(breaker) is State.HALF_OPEN
    with begun(breaker) as probe:
        assert breaker.admit() is None
        probe.succeeded()
    assert state(breaker) is State.CLOSED


def test_a_probe_without_a_verdict_does_not_keep_it_shut_for_ever() -> None:
    breaker, clock = opened()
    clock.now += 15
    idle = begun(breaker)
    clock.now += 15
    second = begun(breaker)
    idle.failed(PASSING)
    idle.succeeded()
    assert state(breaker) is State.HALF_OPEN
    second.succeeded()
    assert state(breaker) is State.CLOSED


def test_tries_that_began_before_it_opened_change_nothing() -> None:
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    early, late = begun(breaker), begun(breaker)
    fail(breaker, LASTING)
    clock.now += 10
    early.failed(LASTING)
    late.succeeded()
    assert (state(breaker), breaker.failures, breaker.openings) == (State.OPEN, 2, 1)
    clock.now += 5
    assert breaker.admit() is not None


def test_each_change_is_told_once() -> None:
    told: list[tuple[str, State]] = []
    clock = HandClock()
    breaker = Breaker("vendor", clock, lambda name, state: told.append((name, state)))
    fail(breaker, LASTING)
    clock.now += 15
    with begun(breaker):
        pass
    fail(breaker)
    clock.now += 15
    begun(breaker).succeeded()
    expected = [State.OPEN, State.HALF_OPEN, State.OPEN, State.HALF_OPEN, State.CLOSED]
    assert told == [("vendor", each) for each in expected]


# -- against a plain model -----------------------------------------------------------------


@dataclass
class Model:
    """The rules as they are told, with every failure remembered and everything looked up when asked."""

    opened_at: list[float] = field(default_factory=list)
    closed_at: list[float] = field(default_factory=lambda: [-1.0])
    failed_at: list[float] = field(default_factory=list)
    probe: tuple[Attempt, float] | None = None
    """The one under way, and since when."""

    def closed(self) -> bool:
        return len(self.closed_at) > len(self.opened_streaks())

    def opened_streaks(self) -> list[float]:
        """Openings from closed, not those by a probe."""
        return [at for at, by_probe in zip(self.opened_at, self.by_probe, strict=True) if not by_probe]

    by_probe: list[bool] = field(default_factory=list)

    def admits(self, now: float) -> bool:
        if self.closed():
            return True
        busy = self.probe is not None and now - self.probe[1] < 15
        return now - self.opened_at[-1] >= 15 and not busy

    def failed(self, attempt: Attempt, now: float, retryable: bool) -> None:
        if self.probe is not None and attempt is self.probe[0]:
            self._open(now, by_probe=True)
        elif self.closed():
            self.failed_at.append(now)
            recent = [at for at in self.failed_at if now - at <= 20]
            if len(recent) >= 5 or not retryable:
                self._open(now, by_probe=False)

    def succeeded(self, attempt: Attempt, now: float) -> None:
        if self.probe is not None and attempt is self.probe[0]:
            self.probe = None
            self.closed_at.append(now)

    def ended(self, attempt: Attempt) -> None:
        if self.probe is not None and attempt is self.probe[0]:
            self.probe = None

    def _open(self, now: float, by_probe: bool) -> None:
        self.opened_at.append(now)
        self.by_probe.append(by_probe)
        self.failed_at.clear()
        self.probe = None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "begin", "begin", "succeed", "fail", "fail", "fail for good", "end"]),
        st.integers(0, 64),
    ),
    max_size=80,
)


@given(STEPS)
def test_it_does_what_the_model_does(steps: list[tuple[str, int]]) -> None:
    clock = HandClock()
    breaker, model = Breaker("vendor", clock), Model()
    tries: list[Attempt] = []
    failures = 0
    for what, number in steps:
        now = clock.now
        if what == "wait":
            clock.now += number / 4  # exact in binary, so both count alike
        elif what == "begin":
            admitted = breaker.admit()
            assert (admitted is not None) == model.admits(now)
            if admitted is not None:
                tries.append(admitted)
                if not model.closed():
                    model.probe = (admitted, now)
        elif tries:
            attempt = tries[number % len(tries)]
            match what:
                case "succeed":
                    attempt.succeeded()
                    model.succeeded(attempt, now)
                case "end":
                    attempt.__exit__(None, None, None)
                    model.ended(attempt)
                case _:
                    failures += 1
                    error = PASSING if what == "fail" else LASTING
                    attempt.failed(error)
                    model.failed(attempt, now, error.retryable)
        assert (state(breaker) is State.CLOSED) == model.closed()
        assert (breaker.failures, breaker.openings) == (failures, len(model.opened_at))


def test_the_first_failure_of_a_series_is_logged() -> None:
    """An engine that is merely passed over call by call opens no breaker, and would not be noticed."""
    clock = HandClock()
    breaker = Breaker("vendor", clock)
    with capture_logs() as told:
        for _ in range(2):
            for _ in range(2):
                attempt = breaker.admit()
                assert attempt is not None
                attempt.failed(PASSING)
            clock.now += 30
    assert [(entry["event"], entry["engine"]) for entry in told] == [("engine_failed", "vendor")] * 2
