"""Stripe's REST interface, as much of it as credit packs need: by its own library, answers as frozen records.

What is asked for is decided elsewhere. Every failure leaves as a `PaymentError` without what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import stripe
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import TheirFault

log = structlog.get_logger(__name__)

# The library's own default is to report on the machine and on how fast earlier requests were.
stripe.enable_telemetry = False

TRIES_AGAIN = 2
"""After a first try that got no answer, a 409 or a 5xx. All tries carry one idempotency key."""
ONE_TRY_S = 8.0
ALL_TRIES_S = 20.0

T = TypeVar("T")


class PaymentError(TheirFault):
    """The payment provider refused, lost or could not be asked. `retryable`: the same request may work later."""


class Wire(BaseModel):
    """An object of Stripe's; of its many fields those that are used here."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)


class Checkout(Wire):
    """A checkout session. `client_reference_id` is our order; amounts are in cents."""

    id: str = Field(pattern=r"^[A-Za-z0-9_]{1,255}$")
    url: str | None = None
    status: str | None = None
    payment_status: str
    amount_total: int | None = None
    currency: str | None = None
    client_reference_id: str | None = None
    payment_intent: str | None = Field(None, pattern=r"^[A-Za-z0-9_]{1,255}$")
    livemode: bool


class Charge(Wire):
    """`amount_refunded` is the total so far, in cents."""

    id: str = Field(pattern=r"^[A-Za-z0-9_]{1,255}$")
    payment_intent: str | None = Field(None, pattern=r"^[A-Za-z0-9_]{1,255}$")
    amount_refunded: int = Field(ge=0)


class Refund(Wire):
    """As it was just made, with its charge."""

    id: str = Field(pattern=r"^[A-Za-z0-9_]{1,255}$")
    amount: int = Field(ge=0)
    status: str | None = None
    charge: Charge


W = TypeVar("W", bound=Wire)


class _Transport(stripe.HTTPXClient):
    """The library's own, but a form goes to httpx as the content it is: `data=` with text is deprecated there."""

    def _get_request_args_kwargs(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> list[Any]:
        where, how = super()._get_request_args_kwargs(method, url, headers, post_data)
        form = how.pop("data")
        return [where, {**how, "content": form} if form else how]


class Gateway:
    """One account at Stripe. To be closed."""

    def __init__(self, key: str, api_url: str, *, one_try_s: float = ONE_TRY_S) -> None:
        self._http = _Transport(timeout=one_try_s)
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": api_url},
            max_network_retries=TRIES_AGAIN,
            http_client=self._http,
        )

    async def open_checkout(
        self,
        *,
        order_id: str,
        user_id: str,
        pack: str,
        cents: int,
        name: str,
        success_url: str,
        cancel_url: str,
    ) -> Checkout:
        """A checkout for one order. Asked again for the same order, Stripe answers with the same one."""
        metadata = {"purchase_id": order_id, "user_id": user_id, "pack": pack}
        price: Any = {"currency": "usd", "unit_amount": cents, "product_data": {"name": name}}
        asked = self._client.v1.checkout.sessions.create_async(
            params={
                "mode": "payment",
                "success_url": success_url,
                "cancel_url": cancel_url,
                "client_reference_id": order_id,
                "metadata": metadata,
                "payment_intent_data": {"metadata": metadata},
                "line_items": [{"quantity": 1, "price_data": price}],
            },
            options={"idempotency_key": f"checkout:{order_id}"},
        )
        return await _answer(Checkout, asked)

    async def checkout(self, session_id: str) -> Checkout:
        return await _answer(Checkout, self._client.v1.checkout.sessions.retrieve_async(session_id))

    async def refund(self, *, payment_intent: str, cents: int, order_id: str, key: str) -> Refund:
        """Gives back `cents`; under the same `key` once."""
        asked = self._client.v1.refunds.create_async(
            params={
                "payment_intent": payment_intent,
                "amount": cents,
                "metadata": {"purchase_id": order_id},
                "expand": ["charge"],
            },
            options={"idempotency_key": key},
        )
        return await _answer(Refund, asked)

    async def aclose(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the library forgot


async def _answer(kind: type[W], asked: Awaitable[stripe.StripeObject]) -> W:
    try:
        async with asyncio.timeout(ALL_TRIES_S):
            found = await asked
    except TimeoutError:
        raise PaymentError("the payment provider does not answer", retryable=True) from None
    except stripe.StripeError as error:
        raise _failure(error) from None
    return read(kind, found.to_dict())


def read(kind: type[W], found: object) -> W:
    """Raises `PaymentError` for an object that has not the fields it should have."""
    try:
        return kind.model_validate(found)
    except ValidationError:
        raise PaymentError(f"the payment provider sent no {kind.__name__.lower()} we can read") from None


def _failure(error: stripe.StripeError) -> PaymentError:
    """Of their text nothing is kept: it may repeat what was sent, or part of a key."""
    kind = type(error).__name__
    log.warning(
        "payment_request_failed",
        kind=kind,
        status=error.http_status,
        code=error.code,
        request_id=error.request_id,
    )
    if isinstance(error, stripe.APIConnectionError | stripe.RateLimitError):
        return PaymentError("the payment provider does not answer", retryable=True)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return PaymentError("the payment provider does not accept STRIPE_SECRET_KEY")
    if error.http_status is not None and error.http_status >= 500:
        return PaymentError("the payment provider has a fault", retryable=True)
    return PaymentError(f"the payment provider refused: {error.code or kind}")
