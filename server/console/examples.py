"""The requests that `/docs` shows, in an order in which each can be made. A test makes them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """`saves`: names for later paths and bodies, each with the field of the answer that it keeps."""

    title: str
    method: str
    path: str
    status: int
    body: dict[str, object] | None = None
    open: bool = False
    saves: tuple[tuple[str, str], ...] = ()

    def command(self, origin: str) -> str:
        """The same for a shell, with curl. What an earlier answer gave is a variable of the shell."""
        parts = [f'curl -s "{origin}{self.path}"']
        if self.method != ("POST" if self.body is not None else "GET"):
            parts.append(f"-X {self.method}")
        if not self.open:
            parts.append('-H "Authorization: Bearer $token"')
        if self.body is not None:
            parts.append(f"--json {_quoted(json.dumps(self.body))}")
        return " \\\n  ".join(parts)


def _quoted(text: str) -> str:
    """For a shell: as it stands, or where a variable is in it, with that filled in."""
    return shlex.quote(text) if "$" not in text else '"' + text.replace('"', '\\"') + '"'


EXAMPLES: tuple[Example, ...] = (
    Example(
        "Make an account; keep the token of the answer",
        "POST",
        "/api/auth/register",
        201,
        {"email": "ann@example.com", "password": "correct horse", "name": "Ann", "timezone": "Europe/Berlin"},
        open=True,
        saves=(("token", "token"),),
    ),
    Example("Have a code sent to your phone", "POST", "/api/me/phone", 202, {"phone": "+12025550142"}),
    Example("Prove it with the code that arrives", "POST", "/api/me/phone/verify", 200, {"code": "$code"}),
    Example("See who can call", "GET", "/api/personas", 200),
    Example("Set a budget", "PUT", "/api/budget", 200, {"per_call_usd": "0.25", "warn_percent": 75}),
    Example("Ask what five minutes come to", "GET", "/api/estimate?minutes=5", 200),
    Example(
        "Be rung",
        "POST",
        "/api/calls",
        202,
        {"persona_id": "sarah", "context": "I start a new job on Monday.", "max_minutes": 5},
        saves=(("call", "id"),),
    ),
    Example("Look at the call", "GET", "/api/calls/$call", 200),
    Example("See what it costs, by service and second", "GET", "/api/calls/$call/costs", 200),
    Example("Hang up", "POST", "/api/calls/$call/hangup", 202),
    Example("Read the ledger", "GET", "/api/credits/transactions", 200),
)
