"""What things cost, against figures worked out by hand."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.tariff import Price, PriceBook, Service, Unit, billable, cost, service_of
from tests.core.story import AMD, CARRIER, LLM_IN, LLM_OUT, PRICES, STT


def price(
    nano: int,
    block: int,
    increment: int = 1,
    minimum: int = 0,
    service: Service = "stt",
    unit: Unit = "second",
) -> Price:
    return Price(1, service, "m", unit, nano, block, increment, minimum)


NOVA = price(5_900_000, 60)  # $0.0059 a minute, by the second
CACHED = price(12_500_000, 1_000_000)  # $0.0125 for a million cached tokens
CALL_LEG = price(14_000_000, 60, 60)  # $0.014 for each started minute


@pytest.mark.parametrize(
    ("list_price", "quantity", "nano"),
    [
        (NOVA, 1, 98_334),  # 98,333.3
        (NOVA, 2, 196_667),  # 196,666.7
        (NOVA, 3, 295_000),
        (NOVA, 60, 5_900_000),
        (NOVA, 3_600, 354_000_000),
        (CACHED, 1, 13),  # 12.5
        (CACHED, 2, 25),
        (CACHED, 80, 1_000),
        (CACHED, 1_000_000, 12_500_000),
        (CALL_LEG, 0, 0),
        (CALL_LEG, 1, 14_000_000),
        (CALL_LEG, 60, 14_000_000),
        (CALL_LEG, 61, 28_000_000),
        (price(15_000_000, 1_000), 200, 3_000_000),
        (price(350_000_000, 1_000_000), 412, 144_200),
        (price(1_000, 1, increment=6, minimum=30), 1, 30_000),
        (price(1_000, 1, increment=6, minimum=30), 31, 36_000),
        (price(1_000, 1, increment=6, minimum=30), 0, 0),
        (price(7_500_000, 1), -1, 0),
    ],
)
def test_golden_figures(list_price: Price, quantity: int, nano: int) -> None:
    assert cost(list_price, quantity) == nano


any_price = st.builds(
    price, st.integers(0, 10**10), st.integers(1, 10**6), st.integers(1, 90), st.integers(0, 200)
)


@given(any_price, st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_cost_is_one_rounding_never_falls_and_parts_never_undercut_the_whole(
    list_price: Price, one: int, other: int
) -> None:
    exact = Fraction(billable(list_price, one) * list_price.price_nano, list_price.block_units)
    assert cost(list_price, one) == ceil(exact)
    assert cost(list_price, one) <= cost(list_price, one + other)
    assert cost(list_price, one + other) <= cost(list_price, one) + cost(list_price, other)


def test_a_book_finds_prices_by_service_by_unit_and_by_line() -> None:
    book = PriceBook(PRICES)
    assert list(book) == list(PRICES)
    assert book.of("llm") == (LLM_IN, LLM_OUT)
    assert book.find("llm", "mind", "token_out") is LLM_OUT
    assert book.find("llm", "mind", "token_cached") is None
    assert book.find("llm", "other", "token_out") is None
    assert book.models("llm") == ("mind",)
    assert book.line("stt:ear:second") is STT
    assert AMD.line == "amd:detect:call"
    assert all(service_of(each.line) == each.service for each in PRICES)
    assert CARRIER in book.of("carrier")
    with pytest.raises(KeyError):
        book.line("stt:other:second")
