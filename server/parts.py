"""The parts of a running server, for the routes to reach: `request.app.state.parts`.

Only `server/app.py` fills them; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pipeline.carriers.base import Carrier, Reach
from pipeline.carriers.verify import Codes
from pipeline.clock import Clock
from pipeline.core.guard import Purpose
from server.auth import Tokens
from server.browser import BrowserCalls
from server.inbound.replies import Receiving
from server.limits import Limiter
from server.news import News
from server.nodes.neighbours import Neighbours
from server.passwords import Passwords
from server.payments.cashier import Cashier
from server.replays import Replays
from server.samples import Samples
from server.settings import Settings
from server.simulation import Texts
from storage.db import Database
from storage.records import CallRow, Channel, User
from storage.schedule_records import Claim


@dataclass(frozen=True, slots=True)
class Account:
    """The carrier account whose webhooks are believed: the configured one, or the simulated carrier's of this boot."""

    sid: str
    auth_token: str = field(repr=False)
    sender: str


class State(StrEnum):
    """What `/readyz` says."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Rung:
    """A call that came in and is answered since `at`: the id it is to have, the carrier's name of it, and the number
    it says it is from, None where that is withheld."""

    call_id: str
    sid: str
    at: datetime
    e164: str | None


@dataclass(frozen=True, slots=True)
class PlaceCall:
    """A call somebody asks for. `max_minutes` None leaves it to the scenario, the persona and the server.

    `scheduled` is set when a schedule asks: the call is placed only while that claim holds.
    `variables` fills in what the scenario leaves open.
    """

    persona_id: str
    scenario_id: str | None
    context: str
    max_minutes: int | None
    channel: Channel
    scheduled: Claim | None = None
    purpose: Purpose = Purpose.ORDER
    variables: Mapping[str, str] = field(default_factory=dict)
    rung: Rung | None = None
    """They rang us: nothing is dialled."""


class Placing(Protocol):
    """What the routes need of the calls: `server/nodes/anywhere.py`. All raise `Refused`."""

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow: ...

    async def hang_up(self, user_id: str, call_id: str) -> CallRow: ...

    async def opt_out(self, e164: str, how: str) -> None: ...

    def follow(self, call: CallRow) -> AbstractContextManager[bool]: ...

    @property
    def live_calls(self) -> int: ...

    async def drain(self, patience_s: float) -> None: ...

    def hurry(self) -> None: ...

    @property
    def browser(self) -> BrowserCalls: ...

    @property
    def samples(self) -> Samples: ...

    @property
    def reception(self) -> Receiving: ...


@dataclass(frozen=True, slots=True)
class Limiters:
    """Attempts counted in this process."""

    login: Limiter
    login_network: Limiter
    registration: Limiter
    code_number: Limiter
    code_user: Limiter


@dataclass(slots=True)
class Parts:
    """Everything a request may need."""

    settings: Settings
    clock: Clock
    database: Database
    carrier: Carrier
    news: News
    passwords: Passwords
    tokens: Tokens
    code_key: bytes
    limiters: Limiters
    desk: Placing
    codes: Codes | None = None
    """Who makes and checks verification codes; None: we do, and text them."""
    reach: Reach | None = None
    """Where the carrier's account may ring; None: it has no say in that."""
    texts: Texts | None = None
    """What simulated phones were sent; None where the phones are real."""
    neighbours: Neighbours | None = None
    """How other nodes in this very process are reached; None: there are none."""
    state: State = State.STARTING
    cashier: Cashier | None = None
    """None where Stripe is not set up: nothing is sold then."""
    replays: Replays = field(default_factory=Replays)
    begin_drain: Callable[[], None] = lambda: None
    """Take no new calls and stop when the live ones are over. Doing it again changes nothing."""
