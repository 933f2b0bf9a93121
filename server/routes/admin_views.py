"""What the operator is shown, and how rows become it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from pipeline.core.money import usd
from server.money.auditing import AuditResult
from server.nodes import health
from server.routing import Usd, View, When
from storage import overview
from storage.nodes import LEASE_S
from storage.purchases import NANOS_PER_CENT
from storage.standing import Standing


class LiveCall(View):
    id: str
    node: str
    status: str
    channel: str
    persona_id: str
    email: str
    total_usd: Usd
    created_at: When
    answered_at: When | None


class Node(View):
    """`silent_seconds` since its latest sign of life; `alive` while that is less than its lease."""

    id: str
    url: str
    version: str
    here: Annotated[bool, Field(description="The node that answers this.")]
    alive: bool
    draining: bool
    started_at: When
    silent_seconds: float
    calls: int


class EngineSpeed(View):
    """What the node's latest answers waited for: the turn's end (stt), the first word (llm), the first sound (tts).

    Of the seam, whichever of its engines gave them; at most the latest hundred.
    """

    p50_ms: int
    p95_ms: int
    answers: int


class Engine(View):
    """An engine of a node, by the node's id: its breaker is closed, open or half-open; built-in: it cannot be away.

    Of the node that answers it is how it is now, of another how it was at that node's latest sign of life.
    """

    node: str
    name: str
    state: str
    failures: int
    openings: int
    speed: EngineSpeed | None


class JobCount(View):
    kind: str
    status: str
    number: int


class DeadJob(View):
    id: str
    kind: str
    attempts: int
    error: str


class Packs(View):
    status: str
    number: int
    usd: Usd
    reversed_usd: Usd


class Books(View):
    """`losses_usd`: what the operator paid, by reason. `exposed_usd` is 0 unless something is wrong."""

    holds: int
    held_usd: Usd
    exposed_usd: Usd
    losses_usd: dict[str, Usd]


class Audited(View):
    """The latest audit that was asked for here; `waiting` while another is due or under way."""

    waiting: bool
    at: When | None
    result: AuditResult | None


class Entry(View):
    actor: str
    action: str
    subject: str
    detail: str
    at: When


class Overview(View):
    now: When
    live_calls: int
    calls: list[LiveCall]
    nodes: list[Node]
    engines: list[Engine]
    jobs: list[JobCount]
    dead_jobs: list[DeadJob]
    packs: list[Packs]
    books: Books
    audit: Audited
    opt_outs: int
    log: list[Entry]


class DaySpend(View):
    day: str
    calls: int
    usd: Usd


class ServiceSpend(View):
    service: str
    model: str
    usd: Usd


class Spend(View):
    """Of calls by the day (UTC) on which they were placed; `services` of this month."""

    today_usd: Usd
    month_usd: Usd
    days: list[DaySpend]
    services: list[ServiceSpend]


class PersonView(View):
    id: str
    email: str
    name: str
    role: str
    created_at: When
    balance_usd: Usd
    held_usd: Usd


class People(View):
    items: list[PersonView]
    next_cursor: str | None


class Granted(View):
    granted: Annotated[bool, Field(description="False when it was granted before under this key.")]
    balance_usd: Usd


class NumberView(View):
    phone: str
    opted_out: bool


def call_view(call: overview.LiveRow) -> LiveCall:
    return LiveCall(
        id=call.id,
        node=call.owner,
        status=call.status,
        channel=call.channel,
        persona_id=call.persona_id,
        email=call.email,
        total_usd=usd(call.total_nano),
        created_at=call.created_at,
        answered_at=call.answered_at,
    )


def node_view(node: overview.NodeRow, here: str, live: Sequence[overview.LiveRow]) -> Node:
    alive = node.silent_s < LEASE_S
    return Node(
        id=node.boot_id,
        url=node.url,
        version=node.version,
        here=alive and node.url == here,
        alive=alive,
        draining=node.draining,
        started_at=node.started_at,
        silent_seconds=round(node.silent_s, 1),
        calls=sum(call.owner == node.boot_id for call in live),
    )


def engines_view(nodes: Sequence[overview.NodeRow], here: str) -> list[Engine]:
    """Those of all nodes that live."""
    alive = [node for node in nodes if node.silent_s < LEASE_S]
    return [
        Engine(node=node.boot_id, **asdict(engine))
        for node in alive
        for engine in (health.here() if node.url == here else health.read(node.engines))
    ]


def books_view(books: Standing) -> Books:
    return Books(
        holds=books.holds,
        held_usd=usd(books.held),
        exposed_usd=usd(books.exposed),
        losses_usd={reason: usd(nano) for reason, nano in books.losses.items()},
    )


def packs_view(pack: overview.Sold) -> Packs:
    return Packs(
        status=pack.status,
        number=pack.number,
        usd=usd(pack.cents * NANOS_PER_CENT),
        reversed_usd=usd(pack.reversed_cents * NANOS_PER_CENT),
    )


def entry_view(one: overview.Noted) -> Entry:
    return Entry(
        actor=one.actor, action=one.action, subject=one.subject, detail=one.detail[:200], at=one.created_at
    )


def spend_view(
    days: Sequence[overview.DaySpend], services: Sequence[overview.ServiceSpend], today: str
) -> Spend:
    month = today[:7]
    return Spend(
        today_usd=usd(sum(day.nano for day in days if day.day == today)),
        month_usd=usd(sum(day.nano for day in days if day.day.startswith(month))),
        days=[DaySpend(day=day.day, calls=day.calls, usd=usd(day.nano)) for day in days],
        services=[
            ServiceSpend(service=each.service, model=each.model, usd=usd(each.nano)) for each in services
        ],
    )


def person_view(person: overview.Person) -> PersonView:
    return PersonView(
        id=person.id,
        email=person.email,
        name=person.name,
        role=person.role,
        created_at=person.created_at,
        balance_usd=usd(person.balance_nano),
        held_usd=usd(person.held_nano),
    )


def dead_view(job: overview.DeadJob) -> DeadJob:
    return DeadJob(id=job.id, kind=job.kind, attempts=job.attempts, error=job.error)
