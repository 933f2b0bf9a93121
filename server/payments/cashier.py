"""Sells credit packs: an order, its checkout, its fulfilment, its refund. Decided here only.

Whoever says that an order is paid (a webhook, the customer coming back, the poll for lost webhooks) ends in
`apply`: one transaction that grants once. The page the customer comes back to proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

import structlog
from pydantic import SecretStr

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from pipeline.core.money import parse_usd, usd
from server.limits import Limiter, too_often
from server.metrics import PAYMENT_EVENTS, PAYMENTS_REFUSED
from server.payments.events import (
    CAME_BACK,
    TYPES,
    Disputed,
    Event,
    Fact,
    Paid,
    Refunded,
    RefundTold,
    Unpaid,
    fact,
    is_proven,
)
from server.payments.gateway import Checkout, Gateway, PaymentError
from server.settings import Settings
from storage import jobs, purchases
from storage.db import Database
from storage.purchases import NANOS_PER_CENT
from storage.records import Purchase

log = structlog.get_logger(__name__)

ORDERS_AN_HOUR = 30
"""Checkouts one user may begin."""
TWIN = timedelta(seconds=60)
"""Within this time a second click is the same order."""
REREAD_S = 3.0
"""How often one order may make us ask the provider."""
SESSION_LIFE = timedelta(hours=24)
"""A checkout nobody paid ends by itself after this time."""
POLL_AGE = timedelta(minutes=10)
"""An order still open after this time may have lost its webhook."""
POLL_EVERY = timedelta(minutes=10)
POLLED_AT_ONCE = 1_000
ROUND_S = 60.0
"""How long one round may take, which is less than a background job may."""
KIND = "payments"

Applied = Literal[
    "granted", "repeated", "unknown", "amount_differs", "other_mode", "other_checkout", "marked", "taken_back",
    "given_back", "ignored", "unreadable",
]  # fmt: skip
_REFUSED = frozenset({"unknown", "amount_differs", "other_mode", "other_checkout"})


def unavailable() -> Refused:
    """The answer of a server that sells nothing."""
    return Refused(
        "payments_unavailable",
        "This server sells no credit yet. Its operator has to set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET, "
        "or may grant credit with: callmeback credit EMAIL USD",
        status=503,
    )


def _not_now(error: PaymentError) -> Refused:
    if error.retryable:
        detail = "The payment provider does not answer right now; nothing was charged. Try again in a moment."
        return Refused("payments_unavailable", detail, status=503, retry_after=5)
    detail = (
        "The payment provider refused the checkout; nothing was charged. The operator finds why in the log."
    )
    return Refused("payments_unavailable", detail, status=503)


def cents(amount: str) -> int:
    """Whole cents of a decimal string of dollars; `ValueError` for less than nothing and for parts of a cent."""
    nanos = parse_usd(amount)
    if nanos % NANOS_PER_CENT or nanos <= 0:
        raise ValueError("an amount is whole cents and more than nothing, such as 12.50")
    return nanos // NANOS_PER_CENT


class Cashier:
    """One Stripe account and the database. `live` is the key's mode: events of the other are refused."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        database: Database,
        clock: Clock,
        public_url: str,
        seller: str,
        packs: Sequence[str],
        live: bool,
        secrets: Sequence[SecretStr],
    ) -> None:
        self._gateway = gateway
        self._database = database
        self._clock = clock
        self._public_url = public_url
        self._seller = seller
        self._packs = {pack: cents(pack) for pack in packs}
        self._live = live
        self._secrets = [secret.get_secret_value() for secret in secrets]
        self._orders = Limiter(clock, ORDERS_AN_HOUR, 3600.0)
        self._rereads = Limiter(clock, 1, REREAD_S)

    async def order(self, user_id: str, pack: str, idem_key: str | None) -> Purchase:
        """An order with its checkout. Asking again is safe: it is the same order, and the same checkout at Stripe."""
        if (wait := self._orders.take(user_id)) is not None:
            raise too_often(wait)
        now = self._clock.utc()
        async with self._database.write() as tx:
            made = await purchases.order(
                tx, user_id=user_id, pack=pack, amount_cents=self._packs[pack], livemode=self._live,
                idem_key=idem_key, twin_since=now - TWIN, now=now,
            )  # fmt: skip
        if (made.pack, made.livemode) != (pack, self._live):
            raise Refused("idempotency_conflict", "This key was used for another order.", status=409)
        return made if made.checkout_url is not None else await self._open(made)

    async def _open(self, made: Purchase) -> Purchase:
        back = f"{self._public_url}/credits"
        try:
            checkout = await self._gateway.open_checkout(
                order_id=made.id,
                user_id=made.user_id,
                pack=made.pack,
                cents=made.amount_cents,
                name=f"{self._seller}: {usd(made.amount_cents * NANOS_PER_CENT)} USD of credit",
                success_url=f"{back}?paid={made.id}",
                cancel_url=f"{back}?canceled={made.id}",
            )
        except PaymentError as error:
            # Where no answer came there may be a checkout; only a refusal says that there is none.
            if not error.retryable:
                async with self._database.write() as tx:
                    await purchases.unpaid(tx, made.id, "failed", self._clock.utc())
            raise _not_now(error) from error
        if checkout.url is None:
            raise _not_now(PaymentError("a checkout without an address", retryable=True))
        async with self._database.write() as tx:
            opened = await purchases.opened(
                tx, made.id, session_id=checkout.id, url=checkout.url, now=self._clock.utc()
            )
        if opened is None:
            raise _not_now(PaymentError("an order with two checkouts"))
        return opened

    def proven(self, body: bytes, header: str) -> bool:
        return is_proven(body, header, self._secrets)

    def of_our_mode(self, event: Event) -> bool:
        return event.livemode == self._live

    async def receive(self, event: Event) -> Applied:
        """One proven event of our mode. Whatever it says, it was received: only a database that is down raises."""
        try:
            outcome = await self.apply(fact(event))
        except PaymentError:
            outcome = "unreadable"
        kind = event.type if event.type in TYPES else "other"
        PAYMENT_EVENTS.labels(kind, outcome).inc()
        if outcome == "unreadable":
            log.error("payment_event_unreadable", event_id=event.id, type=kind)
        return outcome

    async def apply(self, fact: Fact) -> Applied:
        """Brings order and ledger to what is now known, in one transaction."""
        now = self._clock.utc()
        if fact is None:
            return "ignored"
        async with self._database.write() as tx:
            match fact:
                case Paid(checkout):
                    outcome: Applied = await purchases.fulfil(
                        tx, purchase_id=checkout.client_reference_id or "", session_id=checkout.id,
                        payment_intent=checkout.payment_intent, amount_cents=checkout.amount_total,
                        currency=checkout.currency, livemode=checkout.livemode, now=now,
                    )  # fmt: skip
                case Unpaid(checkout, status):
                    marked = await purchases.unpaid(tx, checkout.client_reference_id or "", status, now)
                    outcome = "marked" if marked else "repeated"
                case Refunded(charge, payment_intent, total):
                    found = await purchases.refunded(
                        tx, charge=charge, payment_intent=payment_intent, cents=total, now=now
                    )
                    outcome = "ignored" if found is None else "taken_back"
                case RefundTold(refund, charge, payment_intent, amount, failed):
                    found = await purchases.refund_told(
                        tx, refund=refund, charge=charge, payment_intent=payment_intent, cents=amount,
                        failed=failed, now=now,
                    )  # fmt: skip
                    outcome = "ignored" if found is None else "given_back" if failed else "taken_back"
                case Disputed(dispute, payment_intent, amount, won):
                    found = await purchases.disputed(
                        tx, dispute=dispute, payment_intent=payment_intent, cents=amount, won=won, now=now
                    )
                    outcome = "ignored" if found is None else "taken_back"
                case _:
                    assert_never(fact)
        if isinstance(fact, Paid) and outcome in _REFUSED:
            # Somebody paid and got nothing: the operator has to look into it.
            PAYMENTS_REFUSED.labels(outcome).inc()
            log.error("payment_not_granted", why=outcome, session_id=fact.checkout.id)
        if isinstance(fact, RefundTold) and outcome == "given_back":
            log.warning("refund_failed", refund=fact.refund, payment_intent=fact.payment_intent)
        return outcome

    async def settle_open(self, order: Purchase) -> Purchase:
        """Asks the provider how an order stands, for a webhook that was lost. Raises `PaymentError`."""
        if order.status != "open" or order.livemode != self._live:
            return order
        if order.session_id is not None:
            await self.apply(_standing(await self._gateway.checkout(order.session_id)))
        elif order.created_at < self._clock.utc() - SESSION_LIFE:
            # The provider's answer never came. Had it made a checkout, nobody would know its address.
            async with self._database.write() as tx:
                await purchases.unpaid(tx, order.id, "expired", self._clock.utc())
        async with self._database.read() as tx:
            return await purchases.get(tx, order.id) or order

    async def look(self, order: Purchase) -> Purchase:
        """`settle_open` for whoever looks at an order: not too often, and a provider that is down is no error."""
        if order.status != "open" or self._rereads.take(order.id) is not None:
            return order
        try:
            return await self.settle_open(order)
        except PaymentError:
            return order

    async def poll(self) -> datetime:
        """Settles orders that have been open for a while, those first that were not asked after for longest.

        When to be called again. A provider that does not answer ends the round; the next one begins behind it.
        """
        now = self._clock.utc()
        async with self._database.read() as tx:
            orders = await purchases.open_before(tx, now - POLL_AGE, POLLED_AT_ONCE)
        for order in orders:
            async with self._database.write() as tx:
                await purchases.asked_after(tx, order.id, self._clock.utc())
            try:
                await self.settle_open(order)
            except PaymentError as error:
                log.warning("payment_poll_failed", purchase_id=order.id, retryable=error.retryable)
                if error.retryable:
                    break
        return now + POLL_EVERY

    async def plan(self) -> None:
        """The job that polls is there, once for all nodes; where it was given up it is due again."""
        async with self._database.write() as tx:
            await jobs.keep(tx, KIND, KIND, "{}", self._clock.utc())

    async def poll_job(self, _payload: Mapping[str, Any]) -> datetime:
        """`poll` as a background job. What a round does not come to is left to the next one."""
        try:
            async with asyncio.timeout(ROUND_S):
                return await self.poll()
        except TimeoutError:
            return self._clock.utc() + POLL_EVERY

    async def refund(self, purchase_id: str, amount_cents: int | None, key: str | None) -> Purchase:
        """Gives `amount_cents`, or all that is left, back to the customer's card and takes it off the balance.

        Raises `LookupError` when there is no such purchase, `Refused` when that much was not paid or is given back
        already, `PaymentError` when the provider does not do it.
        """
        async with self._database.read() as tx:
            found = await purchases.get(tx, purchase_id)
        if found is None:
            raise LookupError(purchase_id)
        if found.status not in {"paid", "refunded"} or found.payment_intent is None:
            raise _conflict(f"This purchase is {found.status}, not paid: there is nothing to refund.")
        left = found.amount_cents - found.reversed_cents
        wanted = left if amount_cents is None else amount_cents
        if not 0 < wanted <= left:
            rest, whole = (usd(part * NANOS_PER_CENT) for part in (left, found.amount_cents))
            raise _conflict(f"Of {whole} USD, {rest} are left to refund.")
        # A crash after the provider's answer: the same command has the same key until the refund is booked.
        # One that failed later was booked back, which counts too: after it the same command is another refund.
        place = f"key:{key}" if key is not None else f"{found.takebacks}:{found.reversed_cents}:{wanted}"
        done = await self._gateway.refund(
            payment_intent=found.payment_intent, cents=wanted, order_id=found.id,
            key=f"refund:{found.id}:{place}",
        )  # fmt: skip
        failed = done.status in CAME_BACK
        told = RefundTold(done.id, done.charge.id, found.payment_intent, done.amount, failed)
        for booked in (told, Refunded(done.charge.id, found.payment_intent, done.charge.amount_refunded)):
            await self.apply(booked)
        async with self._database.read() as tx:
            if await purchases.has_failed(tx, done.id):
                raise PaymentError(
                    "the card's bank did not take the refund; to try again, give another --key"
                )
            return await purchases.get(tx, found.id) or found

    async def aclose(self) -> None:
        await self._gateway.aclose()


def _conflict(detail: str) -> Refused:
    return Refused("invalid_request", detail, status=409)


def _standing(checkout: Checkout) -> Fact:
    """What a checkout says when it is read instead of reported."""
    if checkout.payment_status == "paid":
        return Paid(checkout)
    return Unpaid(checkout, "expired") if checkout.status == "expired" else None


def open_cashier(settings: Settings, database: Database, clock: Clock) -> Cashier | None:
    """The cashier of this server, None where Stripe is not set up."""
    key = settings.stripe_secret_key
    if key is None:
        return None
    secret = key.get_secret_value()
    return Cashier(
        gateway=Gateway(secret, settings.stripe_api_url),
        database=database,
        clock=clock,
        public_url=settings.public_url,
        seller=settings.operator_name,
        packs=settings.credit_packs,
        live="_live_" in secret,
        secrets=settings.stripe_webhook_secret,
    )
