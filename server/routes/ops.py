"""For machines that watch the server: is it alive, is it ready, its figures, its description."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from server.errors import not_found
from server.metrics import (
    HELD,
    HOLDS,
    LEDGER_ANSWERS,
    LOSSES,
    OLDEST_UNSETTLED,
    OVERSPEND,
    READY,
    UNCONFIRMED,
)
from server.openapi import document
from server.parts import Parts, State
from server.routing import AnyOp, Ask, Op, View
from storage import personas
from storage.db import DatabaseDown
from storage.ledger import OVER_HOLD
from storage.standing import standing

READY_S = 2.0
"""How long the database may take to answer before this counts as not ready."""


class Health(View):
    status: Literal["ok"]


class Readiness(View):
    """`database` says whether it answers; `state` whether new calls are taken."""

    state: State
    database: bool


async def healthz(_ask: Ask[None, None]) -> Health:
    return Health(status="ok")


async def readyz(ask: Ask[None, None]) -> Response:
    answers = await _database_answers(ask.parts)
    ready = answers and ask.parts.state is State.READY
    READY.set(ready)
    body = Readiness(state=ask.parts.state, database=answers)
    return Response(body.model_dump_json(), 200 if ready else 503, media_type="application/json")


async def _database_answers(parts: Parts) -> bool:
    try:
        async with asyncio.timeout(READY_S), parts.database.read() as tx:
            await personas.all(tx)
    except (DatabaseDown, TimeoutError):
        return False
    return True


async def metrics(ask: Ask[None, None]) -> Response:
    """Unknown to whoever may not see it, so that nobody learns of it."""
    if not _may_see(ask.request, ask.parts):
        raise not_found()
    LEDGER_ANSWERS.set(await _ask_the_ledger(ask.parts))
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _ask_the_ledger(parts: Parts) -> bool:
    """Sets the figures that are the database's; they stay as they were when it does not answer."""
    try:
        async with asyncio.timeout(READY_S), parts.database.read() as tx:
            now = await standing(tx)
    except (DatabaseDown, TimeoutError):
        return False
    for reason, nano in now.losses.items():
        LOSSES.labels(reason).set(nano)
    OVERSPEND.set(now.losses.get(OVER_HOLD, 0) + now.exposed)
    UNCONFIRMED.set(now.losses.get("unconfirmed", 0))
    HOLDS.set(now.holds)
    HELD.set(now.held)
    OLDEST_UNSETTLED.set(now.oldest_unsettled_s)
    return True


def _may_see(request: Request, parts: Parts) -> bool:
    token = parts.settings.metrics_token
    if token is not None:
        expected = f"Bearer {token.get_secret_value()}".encode()
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), expected)
    # A reverse proxy on this machine is loopback too; what it hands on is not.
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host if request.client else "").is_loopback
    except ValueError:
        return False


async def openapi(_ask: Ask[None, None]) -> Response:
    return Response(await asyncio.to_thread(document), media_type="application/json")


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/healthz", healthz, "Is the process alive?", reply=Health, public=True),
    Op("HEAD", "/healthz", healthz, "The same, without a body", reply=Health, public=True),
    Op(
        "GET", "/readyz", readyz, "Does it take calls? 503 with the same body if not", reply=Readiness, public=True,
        also=(503,),
    ),
    Op("HEAD", "/readyz", readyz, "The same, without a body", reply=Readiness, public=True, also=(503,)),
    Op(
        "GET", "/metrics", metrics, "Figures for Prometheus: on loopback, or with METRICS_TOKEN", media="text/plain",
        public=True, refuses=((404, "not_found"),),
    ),
    Op("GET", "/openapi.json", openapi, "This description", media="application/json", public=True),
)  # fmt: skip
