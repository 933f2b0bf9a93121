"""How an error leaves the server: RFC 9457 problem documents with a stable code. Decided here only.

What a client sees never contains what it sent, what the database said or where the code is;
what is logged of a surprise is its kind and place, never its text, since texts carry values.
"""

from __future__ import annotations

import http
import secrets
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.errors import Refused
from server.metrics import SURPRISES
from server.plain_words import said
from storage.db import DatabaseDown

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

Code = Literal[
    "email_taken",
    "bad_credentials",
    "unauthorized",
    "not_found",
    "invalid_request",
    "phone_not_verified",
    "wrong_code",
    "insufficient_credit",
    "budget_exhausted",
    "not_allowed_number",
    "opted_out",
    "quiet_hours",
    "rate_limited",
    "call_in_progress",
    "idempotency_conflict",
    "payments_unavailable",
    "overloaded",
    "internal",
]


class FieldError(BaseModel):
    """One field that will not do: its path, such as `email` or `query.limit`, and why."""

    model_config = ConfigDict(extra="forbid")

    field: str
    message: str


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(extra="forbid")

    type: str = "about:blank"
    title: str
    status: int
    code: Code
    detail: str
    errors: list[FieldError] | None = None
    reason: str | None = Field(None, description="Which rule of who may be rung it was, such as `quiet`.")
    needed_usd: str | None = Field(None, description="With 402: what has to be there for the first minute.")
    available_usd: str | None = Field(
        None, description="With 402: what is there, of the credit or of the budget per call."
    )


class Unparsable(Refused):
    """The request is no JSON at all, or not of the type it says."""

    def __init__(self, detail: str, *, status: int = 400) -> None:
        super().__init__("invalid_request", detail, status=status)


class InvalidFields(Refused):
    """The request is readable but its fields will not do."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("invalid_request", "Some fields of the request are not acceptable.")
        self.errors = errors


def invalid(field: str, message: str) -> InvalidFields:
    """A refusal of one field that only the server could judge."""
    return InvalidFields([FieldError(field=field, message=message)])


def not_found() -> Refused:
    """The one answer for what is unknown and for what belongs to somebody else."""
    return Refused("not_found", "There is nothing here.", status=404)


def unauthorized() -> Refused:
    """The one answer for every token that will not do, whatever is wrong with it."""
    return Refused("unauthorized", "A valid token is needed.", status=401)


def overloaded(retry_after: int = RETRY_AFTER_S) -> Refused:
    return Refused(
        "overloaded", "The server cannot do this right now; try again.", status=503, retry_after=retry_after
    )


def field_errors(error: ValidationError, prefix: str = "") -> list[FieldError]:
    """The validator's findings in plain words, without what was sent."""
    found = []
    for item in error.errors(include_url=False, include_input=False)[:20]:
        path = ".".join(str(part)[:64] for part in item["loc"])
        found.append(FieldError(field=(prefix + path) or "body", message=said(item)))
    return found


def problem(refused: Refused) -> Response:
    """The problem document of a refusal."""
    body = Problem.model_validate(
        {
            "title": http.HTTPStatus(refused.status).phrase,
            "status": refused.status,
            "code": refused.code,
            "detail": refused.detail,
            "errors": refused.errors if isinstance(refused, InvalidFields) else None,
            **refused.members,
        }
    )
    headers: dict[str, str] = {}
    if refused.retry_after is not None:
        headers["retry-after"] = str(max(1, refused.retry_after))
    if refused.status == http.HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Response(
        body.model_dump_json(exclude_none=True), refused.status, headers=headers, media_type=MEDIA_TYPE
    )


async def on_refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem(error)


async def on_database_down(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseDown)
    log.warning("database_down", method=request.method, retryable=error.retryable)
    return problem(overloaded())


async def on_http(_request: Request, error: Exception) -> Response:
    """Starlette's own: no such route, no such method."""
    assert isinstance(error, HTTPException)
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        return problem(not_found())
    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        response = problem(Refused("invalid_request", "This method is not for this address.", status=405))
    else:
        response = problem(
            Refused("invalid_request", "The request is not acceptable.", status=error.status_code)
        )
    response.headers.update(error.headers or {})
    return response


HANDLERS: Mapping[type[Exception], object] = {
    Refused: on_refused,
    DatabaseDown: on_database_down,
    HTTPException: on_http,
}


class Sending:
    """A `send` that knows whether the answer has begun, after which there is no other answer to give."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


class CatchAll:
    """Outermost: turns what nobody expected into a 500 that says nothing, and logs where it was."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = Sending(send)
        try:
            await self.app(scope, receive, sending)
        except Exception as error:  # edge: of one request
            reference = secrets.token_hex(8)
            SURPRISES.labels("request").inc()
            log.error("surprise", reference=reference, method=scope["method"], **whereabouts(error))
            if sending.begun:
                # An answer cut short: uvicorn closes the connection, so the client cannot take it for a whole one.
                return
            answer = problem(
                Refused("internal", f"Something went wrong here. Reference: {reference}", status=500)
            )
            await answer(scope, receive, send)


def whereabouts(error: BaseException) -> dict[str, object]:
    """Kind and place of an error, without its text: fit for a log line."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return {
        "kind": type(error).__name__,
        "at": [f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}" for frame in frames],
    }
