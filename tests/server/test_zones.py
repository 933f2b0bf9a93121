"""The names of time zones, as requests are checked by them."""

from __future__ import annotations

from server.zones import zone_names


def test_the_names_are_read_once_and_are_those_of_zones() -> None:
    assert {"Europe/Berlin", "America/New_York", "UTC"} <= zone_names()
    assert "Europe/Atlantis" not in zone_names()
    assert zone_names() is zone_names()
