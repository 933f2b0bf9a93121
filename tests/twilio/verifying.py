"""Twilio Verify, as far as a callback application uses it: codes that live ten minutes, five sends, five checks.

Spelled from Twilio's description of it. A wrong code is an answer, not an error; a code that is used up is not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SERVICE = "VA" + "0" * 32
TRIES = 5


@dataclass
class Pending:
    sid: str
    to: str
    code: str
    sends: int = 1
    checks: int = 0


class VerifyEmulator:
    """`texted` is what people got, as (number, code), oldest first."""

    def __init__(self) -> None:
        self.texted: list[tuple[str, str]] = []
        self.pending: dict[str, Pending] = {}
        self.app = Starlette(
            routes=[
                Route(f"/v2/Services/{SERVICE}/Verifications", self._send, methods=["POST"]),
                Route(f"/v2/Services/{SERVICE}/VerificationCheck", self._check, methods=["POST"]),
            ]
        )

    def expire(self) -> None:
        self.pending.clear()

    async def _send(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if form.get("Channel") != "sms" or not form.get("To", "").startswith("+"):
            return _error(400, 60200, "Invalid parameter")
        to = form["To"]
        known = next((one for one in self.pending.values() if one.to == to), None)
        if known is None:
            number = len(self.texted) + 1
            known = Pending(f"VE{number:032x}", to, f"{100_000 + number}", sends=0)
            self.pending[known.sid] = known
        if known.sends >= TRIES:
            return _error(429, 60203, "Max send attempts reached")
        known.sends += 1
        self.texted.append((to, known.code))
        return JSONResponse(_resource(known, "pending"), status_code=201)

    async def _check(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        known = self.pending.get(form.get("VerificationSid", ""))
        if known is None:
            return _error(404, 20404, "The requested resource was not found")
        if known.checks >= TRIES:
            return _error(429, 60202, "Max check attempts reached")
        known.checks += 1
        if form.get("Code") != known.code:
            return JSONResponse(_resource(known, "pending"), status_code=200)
        del self.pending[known.sid]
        return JSONResponse(_resource(known, "approved"), status_code=200)


def _resource(one: Pending, status: str) -> dict[str, object]:
    return {
        "sid": one.sid, "service_sid": SERVICE, "account_sid": "AC" + "0" * 32, "to": one.to, "channel": "sms",
        "status": status, "valid": status == "approved", "lookup": {}, "amount": None, "payee": None,
        "date_created": "2026-11-23T12:00:00Z", "date_updated": "2026-11-23T12:00:00Z", "sna": None,
    }  # fmt: skip


def _error(status: int, code: int, message: str) -> Response:
    return JSONResponse({"code": code, "message": message, "status": status, "more_info": ""}, status)
