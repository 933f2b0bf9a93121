"""A48: whatever the description allows, and much that it does not: no 5xx, and no answer that is not described.

Schemathesis makes the requests from `/openapi.json`; they go to the whole application in this process: a few of each
route in `make test`, and for five minutes in `make soak`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.clock import real_seconds
from server.openapi import describe
from server.routes import OPS
from server.routing import AnyOp
from tests.server.rig import Person, Rig, running
from tests.server.rig import settings as given_settings

EXAMPLES = 4
"""Of each route and mode, in a round."""
FIRST_SEED = 20261123
SOAK_S = 300.0
CHECKS: list[CheckFunction] = [status_code_conformance, content_type_conformance, response_schema_conformance]
UNAVAILABLE = 503
"""Described everywhere, and what the rig without a desk says of calls."""

SCHEMA: Any = schemathesis.openapi.from_dict(describe(OPS))


class Asking:
    """The application on a loop of its own, asked from tests that are not asynchronous."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        limits = {"registrations_per_ip": 10_000, "login_failures": 100, "login_failures_per_ip": 10_000}
        self._running = running(given_settings(folder, **limits))
        self._accounts = 0
        self.rig: Rig = self._runner.run(self._running.__aenter__())
        self.person = self._anew()

    def _anew(self) -> Person:
        self._accounts += 1
        return self._runner.run(self.rig.register(f"p{self._accounts}@example.com"))

    def ask(self, case: Any) -> httpx.Response:
        made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
        assert made.body is None or isinstance(made.body, str | bytes)
        # In bytes, for a header may hold what is no ASCII; by names in one case, or there would be two tokens.
        headers = {
            str(name).lower().encode(): str(value).encode("latin-1") for name, value in made.headers.items()
        }
        headers[b"authorization"] = f"Bearer {self.person.token}".encode()
        sending = self.rig.http.request(case.method, str(made.url), content=made.body, headers=headers)
        answer = self._runner.run(sending)
        if case.path in {"/api/me", "/api/auth/logout"} and answer.status_code == 204:
            self.person = self._anew()
        return answer

    def close(self) -> None:
        self._runner.run(self._running.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    asking = Asking(tmp_path_factory.mktemp("described"))
    yield asking
    asking.close()


def named(op: AnyOp) -> str:
    return f"{op.method} {op.path}"


@pytest.mark.parametrize("op", OPS, ids=named)
def test_a48_no_request_gets_an_answer_that_is_not_described(asking: Asking, op: AnyOp) -> None:
    for mode in modes(op):
        ask_about(asking, op, mode, FIRST_SEED)


@pytest.mark.soak
def test_a48_nor_in_five_minutes(asking: Asking) -> None:
    """Each route in turn with other requests each time, until the time is over; each at least once."""
    begun, number = real_seconds(), FIRST_SEED
    while (passed := real_seconds() - begun) < SOAK_S:
        number += 1
        for op in OPS:
            for mode in modes(op):
                ask_about(asking, op, mode, number)
    print(f"{number - FIRST_SEED} rounds of {len(OPS)} routes in {passed:.0f} s")


def modes(op: AnyOp) -> tuple[GenerationMode, ...]:
    """A public route that takes nothing cannot be asked wrongly."""
    takes = not op.public or op.body is not None or op.query is not None or "{" in op.path
    return (GenerationMode.POSITIVE, *((GenerationMode.NEGATIVE,) if takes else ()))


def ask_about(asking: Asking, op: AnyOp, mode: GenerationMode, number: int) -> None:
    """The same `number` makes the same requests."""
    operation = SCHEMA[op.path][op.method]

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        answer = asking.ask(case)
        assert answer.status_code < 500 or answer.status_code == UNAVAILABLE, answer.text
        case.validate_response(Response.from_any(answer), checks=CHECKS)

    asked()
