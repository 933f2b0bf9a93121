"""What a call has cost, by service: for live listeners and late readers alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.core.events import CallResumed, CallStarted
from pipeline.core.money import Nanos, usd
from pipeline.core.tariff import cost, service_of
from storage.records import CostLine


def before(started: CallStarted) -> dict[str, Nanos]:
    """What a call that goes on here was charged by the process before; nothing for any other."""
    if not isinstance(started, CallResumed):
        return {}
    prices = {price.line: price for price in started.prices}
    bought = [(each.line, each.quantity) for each in started.resumed.bought if each.line in prices]
    return summed((line, cost(prices[line], quantity)) for line, quantity in bought)


def summed(lines: Iterable[tuple[str, int]]) -> dict[str, Nanos]:
    sums: dict[str, Nanos] = {}
    for line, nano in lines:
        service = service_of(line)
        sums[service] = Nanos(sums.get(service, 0) + nano)
    return sums


def shown(sums: Mapping[str, Nanos]) -> dict[str, str]:
    return {service: usd(nano) for service, nano in sorted(sums.items())}


def of_lines(lines: Iterable[CostLine]) -> dict[str, str]:
    return shown(summed((line.line, line.amount_nano) for line in lines))
