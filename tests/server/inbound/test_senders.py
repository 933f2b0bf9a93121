"""What a call says it is from, and what its caller keyed in."""

from __future__ import annotations

import pytest

from server.inbound.keyed import LONGEST, Keyed, read
from server.inbound.senders import INSTEAD, caller, named


@pytest.mark.parametrize(
    "sender", [*sorted(INSTEAD), "", "anonymous", "sip:ann@example.com", "2025550142", "+"]
)
def test_a_withheld_number_is_none(sender: str) -> None:
    assert caller(sender) is None


def test_a_number_is_e164() -> None:
    assert caller("+12025550142") == "+12025550142"
    assert named("+1 (202) 555-0142") == "+12025550142"
    assert named(" withheld ") is None
    with pytest.raises(ValueError, match="telephone number"):
        named("ann")


@pytest.mark.parametrize(
    ("digits", "keyed"),
    [
        ("", None), (" ", None),
        ("271828", Keyed("271828", call_back=False)), ("271828#", Keyed("271828", call_back=False)),
        ("271828*", Keyed("271828", call_back=True)), ("*", Keyed("", call_back=True)),
        ("27*1828", Keyed("27*1828", call_back=False)), ("9" * 99, Keyed("9" * LONGEST, call_back=False)),
    ],
)  # fmt: skip
def test_what_was_keyed_in(digits: str, keyed: Keyed | None) -> None:
    assert read(digits) == keyed
    assert "271828" not in repr(keyed)
