"""How long a call may be, and whose limit that is."""

from __future__ import annotations

import pytest

from server.calls.longest import LimitedBy, Longest, longest


@pytest.mark.parametrize(
    ("order", "scenario", "persona", "server", "minutes", "by"),
    [
        (5, None, 15, 15, 5, "order"),
        (60, None, 10, 15, 10, "persona"),
        (60, 3, 10, 15, 3, "scenario"),
        (60, 30, 20, 15, 15, "server"),
        (15, 15, 15, 15, 15, "order"),
        (None, None, 15, 15, 15, "persona"),
        (None, None, None, 15, 15, "server"),
    ],
)
def test_the_shortest_holds_and_is_named(
    order: int | None, scenario: int | None, persona: int | None, server: int, minutes: int, by: LimitedBy
) -> None:
    found = longest(order=order, scenario=scenario, persona=persona, server=server)
    assert found == Longest(minutes, by)
