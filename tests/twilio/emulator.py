"""Twilio's REST interface on our exchange, as far as a callback application uses it.

Spelled from Twilio's own description of it: forms in, snake_case JSON out, numbers as strings, its
error bodies and codes. `mishaps` scripts what goes wrong next.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from enum import Enum
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.carriers.base import DialOrder
from pipeline.carriers.exchange import EVENTS, Exchange
from pipeline.carriers.phonecall import PhoneCall, Sms


class Mishap(Enum):
    """What happens to one request instead of a plain answer."""

    TOO_MANY = "429, not processed"
    LOST = "carried out, but the answer never comes"
    BROKEN = "carried out, then 500"
    GARBAGE = "carried out, answered with something that is not JSON"
    NOTHING = "none"


_Work = Callable[[Request, list[tuple[str, str]]], Response]


class Emulator:
    """`app` is the REST interface of `exchange`, for one account."""

    def __init__(self, exchange: Exchange, auth_token: str) -> None:
        self.exchange = exchange
        self.requests: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.mishaps: deque[Mishap] = deque()
        self.list_lags = 0
        """So many lists yet to come do not show any call: the resource is eventually consistent."""
        self.prices: dict[str, str] = {}
        """What calls cost, by SID, once the carrier has rated them: negative dollars."""
        self.verdict: tuple[int, int, str] | None = None
        """A refusal of every new call or message: HTTP status, code, text."""
        self.countries = ["US"]
        """Those whose ordinary numbers the account may ring."""
        self._sid = exchange.account_sid
        self._auth_token = auth_token
        base = f"/2010-04-01/Accounts/{self._sid}"
        self.app = Starlette(
            routes=[
                Route(f"{base}/Calls.json", self._calls, methods=["GET", "POST"]),
                Route(f"{base}/Calls/{{sid}}.json", self._call, methods=["GET", "POST"]),
                Route(f"{base}/Messages.json", self._messages, methods=["POST"]),
                Route("/v1/DialingPermissions/Countries", self._permissions),
            ]
        )

    async def _calls(self, request: Request) -> Response:
        if request.method == "GET":
            return await self._guarded(request, self._list)
        return await self._guarded(request, self._create)

    async def _call(self, request: Request) -> Response:
        return await self._guarded(request, self._update if request.method == "POST" else self._fetch)

    async def _messages(self, request: Request) -> Response:
        return await self._guarded(request, self._text)

    async def _permissions(self, request: Request) -> Response:
        return await self._guarded(request, self._list_countries)

    async def _guarded(self, request: Request, work: _Work) -> Response:
        """Credentials first, then what is scripted to go wrong, then the work."""
        form = parse_qsl((await request.body()).decode(), keep_blank_values=True)
        self.requests.append((request.method, request.url.path, form))
        expected = base64.b64encode(f"{self._sid}:{self._auth_token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return _error(401, 20003, "Authenticate")
        mishap = self.mishaps.popleft() if self.mishaps else Mishap.NOTHING
        if mishap is Mishap.TOO_MANY:
            return _error(429, 20429, "Too Many Requests")
        answer = work(request, form)
        if mishap is Mishap.LOST:
            await asyncio.Event().wait()
        if mishap is Mishap.BROKEN:
            return _error(500, 20500, "Internal Server Error")
        if mishap is Mishap.GARBAGE:
            return Response("<html>", status_code=201, media_type="text/html")
        return answer

    def _create(self, _request: Request, form: list[tuple[str, str]]) -> Response:
        one = dict(form)
        if self.verdict is not None:
            return _error(*self.verdict)
        if not one.get("To", "").startswith("+1"):
            return _error(
                400, 21211, f"The phone number you are attempting to call, {one.get('To')}, is not valid."
            )
        events = tuple(value for name, value in form if name == "StatusCallbackEvent")
        if any(event not in EVENTS for event in events):
            events = ("",)  # accepted, logged, and no callback is ever made
        call = self.exchange.place(_order(one), events or ("completed",))
        return JSONResponse(self._resource(call), status_code=201)

    def _list(self, request: Request, _form: list[tuple[str, str]]) -> Response:
        asked = request.query_params
        lags, self.list_lags = self.list_lags > 0, max(0, self.list_lags - 1)
        known = [] if lags else list(self.exchange.calls.values())
        found = [
            self._resource(call)
            for call in reversed(known)
            if asked.get("To") in {None, call.order.to} and asked.get("From") in {None, call.order.sender}
        ]
        size = int(asked.get("PageSize", "50"))
        page = {
            "calls": found[:size],
            "page": 0,
            "page_size": size,
            "next_page_uri": None,
            "uri": request.url.path,
        }
        return JSONResponse(page)

    def _list_countries(self, request: Request, _form: list[tuple[str, str]]) -> Response:
        """Of the Voice API, which spells its pages otherwise. Those of which nothing is allowed are left out."""
        assert request.query_params["LowRiskNumbersEnabled"] == "true"
        allowed = [
            {
                "iso_code": code,
                "low_risk_numbers_enabled": True,
                "high_risk_special_numbers_enabled": False,
                "high_risk_tollfraud_numbers_enabled": False,
            }
            for code in self.countries
        ]
        meta = {"page": 0, "page_size": 250, "next_page_url": None, "key": "content"}
        return JSONResponse({"content": allowed, "meta": meta})

    def _fetch(self, request: Request, _form: list[tuple[str, str]]) -> Response:
        call = self.exchange.calls.get(request.path_params["sid"])
        if call is None:
            return _error(404, 20404, "The requested resource was not found")
        return JSONResponse(self._resource(call))

    def _update(self, request: Request, form: list[tuple[str, str]]) -> Response:
        sid, status = request.path_params["sid"], dict(form).get("Status")
        if sid not in self.exchange.calls:
            return _error(404, 20404, "The requested resource was not found")
        call = self.exchange.end(sid, only_unanswered=status == "canceled")
        if call is None:
            return _error(400, 21220, "Call is not in-progress. Cannot redirect.")
        return JSONResponse(self._resource(call))

    def _text(self, _request: Request, form: list[tuple[str, str]]) -> Response:
        if self.verdict is not None:
            return _error(*self.verdict)
        one = dict(form)
        sent = self.exchange.text(one["To"], one["From"], one["Body"])
        return JSONResponse(self._message(sent), status_code=201)

    def _resource(self, call: PhoneCall) -> Mapping[str, object]:
        made = format_datetime(call.created).replace("-0000", "+0000")
        return {
            "sid": call.sid,
            "account_sid": self._sid,
            "to": call.order.to,
            "from": call.order.sender,
            "status": call.status,
            "direction": call.direction,
            "date_created": made,
            "date_updated": made,
            "start_time": None,
            "end_time": None,
            "duration": str(call.seconds) if call.seconds else None,
            "price": self.prices.get(call.sid),
            "price_unit": "USD",
            "answered_by": call.answered_by or None,
            "queue_time": "0",
            "api_version": "2010-04-01",
            "uri": f"/2010-04-01/Accounts/{self._sid}/Calls/{call.sid}.json",
            "subresource_uris": {},
        }

    def _message(self, sms: Sms) -> Mapping[str, object]:
        return {
            "sid": sms.sid,
            "account_sid": self._sid,
            "to": sms.to,
            "from": sms.sender,
            "body": sms.body,
            "status": "queued",
            "error_code": None,
            "error_message": None,
            "num_segments": "1",
            "price": None,
        }


def _order(one: Mapping[str, str]) -> DialOrder:
    return DialOrder(
        to=one["To"],
        sender=one["From"],
        answer_url=one["Url"],
        status_url=one.get("StatusCallback", ""),
        amd_url=one.get("AsyncAmdStatusCallback", ""),
        ring_s=int(one.get("Timeout", "60")),
        limit_s=int(one.get("TimeLimit", "14400")),
        detect_machine="MachineDetection" in one and one.get("AsyncAmd") == "true",
    )


def _error(status: int, code: int, text: str) -> Response:
    body = {
        "code": code,
        "message": text,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Response(json.dumps(body), status_code=status, media_type="application/json")
