"""The browser phone: a ticket over REST, then its socket."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from server.parts import Parts
from server.routes.browser_media import BrowserDoor
from server.routing import AnyOp, Ask, Op, View, When

PATH = "/browser/media"
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class TicketView(View):
    """Sent as the first message on the socket at `url`: `{"ticket": …}`. Good once, until `expires_at`."""

    ticket: str
    expires_at: When
    url: str


async def ticket(ask: Ask[None, None]) -> TicketView:
    made = await ask.parts.desk.browser.ticket(ask.session, ask.ident())
    url = ask.parts.settings.public_url.replace("http", "ws", 1) + PATH
    return TicketView(ticket=made.text, expires_at=made.expires_at, url=url)


def origins(public_url: str) -> frozenset[str]:
    """The sites whose pages may open the socket: the public one; on loopback under each of its names."""
    parts = urlsplit(public_url)
    name = parts.hostname or ""
    # As browsers write it: in small letters, an IPv6 address in brackets, without the scheme's own port.
    host = f"[{name}]" if ":" in name else name
    port = "" if parts.port in {None, _PORTS[parts.scheme]} else f":{parts.port}"
    names = _LOOPBACK if host in _LOOPBACK else (host,)
    return frozenset(f"{parts.scheme}://{name}{port}" for name in names)


def browser_routes(public_url: str) -> list[BaseRoute]:
    door = BrowserDoor(origins(public_url))

    async def media(websocket: WebSocket) -> None:
        parts = cast(Parts, websocket.app.state.parts)
        await door.serve(websocket, parts.desk.browser, parts.clock)

    return [WebSocketRoute(PATH, media)]


OPS: tuple[AnyOp, ...] = (
    Op(
        "POST", "/api/calls/{id}/ticket", ticket, "A ticket for the browser phone's socket", reply=TicketView,
        status=201, refuses=((409, "invalid_request"),),
    ),
)  # fmt: skip
