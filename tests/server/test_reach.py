"""What the log says at the start of the carrier's own permissions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import CarrierError
from server.reach import NAMED, compare


@dataclass
class Account:
    allowed: frozenset[str] | None

    async def countries(self) -> frozenset[str]:
        if self.allowed is None:
            raise CarrierError("refused", code=20003)
        return self.allowed


@pytest.mark.parametrize(
    ("meant", "allowed", "said"),
    [
        (["US"], {"US"}, []),
        (["US", "GB", "CA"], {"US"}, [("carrier_refuses_countries", ["CA", "GB"])]),
        (["US"], {"US", "JM", "LV"}, [("carrier_rings_more_countries", ["JM", "LV"])]),
        (["US"], {"JM"}, [("carrier_refuses_countries", ["US"]), ("carrier_rings_more_countries", ["JM"])]),
    ],
)
async def test_countries_missing_or_too_many_are_named(
    meant: list[str], allowed: set[str], said: list[tuple[str, list[str]]]
) -> None:
    with capture_logs() as logs:
        await compare(Account(frozenset(allowed)), meant)
    assert [(line["event"], line["countries"]) for line in logs] == said


async def test_of_very_many_the_number_is_told_and_some_are_named() -> None:
    world = frozenset(f"A{number}" for number in range(200))
    with capture_logs() as logs:
        await compare(Account(world | {"US"}), ["US"])
    assert [(line["number"], len(line["countries"])) for line in logs] == [(200, NAMED)]


async def test_a_carrier_that_does_not_say_stops_nothing() -> None:
    with capture_logs() as logs:
        await compare(Account(None), ["US"])
    assert [(line["event"], line["carrier_code"]) for line in logs] == [("carrier_countries_unknown", 20003)]
