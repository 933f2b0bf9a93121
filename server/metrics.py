"""The counters and gauges of this process, by name. What they mean to an operator is in docs/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from pipeline import surprises
from pipeline.engines.breaker import Breaker

REQUESTS = Counter(
    "callmeback_http_requests", "Answers by route, method and status", ("route", "method", "status")
)
SECONDS = Histogram(
    "callmeback_http_seconds",
    "Time to the first byte of an answer by route",
    ("route",),
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SURPRISES = surprises.SURPRISES
LOGINS = Counter("callmeback_logins", "Logins by outcome", ("outcome",))
PASSWORD_HASHES = Counter("callmeback_password_hashes", "Password hashes computed")
CODES = Counter("callmeback_codes", "Verification codes by outcome", ("outcome",))
READY = Gauge("callmeback_ready", "1 while new calls are taken")
CALLS_LIVE = Gauge("callmeback_calls_live", "Calls this process is on, ringing included")
INBOUND = Counter("callmeback_inbound", "Callers who rang, by what became of them", ("outcome",))
CALLS_ENDED = Counter("callmeback_calls_ended", "Calls by the reason they ended", ("reason",))
ENGINES_DOWN = Gauge(
    "callmeback_engine_down", "1 while an engine's circuit breaker keeps it from being tried", ("engine",)
)
TOKENS_LOST = Counter(
    "callmeback_tokens_lost", "Tokens of replies that a failing engine did not deliver", ("model",)
)
HEARD_AGAIN = Counter(
    "callmeback_seconds_heard_again",
    "Seconds of sound that a transcriber counted although another had heard them before",
    ("engine",),
)
SOUND_LOST = Counter(
    "callmeback_seconds_lost",
    "Seconds of unanswered speech that were gone when a failed transcriber's successor began to listen",
    ("engine",),
)
TURN_SECONDS = Histogram(
    "callmeback_turn_seconds",
    "From the caller's last audible sample to a stage of the answer",
    ("stage",),
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5),
)
EAGER_REPLIES = Counter("callmeback_eager_replies", "Replies begun before the turn was over", ("outcome",))
GAPS = Counter("callmeback_gaps", "Times this process stood still for more than a second")
RESUMED = Counter(
    "callmeback_resumes", "Broken calls the carrier asked about, by what became of them", ("outcome",)
)
TAKEN_OVER = Counter(
    "callmeback_takeovers", "Calls of other processes taken over, by how they went on", ("outcome",)
)
CALLS_ADJUSTED = Counter(
    "callmeback_adjustments", "Closed calls that were adjusted to the carrier's own seconds"
)
PRICES_DIFFER = Counter(
    "callmeback_carrier_prices_differ", "Calls the carrier priced otherwise, by more than 1 %"
)
UNRECONCILED = Counter(
    "callmeback_unreconciled", "Closed calls of which the carrier's record could not be had"
)
FLUSH_SECONDS = Histogram(
    "callmeback_flush_seconds",
    "Time of one flush, all calls of the process together: their journals brought to the disk, and one transaction",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2),
)
PAYMENT_EVENTS = Counter("callmeback_payment_events", "Events of the payment provider", ("type", "outcome"))
PAYMENTS_REFUSED = Counter(
    "callmeback_payments_not_granted", "Payments that were made and not granted, by why", ("why",)
)
FLUSHES_FAILED = Counter("callmeback_flushes_failed", "Flushes the database did not take; their charges wait")
SCHEDULED = Counter("callmeback_scheduled_dials", "Runs of schedules by what came of them", ("outcome",))
SCHEDULED_LATE = Histogram(
    "callmeback_scheduled_late_seconds",
    "From the moment a scheduled call was due to its claim",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300),
)
JOBS = Gauge(
    "callmeback_jobs", "Background jobs by kind and state: waiting, failing, dead", ("kind", "state")
)
JOBS_RUN = Counter("callmeback_jobs_run", "Runs of background jobs by kind and outcome", ("kind", "outcome"))

BUS_WORDS = Counter(
    "callmeback_bus_words", "Words from node to node, by kind and direction", ("kind", "direction")
)
RELAYS = Gauge("callmeback_relays", "Media sockets here whose calls are conducted by another node")
ADJUSTED = Counter(
    "callmeback_adjusted_nanodollars", "Charges given back when vendors counted less than we did"
)
LOOP_LAG = Histogram(
    "callmeback_loop_lag_seconds",
    "How late the event loop woke up, sampled every 50 ms",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
# Of the database, set when somebody asks: every process on it says the same.
LEDGER_ANSWERS = Gauge(
    "callmeback_ledger_answers", "1 while the database answers; the figures below are then of now"
)
OVERSPEND = Gauge(
    "callmeback_overspend_nanodollars", "What calls cost beyond their holds; 0 unless something is wrong"
)
UNCONFIRMED = Gauge(
    "callmeback_unconfirmed_nanodollars", "Purchases that were perhaps made as a process died"
)
LOSSES = Gauge(
    "callmeback_operator_losses_nanodollars", "What the operator paid in a user's place", ("reason",)
)
HOLDS = Gauge("callmeback_holds_open", "Calls for which money is set aside")
HELD = Gauge("callmeback_held_nanodollars", "Money set aside for calls")
OLDEST_UNSETTLED = Gauge(
    "callmeback_oldest_unsettled_seconds",
    "Since the end of the call that waits longest for its books to be closed",
)


class EngineBreakers(Collector):
    """What the breakers of this process have counted, read off them when somebody asks."""

    def __init__(self) -> None:
        self.breakers: Mapping[str, Breaker] = {}
        self.certain: Sequence[str] = ()
        """Engines without a breaker: they run in this process and cannot be away."""

    def watch(self, breakers: Mapping[str, Breaker], certain: Sequence[str] = ()) -> None:
        self.breakers, self.certain = breakers, certain

    def collect(self) -> Iterator[CounterMetricFamily]:
        failures = CounterMetricFamily(
            "callmeback_engine_failures", "Failures of an engine, slowness included", labels=["engine"]
        )
        openings = CounterMetricFamily(
            "callmeback_engine_openings", "Times an engine's breaker has opened", labels=["engine"]
        )
        for name, breaker in self.breakers.items():
            failures.add_metric([name], breaker.failures)
            openings.add_metric([name], breaker.openings)
        yield failures
        yield openings


ENGINE_BREAKERS = EngineBreakers()
REGISTRY.register(ENGINE_BREAKERS)
