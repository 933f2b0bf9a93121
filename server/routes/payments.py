"""Buying credit: the packs, an order with its checkout, my orders, and the payment provider's webhook."""

from __future__ import annotations

from typing import Annotated, Literal

import structlog
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from pipeline.core.money import usd
from server.errors import Unparsable, invalid, not_found
from server.metrics import PAYMENT_EVENTS
from server.payments.cashier import Cashier, cents, unavailable
from server.payments.events import event
from server.payments.gateway import PaymentError
from server.routing import AnyOp, Ask, Body, Op, PageQuery, Text, Usd, View, When
from storage import purchases
from storage.purchases import NANOS_PER_CENT
from storage.records import Purchase, PurchaseStatus

log = structlog.get_logger(__name__)


class PackView(View):
    pack: str
    amount_usd: Usd


class PackList(View):
    """What is for sale; nothing where the operator has set up no payments."""

    items: list[PackView]
    next_cursor: str | None


class CheckoutBody(Body):
    pack: Annotated[Text, Field(max_length=16, description="One of /api/credits/packs.")]


class CheckoutView(View):
    """`url` is where the customer pays; the credit is there once `/api/credits/purchases/{id}` says paid."""

    url: str
    id: str
    pack: str
    amount_usd: Usd


class PurchaseView(View):
    """`refunded_usd` counts what was refunded and what is disputed; `url` is where an open order can be paid."""

    id: str
    pack: str
    amount_usd: Usd
    status: PurchaseStatus
    refunded_usd: Usd
    url: str | None
    created_at: When
    paid_at: When | None


class PurchaseList(View):
    items: list[PurchaseView]
    next_cursor: str | None


class Received(View):
    received: Literal[True]


def _dollars(amount_cents: int) -> str:
    return usd(amount_cents * NANOS_PER_CENT)


def view(found: Purchase) -> PurchaseView:
    return PurchaseView(
        id=found.id,
        pack=found.pack,
        amount_usd=_dollars(found.amount_cents),
        status=found.status,
        refunded_usd=_dollars(found.reversed_cents),
        url=found.checkout_url if found.status == "open" else None,
        created_at=found.created_at,
        paid_at=found.paid_at,
    )


def _cashier(cashier: Cashier | None) -> Cashier:
    if cashier is None:
        raise unavailable()
    return cashier


async def packs(ask: Ask[None, None]) -> PackList:
    sold = () if ask.parts.cashier is None else ask.parts.settings.credit_packs
    items = [PackView(pack=pack, amount_usd=_dollars(cents(pack))) for pack in sold]
    return PackList(items=items, next_cursor=None)


async def checkout(ask: Ask[CheckoutBody, None]) -> CheckoutView:
    cashier, pack = _cashier(ask.parts.cashier), ask.body.pack
    if pack not in ask.parts.settings.credit_packs:
        raise invalid("pack", "is not for sale; GET /api/credits/packs lists what is")
    made = await cashier.order(ask.user.id, pack, ask.idempotency_key())
    return CheckoutView(
        url=made.checkout_url or "", id=made.id, pack=made.pack, amount_usd=_dollars(made.amount_cents)
    )


async def listed(ask: Ask[None, PageQuery]) -> PurchaseList:
    async with ask.parts.database.read() as tx:
        page = await purchases.page(tx, ask.user.id, ask.query.cursor, ask.query.limit)
    return PurchaseList(items=[view(item) for item in page.items], next_cursor=page.next_cursor)


async def one(ask: Ask[None, None]) -> PurchaseView:
    """An order that is open is asked after at the payment provider first: its webhook may be lost."""
    async with ask.parts.database.read() as tx:
        found = await purchases.get_for(tx, ask.user.id, ask.ident())
    if found is None:
        raise not_found()
    return view(found if ask.parts.cashier is None else await ask.parts.cashier.look(found))


async def webhook(ask: Ask[None, None]) -> Received | Response:
    """400 for what is not proven, 200 for all that is: the provider repeats everything else for days."""
    cashier = _cashier(ask.parts.cashier)
    try:
        body = await ask.request.body()
    except ClientDisconnect:
        raise Unparsable("The body did not arrive.") from None
    headers = ask.request.headers.getlist("stripe-signature")
    if len(headers) != 1 or not cashier.proven(body, headers[0]):
        PAYMENT_EVENTS.labels("other", "unproven").inc()
        log.warning("payment_webhook_refused", why="signature")
        raise Unparsable("The signature is missing, wrong or too old.")
    try:
        reported = event(body)
    except PaymentError:
        PAYMENT_EVENTS.labels("other", "unreadable").inc()
        log.error("payment_event_unreadable")
        return Received(received=True)
    if not cashier.of_our_mode(reported):
        PAYMENT_EVENTS.labels("other", "other_mode").inc()
        log.error("payment_webhook_refused", why="livemode", event_id=reported.id)
        raise Unparsable("The event is of the other mode, live or test, than STRIPE_SECRET_KEY.")
    await cashier.receive(reported)
    return Received(received=True)


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/credits/packs", packs, "Credit packs for sale", reply=PackList),
    Op(
        "POST", "/api/credits/checkout", checkout, "Buy a credit pack: where to pay", body=CheckoutBody,
        reply=CheckoutView, status=201,
        refuses=((409, "idempotency_conflict"), (429, "rate_limited"), (503, "payments_unavailable")),
        headers=(("Idempotency-Key", "Repeating the request under one key is one order."),),
    ),
    Op(
        "GET", "/api/credits/purchases", listed, "My orders, newest first", query=PageQuery, reply=PurchaseList,
    ),
    Op("GET", "/api/credits/purchases/{id}", one, "One order; asked after at the provider while it is open",
       reply=PurchaseView),
    Op(
        "POST", "/stripe/webhook", webhook, "Events of the payment provider", reply=Received, public=True,
        refuses=((400, "invalid_request"), (408, "invalid_request"), (413, "invalid_request"),
                 (503, "overloaded"), (503, "payments_unavailable")),
        headers=(("Stripe-Signature", "Proves that the body is the provider's."),),
    ),
)  # fmt: skip
