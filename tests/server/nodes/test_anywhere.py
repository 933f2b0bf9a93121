"""That whatever serves the routes has all that they ask of it: they reach it through `app.state`, through a cast."""

from __future__ import annotations

import pytest

from server.nodes.anywhere import Anywhere
from server.parts import Placing
from server.routes.twilio import Answering


def methods(protocol: type) -> set[str]:
    return {
        name
        for one in protocol.__mro__
        if one.__module__.startswith("server.")
        for name in vars(one)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("protocol", [Placing, Answering])
def test_any_call_can_be_asked_what_its_routes_ask(protocol: type) -> None:
    asked = methods(protocol)
    assert asked
    assert asked <= set(dir(Anywhere))
