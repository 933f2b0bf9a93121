"""How a route is declared and run: method, path, models and refusals, each said once.

From the same declaration come the request's checks, the answer and its page in
`/openapi.json`. A handler sees only what passed: a user (unless the route is public), a
parsed body and query. Nothing is decided here about what a route does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from server.auth import Session, authenticate
from server.errors import (
    Code,
    FieldError,
    InvalidFields,
    Unparsable,
    field_errors,
    invalid,
    not_found,
    unauthorized,
)
from server.limits import ROUTE_KEY, network
from server.parts import Parts
from storage.records import User

B = TypeVar("B")
Q = TypeVar("Q")

_IDENT = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_IDEM_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Body(BaseModel):
    """What a client sends: strictly typed, nothing unknown."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Query(BaseModel):
    """What stands behind the question mark: nothing unknown, nothing twice."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class View(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(extra="forbid")


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("may not contain a NUL character")
    return text


def _wordy(text: str) -> str:
    if not text.strip():
        raise ValueError("may not be blank: write something")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Words = Annotated[str, AfterValidator(_storable), AfterValidator(_wordy)]
When = Annotated[datetime, Field(description="ISO 8601 with offset.")]
Usd = Annotated[str, Field(description="US dollars as a decimal string.", pattern=r"^-?\d+\.\d{2,9}$")]


class PageQuery(Query):
    """Which part of a list: at most `limit` items after `cursor`."""

    limit: int = Field(20, ge=1, le=100)
    cursor: Annotated[str, Field(min_length=1, max_length=256)] | None = None


@dataclass(frozen=True, slots=True)
class Ask(Generic[B, Q]):
    """One request that passed its declaration."""

    request: Request
    parts: Parts
    body: B
    query: Q
    session_or_none: Session | None

    @property
    def session(self) -> Session:
        if self.session_or_none is None:
            raise unauthorized()
        return self.session_or_none

    @property
    def user(self) -> User:
        return self.session.user

    @property
    def client(self) -> str:
        """What counts as one client in limits: an address or its network."""
        return network(self.request.client.host if self.request.client else "")

    def ident(self, name: str = "id") -> str:
        """An id of the path; one that cannot be an id is unknown like any other."""
        value = str(self.request.path_params[name])
        if not _IDENT.fullmatch(value):
            raise not_found()
        return value

    def idempotency_key(self) -> str | None:
        """The `Idempotency-Key` of the request, if it has one. Raises `InvalidFields` for one that is none."""
        keys = self.request.headers.getlist("idempotency-key")
        if not keys:
            return None
        if len(keys) > 1 or not _IDEM_KEY.fullmatch(keys[0]):
            raise invalid("Idempotency-Key", "is 1 to 255 visible ASCII characters, given once")
        return keys[0]

    def idempotency(self) -> tuple[str, str] | None:
        """The key with a hash of the body, which tells the same request again from another one; None without either."""
        key = self.idempotency_key()
        if key is None or not isinstance(self.body, BaseModel):
            return None
        return key, hashlib.sha256(self.body.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Op(Generic[B, Q]):
    """One route: what it takes, does, gives and refuses."""

    method: str
    path: str
    handler: Callable[[Ask[B, Q]], Awaitable[BaseModel | Response]]
    summary: str
    body: type[B] | None = None
    query: type[Q] | None = None
    reply: type[BaseModel] | None = None
    media: str = "application/json"
    """Type of the answer where it is no JSON model."""
    status: int = 200
    also: tuple[int, ...] = ()
    """Other statuses that carry the same reply."""
    refuses: tuple[tuple[int, Code], ...] = ()
    """Beyond what follows from the rest of the declaration."""
    headers: tuple[tuple[str, str], ...] = ()
    """Request headers it heeds, with their meaning."""
    public: bool = False

    async def run(self, request: Request) -> Response:
        parts: Parts = request.app.state.parts
        session = None
        if not self.public:
            session = await authenticate(request.headers.get("authorization"), parts.tokens, parts.database)
        query = None if self.query is None else _parsed_query(request, self.query)
        body = None if self.body is None else await _parsed_body(request, self.body)
        # A handler that takes no body or query is declared with None for it.
        ask: Ask[Any, Any] = Ask(request, parts, body, query, session)
        answer = await self.handler(ask)
        if isinstance(answer, Response):
            return answer
        return Response(answer.model_dump_json(), self.status, media_type="application/json")

    def refusals(self) -> tuple[tuple[int, Code], ...]:
        """All refusals to document, sorted."""
        found: set[tuple[int, Code]] = {*self.refuses, (500, "internal")}
        if not self.public:
            found |= {(401, "unauthorized"), (503, "overloaded")}
        if self.body is not None:
            found |= {(status, "invalid_request") for status in (400, 408, 413, 415, 422)}
        if self.query is not None:
            found.add((422, "invalid_request"))
        if "{" in self.path:
            found.add((404, "not_found"))
        return tuple(sorted(found))


AnyOp = Op[Any, Any]


def routes(ops: Sequence[AnyOp]) -> list[Route]:
    """One Starlette route a path, so that a wrong method is told all the right ones."""
    by_path: dict[str, dict[str, AnyOp]] = {}
    for op in ops:
        methods = by_path.setdefault(op.path, {})
        if op.method in methods:
            raise ValueError(f"{op.method} {op.path} is declared twice")
        methods[op.method] = op
    return [_route(path, methods) for path, methods in by_path.items()]


def _route(path: str, methods: dict[str, AnyOp]) -> Route:
    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE_KEY] = path
        return await methods[request.method].run(request)

    route = Route(path, endpoint, methods=list(methods))
    # Starlette answers HEAD wherever GET is; an event stream must not, and nobody asks the others.
    route.methods = set(methods)
    return route


def _parsed_query(request: Request, model: type[Any]) -> Any:
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidFields([FieldError(field="query", message="a parameter is given twice")])
    if not issubclass(model, BaseModel):
        raise TypeError(model)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidFields(field_errors(error, "query.")) from None


async def _parsed_body(request: Request, model: type[Any]) -> Any:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Unparsable("The body has to be application/json.", status=415)
    try:
        raw = await request.body()
    except ClientDisconnect:
        raise Unparsable("The body did not arrive.") from None
    if not issubclass(model, BaseModel):
        raise TypeError(model)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        if any(
            item["type"] == "json_invalid" for item in error.errors(include_input=False, include_url=False)
        ):
            raise Unparsable("The body is no JSON, or is nested too deeply.") from None
        raise InvalidFields(field_errors(error)) from None


def no_content() -> Response:
    return Response(status_code=204)
