"""What Stripe reports: proven by its signature, then read into the few facts that matter here.

The signature covers the body byte for byte, so it is checked before anything is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import stripe
from pydantic import Field

from server.payments.gateway import Charge, Checkout, PaymentError, Wire, read

TOLERANCE_S = 300
"""How old a signature may be."""


@dataclass(frozen=True, slots=True)
class Paid:
    """A checkout that is over and paid."""

    checkout: Checkout


@dataclass(frozen=True, slots=True)
class Unpaid:
    """A checkout that came to nothing."""

    checkout: Checkout
    status: Literal["expired", "failed"]


@dataclass(frozen=True, slots=True)
class Refunded:
    """`cents` in all were given back of a charge."""

    charge: str
    payment_intent: str
    cents: int


@dataclass(frozen=True, slots=True)
class RefundTold:
    """One refund of `cents`; `failed`: the card's bank sent it back, sometimes days later."""

    refund: str
    charge: str
    payment_intent: str
    cents: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Disputed:
    """The customer's bank took `cents` back; `won`: and gave them back in the end."""

    dispute: str
    payment_intent: str
    cents: int
    won: bool


Fact: TypeAlias = Paid | Unpaid | Refunded | RefundTold | Disputed | None
CAME_BACK = frozenset({"failed", "canceled"})
"""The states of a refund that did not reach the customer."""


class SingleRefund(Wire):
    """A refund as an event tells of it."""

    id: str = Field(pattern=r"^[A-Za-z0-9_]{1,255}$")
    amount: int = Field(ge=0)
    status: str | None = None
    charge: str | None = Field(None, pattern=r"^[A-Za-z0-9_]{1,255}$")
    payment_intent: str | None = Field(None, pattern=r"^[A-Za-z0-9_]{1,255}$")


class Dispute(Wire):
    id: str = Field(pattern=r"^[A-Za-z0-9_]{1,255}$")
    amount: int = Field(ge=0)
    status: str
    payment_intent: str | None = Field(None, pattern=r"^[A-Za-z0-9_]{1,255}$")


class EventData(Wire):
    object: dict[str, Any]


class Event(Wire):
    id: str
    type: str
    livemode: bool
    data: EventData


TYPES = frozenset(
    {
        *(f"checkout.session.{end}" for end in ("completed", "expired")),
        *(f"checkout.session.async_payment_{end}" for end in ("succeeded", "failed")),
        *(
            "charge.refunded",
            "refund.created",
            "refund.updated",
            "refund.failed",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.closed",
        ),
    }
)
"""The events this server wants; docs/payments.md tells the operator to choose them."""


def is_proven(body: bytes, header: str, secrets: Sequence[str], tolerance_s: int = TOLERANCE_S) -> bool:
    """Whether one of the endpoint's secrets signed this body, not longer ago than `tolerance_s`."""
    if not header.isascii():
        return False
    proven = False
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(body, header, secret, tolerance_s)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        proven = True
    return proven


def event(body: bytes) -> Event:
    """Raises `PaymentError` for a body that is no event."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise PaymentError("the payment provider sent no JSON") from None
    return read(Event, found)


def fact(event: Event) -> Fact:
    """What an event says, None when it says nothing we act on. Raises `PaymentError` where it is not readable."""
    found = event.data.object
    match event.type:
        case "checkout.session.completed":
            checkout = read(Checkout, found)
            # With a delayed method the money comes later, if it comes: then there is a second event.
            return Paid(checkout) if checkout.payment_status == "paid" else None
        case "checkout.session.async_payment_succeeded":
            return Paid(read(Checkout, found))
        case "checkout.session.async_payment_failed":
            return Unpaid(read(Checkout, found), "failed")
        case "checkout.session.expired":
            return Unpaid(read(Checkout, found), "expired")
        case "charge.refunded":
            return _refunded(read(Charge, found))
        case "refund.created" | "refund.updated" | "refund.failed":
            return _told(read(SingleRefund, found))
        case "charge.dispute.created" | "charge.dispute.funds_withdrawn" | "charge.dispute.closed":
            return _disputed(read(Dispute, found))
        case _:
            return None


def _refunded(charge: Charge) -> Refunded | None:
    if charge.payment_intent is None:
        return None
    return Refunded(charge.id, charge.payment_intent, charge.amount_refunded)


def _told(refund: SingleRefund) -> RefundTold | None:
    if refund.payment_intent is None or refund.charge is None:
        return None
    failed = refund.status in CAME_BACK
    return RefundTold(refund.id, refund.charge, refund.payment_intent, refund.amount, failed)


def _disputed(dispute: Dispute) -> Disputed | None:
    # An inquiry ("warning_…") moves no money; if it becomes a dispute, the money that is withdrawn has its event.
    if dispute.payment_intent is None or dispute.status.startswith("warning_"):
        return None
    return Disputed(dispute.id, dispute.payment_intent, dispute.amount, dispute.status == "won")
