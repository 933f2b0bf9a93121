"""What a call has cost by service: what was charged, what another process had charged before, what the rows say."""

from __future__ import annotations

from dataclasses import fields

from pipeline.core.events import Bought, CallResumed, CallStarted, Resumed
from pipeline.core.money import Millis, Nanos
from pipeline.core.tariff import cost
from server.money import by_service
from storage.records import CostLine
from tests.core.story import started


def test_a_call_that_goes_on_here_counts_what_was_charged_before() -> None:
    start = started()
    assert by_service.before(start) == {}
    lines = {price.line: price for price in start.prices}
    bought = tuple(Bought(line, 60) for line in lines)
    known = Resumed(Millis(0), 9, (*bought, Bought("stt:gone:second", 5)), ())
    common = {field.name: getattr(start, field.name) for field in fields(CallStarted)}
    found = by_service.before(CallResumed(**common, resumed=known))
    assert sum(found.values()) == sum(cost(price, 60) for price in lines.values())
    assert set(found) == {price.service for price in start.prices}


def test_lines_of_one_service_are_one_amount() -> None:
    lines = [
        CostLine("llm:mind:token_out", "llm", "mind", "token_out", 2, Nanos(2_000_000), 3),
        CostLine("llm:mind:token_in", "llm", "mind", "token_in", 9, Nanos(1_000_000), 3),
        CostLine("carrier:twilio:second", "carrier", "twilio", "second", 60, Nanos(14_000_000), 0),
    ]
    assert by_service.of_lines(lines) == {"carrier": "0.014", "llm": "0.003"}
