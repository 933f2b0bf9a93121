"""Passwords that anybody would try first are refused where one is chosen, and never where one is used."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guessable import check_new, common
from tests.server.rig import PASSWORD, Rig

WHO = {"email": "jordan.smythe@example.com", "name": "Jordan Smythe-Oak"}


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("password", "most common"),
        ("PassWord", "most common"),
        ("1q2w3e4r", "most common"),
        ("liverpool1", "most common"),
        ("aaaaaaaaaaaaaaa", "pattern"),
        ("yzyzyzyzyzyz", "pattern"),
        ("🐢🐢🐢🐢🐢🐢🐢🐢", "pattern"),
        ("456789:;<", "pattern"),
        ("vutsrqpon", "pattern"),
        ("callmeback", "service"),
        ("Call-Me-Back 2026!", "service"),
        ("jordan.smythe", "address"),
        ("JORDAN.SMYTHE@example.com", "address"),
        ("jordan1999", "your name"),
        ("1!smytheoak", "your name"),
        ("xK9#q", "8 characters"),
    ],
)
def test_what_is_guessed_first_is_refused(password: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_new(password, **WHO)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        "jordan likes tea",
        "passwordpasswordx",
        "12345678 tea",
        "callmeback or not",
        "🐢🐇🦔🐢🐇🦔🐢🐇",
    ],
)
def test_anything_else_will_do(password: str) -> None:
    assert check_new(password, **WHO) == password


def test_the_list_is_long_enough_and_in_lower_case() -> None:
    """ASVS 6.2.4 asks for the 3,000 most common that are long enough to be chosen."""
    assert sum(len(each) >= 8 for each in common()) >= 3_000
    assert all(each == each.casefold() for each in common())


@given(st.text(min_size=1), st.emails(), st.text())
def test_any_text_is_judged(password: str, email: str, name: str) -> None:
    with suppress(ValueError):
        assert check_new(password, email=email, name=name) == password


async def test_registering_and_changing_refuse_it_alike(rig: Rig) -> None:
    weak = {"email": "ann@example.com", "password": "sunshine", "name": "Ann"}
    refused = await rig.http.post("/api/auth/register", json=weak)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], "most common" in error["message"]) == ("password", True)
    assert (await rig.login(weak["email"], weak["password"])).status_code == 401, "there is no such account"

    ann = await rig.register()
    change = {"current_password": PASSWORD, "new_password": "sunshine"}
    refused = await ann.post("/api/me/password", change)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "new_password")
    assert (await ann.get("/api/me")).status_code == 200, "and no session ended"
    assert (await rig.login(ann.email, PASSWORD)).status_code == 200
