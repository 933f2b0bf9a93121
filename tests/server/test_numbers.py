"""Which numbers are numbers, and which may be rung."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import Refused
from server.numbers import facts, normalise
from server.permits import check_number
from server.settings import Settings


@pytest.mark.parametrize(
    "text", ["+12025550142", "+1 202 555 0142", "+1 (202) 555-0142", " +1.202.555.0142", "+1-202-555-0142"]
)
def test_spellings_of_one_number(text: str) -> None:
    assert normalise(text) == "+12025550142"


@pytest.mark.parametrize(
    "text",
    ["", "911", "+911", "2025550142", "0012025550142", "+1", "+", "+12", "+1202555014200000000", "+1 202 555 0142 x9",
     "tel:+12025550142", "+1202555014\u0662", "+999123456789", "+1 202\0555 0142", "+1" + " " * 40 + "2025550142"],
)  # fmt: skip
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="telephone number"):
        normalise(text)


@pytest.mark.parametrize(
    ("number", "region", "kind"),
    [
        ("+14155552671", "US", "fixed_or_mobile"),
        ("+18765550199", "JM", "mobile"),
        ("+19005551234", "US", "premium"),
        ("+18005551234", "US", "toll_free"),
        ("+447400123456", "GB", "mobile"),
        ("+442079460018", "GB", "fixed"),
    ],
)
def test_region_and_kind_come_from_the_numbering_plan(number: str, region: str, kind: str) -> None:
    assert (facts(number).region, facts(number).kind) == (region, kind)


def refusal(number: str, *regions: str, simulated: bool = True) -> tuple[str, int] | None:
    real = {
        "twilio_account_sid": "AC" + "0" * 32,
        "twilio_auth_token": "t",
        "twilio_phone_number": "+12025550100",
    }
    given = Settings.model_validate({"operator_country": regions or ("US",), **({} if simulated else real)})
    try:
        check_number(given, facts(number))
    except Refused as refused:
        return refused.code, refused.status
    return None


def allowed(number: str, *regions: str, simulated: bool = True) -> bool:
    found = refusal(number, *regions, simulated=simulated)
    assert found in {None, ("not_allowed_number", 403)}
    return found is None


def test_only_numbers_of_listed_countries_and_plain_kinds() -> None:
    assert allowed("+14155552671", simulated=False)
    for number in (
        "+18762345678",
        "+18095551234",
        "+19002345678",
        "+18002345678",
        "+447400123456",
        "+882161234567",
    ):
        assert not allowed(number), number
    assert allowed("+447400123456", "US", "GB")
    assert not allowed("+447012345678", "GB"), "personal numbers forward to anywhere"
    assert not allowed("+449098790000", "GB"), "premium"
    assert not allowed("+11002345678"), "no such area"


@pytest.mark.parametrize("area", ["202", "212", "415", "646"])
def test_fictional_numbers_ring_in_the_simulation_only(area: str) -> None:
    for last in (0, 42, 99):
        number = f"+1{area}55501{last:02d}"
        assert facts(number).fictional
        assert allowed(number)
        assert not allowed(number, simulated=False)


def test_a_fictional_number_of_another_country_is_of_another_country() -> None:
    assert facts("+18765550142").fictional
    assert not allowed("+18765550142")
    assert not facts("+12025550242").fictional


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    try:
        number = facts(text)
    except ValueError:
        return
    assert number.e164.startswith("+")
    assert facts(number.e164) == number
