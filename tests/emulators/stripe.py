"""Stripe, emulated: checkout sessions, refunds, disputes, idempotency, signed events, and a page to pay on.

An ASGI application without a clock of the product's; `StripeEmulator` holds its books. In a test:

    async with StripeEmulator(secret=...) as stripe:    # listens on a free port of 127.0.0.1
        settings(stripe_api_url=stripe.url, stripe_webhook_secret=..., stripe_secret_key=KEY)
        stripe.webhook = "http://127.0.0.1:PORT/stripe/webhook"    # events go there; none while it is None
        await stripe.pay(session_id)                    # what its page's button does

`stripe.delivers` says how events go out: "at_once", "twice", "never" (kept in `stripe.events` for `deliver`).
`stripe.faults` are for the next requests, one each: "500" (nothing done), "500_after" (done, answer lost as a 500),
"timeout" (no answer until the client leaves), "reset" (the connection is dropped), "429", "409".

By hand, with a console in the browser (prints its address; needs nothing but this repository):

    python -m tests.emulators.stripe --port 12111 --webhook http://127.0.0.1:8000/stripe/webhook --secret whsec_local
    STRIPE_SECRET_KEY=sk_test_local STRIPE_WEBHOOK_SECRET=whsec_local STRIPE_API_URL=http://127.0.0.1:12111 make serve

Long because it is one vendor's interface, whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import html
import json
import secrets
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Json = dict[str, Any]
Fault = Literal["500", "500_after", "timeout", "reset", "429", "409"]

KEY = "sk_test_emulated"
SECRET = "whsec_emulated"
API_VERSION = "2026-10-28.endive"
LEAST_CENTS = 50
LIFE_S = 24 * 3600


class Refusal(Exception):
    """An error answer, as Stripe words them."""

    def __init__(self, status: int, kind: str, message: str, *, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"type": kind, "message": message}}
        self.body["error"].update({key: value for key, value in (("code", code), ("param", param)) if value})


def sign(body: bytes, secret: str, at: int | None = None) -> str:
    """The `Stripe-Signature` of a body; `at` in Unix seconds, now unless said."""
    moment = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def ident(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def nested(pairs: list[tuple[str, str]]) -> Json:
    """A form with bracketed names as the tree it means; lists stay dicts by index."""
    tree: Json = {}
    for name, value in pairs:
        first, *rest = name.replace("]", "").split("[")
        at, path = tree, [first, *rest]
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = value
    return tree


class _Server(uvicorn.Server):
    """uvicorn, without taking the signals of the process it is in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Dropped(Response):
    """Promises a body and hangs up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


@dataclass
class Asked:
    """One request that reached the emulator."""

    method: str
    path: str
    form: Json
    headers: dict[str, str]


@dataclass
class Kept:
    """The first answer under an idempotency key."""

    method: str
    path: str
    body: bytes
    answer: tuple[int, Json]


@dataclass
class StripeEmulator:
    """Its books and how it behaves. A context: inside, it listens on `url`."""

    secret: str = SECRET
    key: str = KEY
    """The only one that is let in; any where it is empty."""
    webhook: str | None = None
    delivers: Literal["at_once", "twice", "never"] = "at_once"
    port: int = 0
    client: httpx.AsyncClient | None = None
    """Delivers the events; one that speaks to an application in this process makes a socket needless."""
    livemode: bool = False
    faults: deque[Fault] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    """Every event there was, delivered or not, in order."""
    answers: list[int] = field(default_factory=list)
    """What the webhook answered to each delivery."""
    sessions: dict[str, Json] = field(default_factory=dict)
    intents: dict[str, Json] = field(default_factory=dict)
    charges: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    _kept: dict[str, Kept] = field(default_factory=dict)
    _under_way: set[str] = field(default_factory=set)
    _server: uvicorn.Server | None = None
    _serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(app(self), log_config=None, access_log=False, lifespan="off", ws="none")
        )
        # The listener takes connections from now on, so nobody has to wait until the server is up.
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._serving is not None
        self._server.should_exit = self._server.force_exit = True
        await self._serving

    # -- what a customer, a bank and an operator do --------------------------------------

    async def pay(self, session_id: str, *, method: Literal["card", "delayed"] = "card") -> Json:
        """The customer pays; with a delayed method the money comes with `arrives`."""
        session = self._open(session_id)
        intent = self._intent(session)
        session.update(status="complete", payment_intent=intent["id"])
        if method == "card":
            self._charged(session, intent)
        await self._happens("checkout.session.completed", session)
        return session

    async def arrives(self, session_id: str, *, good: bool = True) -> None:
        """The money of a delayed method comes, or does not."""
        session = self.sessions[session_id]
        if good:
            self._charged(session, self.intents[session["payment_intent"]])
        await self._happens(f"checkout.session.async_payment_{'succeeded' if good else 'failed'}", session)

    async def expire(self, session_id: str) -> Json:
        session = self._open(session_id)
        session.update(status="expired", url=None)
        await self._happens("checkout.session.expired", session)
        return session

    async def refund(
        self, payment_intent: str, cents: int | None = None, metadata: Json | None = None
    ) -> Json:
        """By the API or in the dashboard."""
        charge = self._charge_of(payment_intent)
        left = charge["amount"] - charge["amount_refunded"]
        amount = left if cents is None else cents
        if left == 0:
            raise Refusal(
                400, "invalid_request_error", f"Charge {charge['id']} has already been refunded.",
                code="charge_already_refunded",
            )  # fmt: skip
        if not 0 < amount <= left:
            raise Refusal(
                400, "invalid_request_error", "Refund amount is greater than unrefunded amount on charge.",
                param="amount",
            )  # fmt: skip
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        refund = {
            "id": ident("re"), "object": "refund", "amount": amount, "charge": charge["id"], "currency": "usd",
            "created": int(time.time()), "metadata": metadata or {}, "payment_intent": payment_intent,
            "status": "succeeded",
        }  # fmt: skip
        self.refunds[str(refund["id"])] = refund
        await self._happens("charge.refunded", charge)
        await self._happens("refund.created", refund)
        return refund

    async def fail_refund(self, refund: str, *, lowered: bool = True) -> None:
        """The card's bank sends it back. `lowered`: the charge's total goes down again with it."""
        found = self.refunds[refund]
        found["status"] = "failed"
        if lowered:
            charge = self.charges[found["charge"]]
            charge["amount_refunded"] -= found["amount"]
            charge["refunded"] = False
        await self._happens("refund.failed", found)

    async def dispute(self, payment_intent: str, *, status: str = "needs_response") -> Json:
        charge = self._charge_of(payment_intent)
        dispute = {
            "id": ident("du"), "object": "dispute", "amount": charge["amount"], "charge": charge["id"],
            "currency": "usd", "payment_intent": payment_intent, "reason": "fraudulent", "status": status,
            "created": int(time.time()), "livemode": self.livemode, "metadata": {},
        }  # fmt: skip
        await self._happens("charge.dispute.created", dispute)
        return dispute

    async def close_dispute(self, dispute: Json, status: Literal["won", "lost"]) -> None:
        await self._happens("charge.dispute.closed", {**dispute, "status": status})

    async def deliver(self, event: Json, *, times: int = 1, at: int | None = None) -> list[int]:
        """Posts an event to the webhook, signed at `at`; the answers."""
        assert self.webhook is not None
        body = json.dumps({**event, "pending_webhooks": 1}).encode()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": sign(body, self.secret, at),
        }
        given = []
        for _ in range(times):
            if self.client is not None:
                answer = await self.client.post(self.webhook, content=body, headers=headers)
            else:
                async with httpx.AsyncClient(timeout=30) as client:
                    answer = await client.post(self.webhook, content=body, headers=headers)
            given.append(answer.status_code)
        self.answers += given
        return given

    # -- requests --------------------------------------------------------------------------

    def create_session(self, form: Json) -> Json:
        price = _price(form)
        now = int(time.time())
        found = ident("cs_live" if self.livemode else "cs_test")
        session = {
            "id": found, "object": "checkout.session", "amount_subtotal": price, "amount_total": price,
            "cancel_url": form.get("cancel_url"), "client_reference_id": form.get("client_reference_id"),
            "created": now, "currency": "usd", "customer": None, "expires_at": now + LIFE_S,
            "livemode": self.livemode, "metadata": form.get("metadata", {}), "mode": "payment",
            "payment_intent": None, "payment_status": "unpaid", "status": "open",
            "success_url": form["success_url"], "url": f"{self.url}/c/pay/{found}",
        }  # fmt: skip
        session["payment_intent_data"] = form.get("payment_intent_data", {})
        self.sessions[found] = session
        return session

    def session(self, session_id: str) -> Json:
        if session_id not in self.sessions:
            raise Refusal(
                404, "invalid_request_error", f"No such checkout.session: {session_id}", code="resource_missing",
                param="session",
            )  # fmt: skip
        return self.sessions[session_id]

    async def answer(self, request: Request, work: Callable[[Json], Awaitable[Json]]) -> Response:
        """Authorisation, faults and idempotency around one piece of work."""
        body = await request.body()
        form = nested(parse_qsl(body.decode(), keep_blank_values=True))
        headers = dict(request.headers)
        self.asked.append(Asked(request.method, request.url.path, form, headers))
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            error = Refusal(401, "invalid_request_error", "Invalid API Key provided: sk_test_****")
            return JSONResponse(error.body, 401)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault != "500_after":
            return await _faulty(fault, request)
        status, found = await self._once(request, body, form, work)
        if fault == "500_after":
            return await _faulty("500", request)
        return JSONResponse(_public(found), status, headers={"request-id": ident("req")})

    async def _once(
        self, request: Request, body: bytes, form: Json, work: Callable[[Json], Awaitable[Json]]
    ) -> tuple[int, Json]:
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        kept = self._kept.get(key) if key else None
        if kept is not None:
            if (kept.method, kept.path, kept.body) != (request.method, request.url.path, body):
                message = "Keys for idempotent requests can only be used with the same parameters."
                return 400, Refusal(400, "idempotency_error", message).body
            return kept.answer
        if key in self._under_way:
            message = "There is currently another in-progress request using this Idempotency-Key."
            return 409, Refusal(409, "idempotency_error", message, code="idempotency_key_in_use").body
        if key:
            self._under_way.add(key)
        try:
            answer: tuple[int, Json] = (200, dict(await work(form)))
        except Refusal as refusal:
            answer = (refusal.status, refusal.body)
        finally:
            self._under_way.discard(key or "")
        if key:
            self._kept[key] = Kept(request.method, request.url.path, body, answer)
        return answer

    # -- books -----------------------------------------------------------------------------

    def _open(self, session_id: str) -> Json:
        session = self.session(session_id)
        if session["status"] != "open":
            raise Refusal(400, "invalid_request_error", f"This session is {session['status']}, not open.")
        return session

    def _intent(self, session: Json) -> Json:
        intent = {
            "id": ident("pi"), "object": "payment_intent", "amount": session["amount_total"],
            "metadata": session["payment_intent_data"].get("metadata", {}),
        }  # fmt: skip
        self.intents[intent["id"]] = intent
        return intent

    def _charged(self, session: Json, intent: Json) -> None:
        charge = {
            "id": ident("ch"), "object": "charge", "amount": intent["amount"], "amount_refunded": 0,
            "currency": "usd", "livemode": self.livemode, "metadata": intent["metadata"],
            "payment_intent": intent["id"], "refunded": False, "status": "succeeded",
        }  # fmt: skip
        self.charges[charge["id"]] = charge
        session["payment_status"] = "paid"

    def _charge_of(self, payment_intent: str) -> Json:
        for charge in self.charges.values():
            if charge["payment_intent"] == payment_intent:
                return charge
        raise Refusal(
            404, "invalid_request_error", f"No such payment_intent: '{payment_intent}'", code="resource_missing",
            param="payment_intent",
        )  # fmt: skip

    async def _happens(self, kind: str, found: Json) -> None:
        event = {
            "id": ident("evt"), "object": "event", "type": kind, "api_version": API_VERSION,
            "created": int(time.time()), "livemode": self.livemode,
            "data": {"object": json.loads(json.dumps(_public(found)))},
            "request": {"id": None, "idempotency_key": None},
        }  # fmt: skip
        self.events.append(event)
        if self.webhook is not None and self.delivers != "never":
            await self.deliver(event, times=2 if self.delivers == "twice" else 1)


def _public(found: Json) -> Json:
    return {key: value for key, value in found.items() if key != "payment_intent_data"}


def _price(form: Json) -> int:
    """Cents of the one line item. Raises `Refusal` where Stripe would."""
    if form.get("mode") != "payment" or not form.get("success_url"):
        raise Refusal(
            400, "invalid_request_error", "Missing required param: success_url.", param="success_url"
        )
    try:
        (item,) = form["line_items"].values()
        price = item["price_data"]
        cents, currency, quantity = int(price["unit_amount"]), price["currency"], int(item["quantity"])
        named = bool(price["product_data"]["name"])
    except (KeyError, ValueError, AttributeError):
        raise Refusal(400, "invalid_request_error", "Invalid line_items.", param="line_items") from None
    if currency != "usd" or quantity != 1 or not named:
        raise Refusal(400, "invalid_request_error", "Invalid line_items.", param="line_items[0]")
    if cents < LEAST_CENTS:
        raise Refusal(400, "invalid_request_error", "The amount is too small.", code="amount_too_small")
    for where in (form, form.get("payment_intent_data", {})):
        metadata = where.get("metadata", {})
        if len(metadata) > 50 or any(len(key) > 40 or len(value) > 500 for key, value in metadata.items()):
            raise Refusal(400, "invalid_request_error", "Metadata is too long.", param="metadata")
    return cents


async def _faulty(fault: Fault, request: Request) -> Response:
    if fault == "timeout":
        while (await request.receive())["type"] != "http.disconnect":
            pass
    if fault in {"timeout", "reset"}:
        return _Dropped()
    kinds = {"429": "rate_limit_error", "409": "idempotency_error"}
    status = int(fault)
    return JSONResponse(Refusal(status, kinds.get(fault, "api_error"), "Not now.").body, status)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pay</title></head>
<body><main>
<h1>Pay {amount}</h1>
<p>{status}</p>
<form method="post" action="/c/pay/{id}"><button type="submit">Pay</button></form>
<p><a href="{cancel}">Back</a></p>
</main></body></html>"""


def app(emulator: StripeEmulator) -> Callable[..., Awaitable[None]]:
    """The ASGI application of an emulator."""

    async def create_session(request: Request) -> Response:
        async def work(form: Json) -> Json:
            return emulator.create_session(form)

        return await emulator.answer(request, work)

    async def retrieve_session(request: Request) -> Response:
        async def work(_form: Json) -> Json:
            return emulator.session(request.path_params["id"])

        return await emulator.answer(request, work)

    async def expire_session(request: Request) -> Response:
        async def work(_form: Json) -> Json:
            return await emulator.expire(request.path_params["id"])

        return await emulator.answer(request, work)

    async def refund(request: Request) -> Response:
        async def work(form: Json) -> Json:
            cents = int(form["amount"]) if "amount" in form else None
            made = await emulator.refund(form.get("payment_intent", ""), cents, form.get("metadata"))
            if "charge" in form.get("expand", {}).values():
                return {**made, "charge": dict(emulator.charges[made["charge"]])}
            return made

        return await emulator.answer(request, work)

    async def page(request: Request) -> Response:
        session = emulator.sessions.get(request.path_params["id"])
        if session is None:
            return HTMLResponse("<h1>Nothing here</h1>", 404)
        shown = {
            "amount": f"${session['amount_total'] // 100}.{session['amount_total'] % 100:02d}",
            "status": session["status"], "id": session["id"], "cancel": session["cancel_url"] or "",
        }  # fmt: skip
        return HTMLResponse(PAGE.format(**{key: html.escape(str(value)) for key, value in shown.items()}))

    async def pay(request: Request) -> Response:
        session = emulator.sessions.get(request.path_params["id"])
        if session is None:
            return HTMLResponse("<h1>Nothing here</h1>", 404)
        if session["status"] == "open":
            await emulator.pay(session["id"])
        return RedirectResponse(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]), 303)

    return Starlette(
        routes=[
            Route("/v1/checkout/sessions", create_session, methods=["POST"]),
            Route("/v1/checkout/sessions/{id}", retrieve_session, methods=["GET"]),
            Route("/v1/checkout/sessions/{id}/expire", expire_session, methods=["POST"]),
            Route("/v1/refunds", refund, methods=["POST"]),
            Route("/c/pay/{id}", page, methods=["GET"]),
            Route("/c/pay/{id}", pay, methods=["POST"]),
        ]
    )


async def main() -> None:
    asked = argparse.ArgumentParser(description="An emulated Stripe on 127.0.0.1.")
    asked.add_argument("--port", type=int, default=12111)
    asked.add_argument("--webhook", default="http://127.0.0.1:8000/stripe/webhook")
    asked.add_argument("--secret", default=SECRET)
    asked.add_argument("--key", default="", help="the only key that is let in; any when empty")
    given = asked.parse_args()
    emulator = StripeEmulator(secret=given.secret, key=given.key, webhook=given.webhook, port=given.port)
    async with emulator:
        key = emulator.key or KEY
        print(
            f"STRIPE_API_URL={emulator.url} STRIPE_SECRET_KEY={key} STRIPE_WEBHOOK_SECRET={given.secret}",
            flush=True,
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
