"""The carrier's webhooks and the door of its media socket.

Each request is proven before it is believed: signature over the public URL, then the account.
What fails changes nothing and is answered 403. The handlers only hand on what the carrier
says; order, repetition and meaning are the desk's. No provider is called from here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, cast
from urllib.parse import parse_qsl, quote

import structlog
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket
from twilio.twiml.messaging_response import MessagingResponse
from twilio.twiml.voice_response import Connect, VoiceResponse

from pipeline.clock import Clock
from server import texting
from server.inbound.replies import Receiving
from server.metrics import RESUMED
from server.routes.twilio_inbound import Inbound
from server.routes.twilio_media import Attaching, MediaDoor
from server.signatures import HEADER, Signatures
from storage.records import STATUS_RANK

MAX_FORM_BYTES = 16 * 1024
MAX_FIELDS = 100

log = structlog.get_logger(__name__)


class Answering(Attaching, Protocol):
    """What the carrier's requests need of `server/desk.py`."""

    async def answered(self, call_id: str, sid: str) -> str | None:
        """The call was picked up: a one-time stream token, or None to hang up."""

    async def resumed(self, call_id: str, sid: str) -> str | None:
        """The media socket is gone, the callee is not: a token for another one, or None to hang up."""

    async def status(
        self, sid: str, call_id: str, status: str, seconds: int | None, sequence: int
    ) -> None: ...

    async def machine(self, sid: str, answered_by: str) -> None: ...

    async def opt_out(self, e164: str, how: str) -> None:
        """Nobody rings this number from now on; a call to it ends."""

    @property
    def reception(self) -> Receiving: ...


class _Parts(Protocol):
    @property
    def desk(self) -> Answering: ...
    @property
    def clock(self) -> Clock: ...


class _Refused(Exception):
    """The request is answered with this status and not looked at further."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def twilio_routes(
    *, public_url: str, account_sid: str, auth_tokens: Sequence[str], resume_pause_s: int = 0
) -> list[BaseRoute]:
    """The routes for one account. `auth_tokens`: the current one first, then any being retired.

    `resume_pause_s`: how long the carrier waits after a socket ended before it asks how to go on.

    Expects `app.state.parts` with a `desk` and a `clock`. Raises `ValueError` on an empty token.
    """
    signatures = Signatures(public_url, auth_tokens)
    hooks = _Hooks(signatures, public_url.rstrip("/"), account_sid, resume_pause_s)
    return [
        Route("/twilio/voice", hooks.proven(hooks.voice), methods=["POST"]),
        Route("/twilio/pin", hooks.proven(hooks.pin), methods=["POST"]),
        Route("/twilio/resume", hooks.proven(hooks.resume), methods=["POST"]),
        Route("/twilio/status", hooks.proven(hooks.status), methods=["POST"]),
        Route("/twilio/amd", hooks.proven(hooks.machine), methods=["POST"]),
        Route("/twilio/sms", hooks.proven(hooks.text, of="MessageSid"), methods=["POST"]),
        Route("/twilio/stream", hooks.proven(hooks.stream), methods=["POST"]),
        WebSocketRoute("/twilio/media", hooks.media),
    ]


_Handler = Callable[[Request, dict[str, str]], Awaitable[Response]]


class _Hooks:
    def __init__(
        self, signatures: Signatures, public_url: str, account_sid: str, resume_pause_s: int
    ) -> None:
        self._signatures = signatures
        self._public_url = public_url
        self._account_sid = account_sid
        self._resume_pause_s = resume_pause_s
        self._door = MediaDoor(account_sid)
        self._inbound = Inbound(public_url, self._document)

    def proven(self, handler: _Handler, of: str = "CallSid") -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the signature and the account. `of` is the field that says what it is about."""

        async def endpoint(request: Request) -> Response:
            try:
                fields = await self._prove(request, of)
            except _Refused as refused:
                log.warning("webhook_refused", path=request.url.path, status=refused.status, why=str(refused))
                return PlainTextResponse("refused", status_code=refused.status)
            return await handler(request, fields)

        return endpoint

    async def _prove(self, request: Request, of: str) -> dict[str, str]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise _Refused(415, "not a form")
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_FORM_BYTES:
                raise _Refused(413, "form too long")
        try:
            text = body.decode("ascii")
            fields = parse_qsl(
                text,
                keep_blank_values=True,
                strict_parsing=bool(text),
                errors="strict",
                max_num_fields=MAX_FIELDS,
            )
        except ValueError as error:
            raise _Refused(403, "not a form") from error
        if not self._signatures.form(_target(request), fields, request.headers.getlist(HEADER)):
            raise _Refused(403, "signature")
        named = dict(fields)
        if named.get("AccountSid") != self._account_sid or not named.get(of):
            raise _Refused(403, "account")
        return named

    async def voice(self, request: Request, fields: dict[str, str]) -> Response:
        """The call was answered: connect it to the media socket, or hang up. One without our name came in."""
        call_id = _call_id(request)
        if not call_id and fields.get("Direction") == "inbound":
            return await self._inbound.rung(_parts(request).desk.reception, fields)
        token = await _parts(request).desk.answered(call_id, fields["CallSid"]) if call_id else None
        return Response(self._document(call_id, token), media_type="text/xml")

    async def pin(self, request: Request, fields: dict[str, str]) -> Response:
        """What a caller keyed in at the menu of a call that came in."""
        return await self._inbound.keyed(_parts(request).desk.reception, fields)

    async def resume(self, request: Request, fields: dict[str, str]) -> Response:
        """The stream ended and the call did not: connect it again, or hang up."""
        call_id = _call_id(request)
        token = await _parts(request).desk.resumed(call_id, fields["CallSid"]) if call_id else None
        RESUMED.labels("hung_up" if token is None else "connected").inc()
        return Response(self._document(call_id, token), media_type="text/xml")

    def _document(self, call_id: str, token: str | None) -> str:
        """Whatever ends the stream, the next verbs ask once whether to go on, and then end the call.

        That is one of three independent ways in which it ends. An address nobody answers ends it too.
        """
        response = VoiceResponse()
        if token is not None:
            connect = Connect()
            stream = connect.stream(
                url=f"{self._signatures.socket_origin}/twilio/media",
                status_callback=f"{self._public_url}/twilio/stream",
            )
            stream.parameter(name="token", value=token)
            response.append(connect)
            if self._resume_pause_s:
                response.pause(length=self._resume_pause_s)
            response.redirect(f"{self._public_url}/twilio/resume?call={quote(call_id)}", method="POST")
        response.hangup()
        return str(response)

    async def status(self, request: Request, fields: dict[str, str]) -> Response:
        status = fields.get("CallStatus", "")
        if status in STATUS_RANK:
            seconds, sequence = _count(fields.get("CallDuration")), _count(fields.get("SequenceNumber"))
            await _parts(request).desk.status(
                fields["CallSid"], _call_id(request), status, seconds, 0 if sequence is None else sequence
            )
        else:
            log.warning("status_unknown", call_sid=fields["CallSid"])
        return Response(status_code=204)

    async def machine(self, request: Request, fields: dict[str, str]) -> Response:
        verdict = fields.get("AnsweredBy", "")
        if verdict:
            await _parts(request).desk.machine(fields["CallSid"], verdict)
        return Response(status_code=204)

    async def text(self, request: Request, fields: dict[str, str]) -> Response:
        """Somebody answered one of our texts: a stop word alone ends the calls to that number, everywhere."""
        answer = texting.answer_to(fields.get("Body", ""))
        if answer.stops and (sender := fields.get("From", "")):
            await _parts(request).desk.opt_out(sender, "sms")
            log.info("opted_out", how="sms")
        response = MessagingResponse()
        if answer.says and not fields.get("OptOutType"):  # else the carrier has answered by itself
            response.message(answer.says)
        return Response(str(response), media_type="text/xml")

    async def stream(self, _request: Request, fields: dict[str, str]) -> Response:
        """The only place that says why a media socket failed; for the log alone."""
        event = fields.get("StreamEvent", "")
        if event == "stream-error":
            log.warning("stream_error", call_sid=fields["CallSid"], error=fields.get("StreamError", "")[:200])
        else:
            log.info("stream_event", call_sid=fields["CallSid"], stream_event=event[:32])
        return Response(status_code=204)

    async def media(self, websocket: WebSocket) -> None:
        if not self._signatures.socket(_target(websocket), websocket.headers.getlist(HEADER)):
            log.warning("socket_refused", door="media", why="signature")
            await websocket.close()  # before it is accepted: the upgrade is answered 403
            return
        parts = _parts(websocket)
        await self._door.serve(websocket, parts.desk, parts.clock)


def _parts(connection: HTTPConnection) -> _Parts:
    return cast(_Parts, connection.app.state.parts)


def _target(connection: HTTPConnection) -> str:
    """Path and query exactly as requested, which is what was signed."""
    scope = connection.scope
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _call_id(request: Request) -> str:
    """Our own name of the call, from the URL we gave the carrier."""
    return request.query_params.get("call", "")


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 9 else None
