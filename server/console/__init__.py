"""The web console: pages that people use, from files beside this one. No build step, nothing from elsewhere.

A page is a shell: it holds no data and needs no session. Its module (`static/js/pages/`)
asks the REST API with the token of `sessionStorage`. Which pages there are stands here;
what they show is theirs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from server.console.examples import EXAMPLES
from server.console.reference import Schema, chapters
from server.errors import on_http
from server.limits import ROUTE_KEY

HERE = Path(__file__).parent
_IMPORT = re.compile(r'from "(\.[^"]+)";')


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `module`: its script in `static/js/pages/`; `nav`: which entry of the menu it belongs to."""

    path: str
    module: str
    title: str
    nav: str = ""
    template: str = "page.html"


PAGES: tuple[Page, ...] = (
    Page("/", "start", "Call me back", "start"),
    Page("/login", "login", "Sign in"),
    Page("/live/{id}", "live", "Live call", "calls"),
    Page("/calls", "calls", "Calls", "calls"),
    Page("/calls/{id}", "call", "One call", "calls"),
    Page("/schedules", "schedules", "Schedules", "schedules"),
    Page("/scenarios", "scenarios", "Scenarios", "scenarios"),
    Page("/credits", "credits", "Money", "credits"),
    Page("/personas", "personas", "Personas and memories", "personas"),
    Page("/settings", "settings", "Settings", "settings"),
    Page("/operator", "operator", "Operator", "operator"),
)

MENU: tuple[tuple[str, str, str], ...] = (
    ("start", "/", "Start"),
    ("calls", "/calls", "Calls"),
    ("schedules", "/schedules", "Schedules"),
    ("scenarios", "/scenarios", "Scenarios"),
    ("personas", "/personas", "Personas"),
    ("credits", "/credits", "Money"),
    ("settings", "/settings", "Settings"),
)


LOST = Page("", "reference", "There is no such page", template="lost.html")
REFERENCE = Page("/docs", "reference", "API reference", template="reference.html")


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def on_lost(public_url: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler for addresses that are none: a page for somebody's browser, a problem document for a program."""
    document = _rendered(_environment(), LOST)()
    headers = {"content-security-policy": content_policy(public_url), "cache-control": "no-cache"}

    async def handler(request: Request, error: Exception) -> Response:
        missing = isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND
        looking = request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")
        if missing and looking and not request.url.path.startswith("/api/"):
            return HTMLResponse(document, HTTPStatus.NOT_FOUND, headers=headers)
        return await on_http(request, error)

    return handler


def console_routes(public_url: str, described: Callable[[], Schema]) -> list[BaseRoute]:
    """The pages, and the files they are made of. `described`: the OpenAPI document."""
    pages = _environment()
    policy = content_policy(public_url)
    shown: list[BaseRoute] = [_route(page, _rendered(pages, page), policy) for page in PAGES]
    shown.append(_route(REFERENCE, cache(lambda: _reference(pages, described(), public_url)), policy))
    return [*shown, Mount("/static", _Files(directory=HERE / "static"))]


def content_policy(public_url: str) -> str:
    """Everything from here: no inline script or style, no third party, nobody's frame.

    The browser phone's socket is named beside 'self', which older browsers do not take to cover sockets.
    """
    parts = urlsplit(public_url)
    socket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            f"connect-src 'self' {socket}",
            "manifest-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def modules(page: Page) -> list[str]:
    """All that the page's script imports, itself first, by their paths below `static/js`: named in the page, they are
    fetched side by side and not one after another as each is found in the one before."""
    scripts, found = HERE / "static" / "js", [f"pages/{page.module}.js"]
    for name in found:  # which grows
        source = scripts / name
        for wanted in _IMPORT.findall(source.read_text(encoding="utf-8")):
            path = (source.parent / wanted).resolve().relative_to(scripts.resolve()).as_posix()
            if path not in found:
                found.append(path)
    return found


def _rendered(pages: Environment, page: Page) -> Callable[[], str]:
    document = pages.get_template(page.template).render(page=page, menu=MENU, modules=modules(page))
    return lambda: document


def _reference(pages: Environment, described: Schema, origin: str) -> str:
    template = pages.get_template(REFERENCE.template)
    return template.render(
        page=REFERENCE, menu=MENU, modules=modules(REFERENCE), chapters=chapters(described),
        examples=EXAMPLES, origin=origin,
    )  # fmt: skip


def _route(page: Page, document: Callable[[], str], policy: str) -> Route:
    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE_KEY] = page.path
        headers = {"content-security-policy": policy, "cache-control": "no-cache"}
        # In a thread, for the first reader of the reference: making it takes a while.
        return HTMLResponse(await asyncio.to_thread(document), headers=headers)

    return Route(page.path, endpoint, methods=["GET"])


class _Files(StaticFiles):
    """Asked for again at every visit, and answered "not modified" unless the server was updated."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        scope[ROUTE_KEY] = "/static"
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response
