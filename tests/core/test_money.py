"""Amounts are integers of nanodollars, and their decimal spelling is exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.money import parse_usd, usd


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (5_900_000, "0.0059"),
        (12_500_000_000, "12.50"),
        (-1_230_000_000, "-1.23"),
        (9_000_000_000_000_000_000, "9000000000.00"),
    ],
)
def test_usd_spells_an_amount_exactly(nanos: int, text: str) -> None:
    assert usd(nanos) == text


@pytest.mark.parametrize(
    ("text", "nanos"), [("12.5", 12_500_000_000), ("7", 7_000_000_000), ("0.000000001", 1)]
)
def test_parse_usd_reads_plain_decimals(text: str, nanos: int) -> None:
    assert parse_usd(text) == nanos


@pytest.mark.parametrize(
    "text",
    ["", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1 ", "1\n", "0.0000000001", "1234567890", "٣", "NaN"],
)
def test_parse_usd_refuses_everything_else(text: str) -> None:
    with pytest.raises(ValueError, match="decimal places"):
        parse_usd(text)


@given(st.integers(0, 10**18 - 1))
def test_an_amount_survives_its_spelling(nanos: int) -> None:
    assert parse_usd(usd(nanos)) == nanos
