"""Where the parts are joined: settings become a running server, and end again in the opposite order.

Nothing else of the server makes a part. Tests and the demo hand in the ones they bring; what
is handed in belongs to whoever made it and is not closed here.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from functools import partial
from typing import TypeAlias, cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ExceptionHandler

from pipeline.carriers.base import Carrier
from pipeline.carriers.phonecall import Sms
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.carriers.twilio import TwilioCarrier
from pipeline.carriers.verify import Codes, TwilioVerify
from pipeline.clock import Clock
from pipeline.ports import Engines
from server.auth import Tokens, derived_key, signing_ring
from server.browser import BrowserCalls
from server.console import console_routes, on_lost
from server.errors import HANDLERS, CatchAll, overloaded
from server.inbound.replies import Receiving
from server.limits import AnswerHeaders, BodyLimit, Limiter
from server.metrics import READY
from server.news import News
from server.nodes.neighbours import Neighbours
from server.number_key import unlock
from server.openapi import document
from server.parts import Account, Limiters, Parts, PlaceCall, Placing, State
from server.passwords import Passwords
from server.payments.cashier import Cashier, open_cashier
from server.routes import OPS
from server.routes.browser import browser_routes
from server.routes.relay import relay_routes
from server.routes.twilio import twilio_routes
from server.routing import routes
from server.samples import Samples
from server.settings import Settings
from server.simulation import Texts, phones
from storage import search
from storage.db import Database
from storage.lockfile import hold_data_dir, private_dir
from storage.migrate import migrate
from storage.records import CallRow, User

log = structlog.get_logger(__name__)

SIMULATED_SENDER = "+12025550100"

QUARTER_S, HOUR_S, TEN_MINUTES_S = 900.0, 3600.0, 600.0


class NoDesk:
    """A desk that takes no calls: for the moments before the real one is open, and for tests of all else."""

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        raise overloaded()

    async def hang_up(self, user_id: str, call_id: str) -> CallRow:
        raise overloaded()

    async def opt_out(self, e164: str, how: str) -> None:
        raise overloaded()

    def follow(self, call: CallRow) -> AbstractContextManager[bool]:
        return nullcontext(False)

    @property
    def live_calls(self) -> int:
        return 0

    async def drain(self, patience_s: float) -> None:
        """There is nothing to wait for."""

    def hurry(self) -> None:
        """There is nothing to hurry."""

    @property
    def browser(self) -> BrowserCalls:
        raise overloaded()

    @property
    def samples(self) -> Samples:
        raise overloaded()

    @property
    def reception(self) -> Receiving:
        raise overloaded()


OpenDesk: TypeAlias = Callable[[Parts, Engines | None], AbstractAsyncContextManager[Placing]]


@asynccontextmanager
async def no_desk(_parts: Parts, _engines: Engines | None) -> AsyncIterator[Placing]:
    yield NoDesk()


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    account: Account | None = None,
    carrier: Carrier | None = None,
    engines: Engines | None = None,
    database: Database | None = None,
    passwords: Passwords | None = None,
    neighbours: Neighbours | None = None,
    open_desk: OpenDesk = no_desk,
) -> Starlette:
    """The application. Nothing is opened before its lifespan begins; then `app.state.parts` is a `Parts`.

    Whoever brings a carrier also brings its `account`. A `database` that is brought is migrated already.
    """
    the_clock = clock or Clock()
    the_account = account or _account(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            private_dir(settings.data_dir)
            private_dir(settings.calls_dir)
            db = database or await _open_database(stack, settings)
            await unlock(db, signing_ring(settings))
            texts = Texts() if settings.simulated else None
            line = carrier or await _open_carrier(stack, settings, the_clock, the_account, texts)
            hashes = passwords or _open_passwords(stack, settings)
            parts = _parts(settings, the_clock, db, line, hashes, texts)
            parts.neighbours = neighbours
            app.state.parts = parts
            parts.codes = _open_codes(stack, settings)
            parts.cashier = _open_cashier(stack, settings, db, the_clock)
            parts.desk = await stack.enter_async_context(open_desk(parts, engines))
            parts.state = State.READY
            READY.set(1)
            try:
                yield
            finally:
                parts.state = State.DRAINING
                READY.set(0)

    app = Starlette(
        routes=_routes(settings, the_account),
        middleware=[
            Middleware(AnswerHeaders, clock=the_clock, https=settings.public_url.startswith("https:")),
            Middleware(CatchAll),
            Middleware(BodyLimit, clock=the_clock),
        ],
        exception_handlers={
            **{kind: cast(ExceptionHandler, handler) for kind, handler in HANDLERS.items()},
            HTTPException: on_lost(settings.public_url),
        },
        lifespan=lifespan,
    )
    # A redirect to the address with a slash would be made from the Host header.
    app.router.redirect_slashes = False
    return app


def _routes(settings: Settings, account: Account) -> list[BaseRoute]:
    url = settings.public_url
    hooks = twilio_routes(
        public_url=url,
        account_sid=account.sid,
        auth_tokens=[account.auth_token, *_retiring(settings)],
        resume_pause_s=settings.resume_pause_s,
    )
    return [
        *routes(OPS),
        *console_routes(url, lambda: json.loads(document())),
        *browser_routes(url),
        *hooks,
        *relay_routes(),
    ]


def _retiring(settings: Settings) -> list[str]:
    """While the account's token is replaced the carrier signs by either."""
    other = settings.twilio_auth_token_previous
    return [] if other is None else [other.get_secret_value()]


def _account(settings: Settings) -> Account:
    if settings.twilio_account_sid is None or settings.twilio_auth_token is None:
        return Account("AC" + secrets.token_hex(16), secrets.token_hex(16), SIMULATED_SENDER)
    token = settings.twilio_auth_token.get_secret_value()
    return Account(settings.twilio_account_sid, token, settings.twilio_phone_number or "")


async def _open_database(stack: AsyncExitStack, settings: Settings) -> Database:
    if settings.sqlite:
        stack.enter_context(hold_data_dir(settings.data_dir))
    applied = await migrate(settings.database_url)
    database = Database.open(settings.database_url)
    stack.push_async_callback(database.aclose)
    async with database.read() as tx:
        if not await search.indexed(tx):
            log.warning(
                "search_without_index", reason="SQLite without FTS5: each search reads all transcripts"
            )
    log.info("database_open", dialect=database.dialect, migrations_applied=applied)
    return database


async def _open_carrier(
    stack: AsyncExitStack, settings: Settings, clock: Clock, account: Account, texts: Texts | None
) -> Carrier:
    if texts is not None:
        return await stack.enter_async_context(
            SimulatedCarrier(
                clock=clock,
                account_sid=account.sid,
                auth_token=account.auth_token,
                sender=account.sender,
                phones=phones(settings.simulated_callee),
                on_sms=partial(_show, texts),
                keep_audio=False,
            )
        )
    carrier = TwilioCarrier(
        clock=clock,
        account_sid=account.sid,
        auth_token=account.auth_token,
        sender=account.sender,
        api_url=settings.twilio_api_url,
    )
    stack.push_async_callback(carrier.aclose)
    return carrier


def _open_codes(stack: AsyncExitStack, settings: Settings) -> Codes | None:
    account, token, service = (
        settings.twilio_account_sid, settings.twilio_auth_token, settings.twilio_verify_service_sid,
    )  # fmt: skip
    if account is None or token is None or service is None:
        return None
    codes = TwilioVerify(
        account_sid=account, auth_token=token.get_secret_value(), service_sid=service,
        api_url=settings.twilio_api_url,
    )  # fmt: skip
    stack.push_async_callback(codes.aclose)
    return codes


def _open_cashier(
    stack: AsyncExitStack, settings: Settings, database: Database, clock: Clock
) -> Cashier | None:
    cashier = open_cashier(settings, database, clock)
    if cashier is not None:
        stack.push_async_callback(cashier.aclose)
    return cashier


def _show(texts: Texts, message: Sms) -> None:
    """A text to a simulated telephone appears where the server was started, and to whoever it was for in the
    console; the log never has it."""
    texts.arrived(message)
    sys.stdout.write(f"Text message to {message.to}: {message.body}\n")
    sys.stdout.flush()


def _open_passwords(stack: AsyncExitStack, settings: Settings) -> Passwords:
    passwords = Passwords(settings.bcrypt_cost)
    stack.callback(passwords.close)
    return passwords


def _parts(
    settings: Settings,
    clock: Clock,
    database: Database,
    carrier: Carrier,
    hashes: Passwords,
    texts: Texts | None,
) -> Parts:
    ring = signing_ring(settings)
    limiters = Limiters(
        login=Limiter(clock, settings.login_failures, QUARTER_S),
        login_network=Limiter(clock, settings.login_failures_per_ip, HOUR_S),
        registration=Limiter(clock, settings.registrations_per_ip, HOUR_S),
        code_number=Limiter(clock, settings.codes_per_number, TEN_MINUTES_S),
        code_user=Limiter(clock, settings.codes_per_user, HOUR_S),
    )
    return Parts(
        settings=settings,
        clock=clock,
        database=database,
        carrier=carrier,
        reach=carrier if isinstance(carrier, TwilioCarrier) else None,
        news=News(),
        passwords=hashes,
        tokens=Tokens(ring, settings.public_url, clock),
        code_key=derived_key(ring, "verification codes"),
        limiters=limiters,
        desk=NoDesk(),
        texts=texts,
    )
