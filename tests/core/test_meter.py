"""Running totals and the tiles that prove them."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.effects import Charge
from pipeline.core.meter import Meter
from pipeline.core.money import Nanos
from pipeline.core.tariff import Price, PriceBook, cost
from tests.core.story import CARRIER, PRICES, STT, TTS

prices = st.builds(
    Price,
    st.just(1),
    st.just("tts"),
    st.just("m"),
    st.just("char"),
    st.integers(0, 10**9),
    st.integers(1, 10**6),
    st.integers(1, 60),
    st.integers(0, 100),
)


def test_a_total_is_charged_once_however_often_it_is_reported() -> None:
    meter = Meter(PriceBook(PRICES))
    assert meter.raise_to(CARRIER.line, 60, 0) == [
        Charge(1, CARRIER.line, 0, 60, Nanos(14_000_000), 0),
    ]
    assert meter.raise_to(CARRIER.line, 60, 5) == []
    assert meter.raise_to(CARRIER.line, 30, 5) == []
    assert meter.total(CARRIER.line) == 60
    assert meter.nano == 14_000_000


def test_what_more_would_cost_counts_from_where_the_total_stands() -> None:
    meter = Meter(PriceBook(PRICES))
    first = meter.price_of(STT.line, 1)
    meter.add(STT.line, 1, 0)
    assert (first, meter.price_of(STT.line, 1)) == (108_334, 108_333)


def test_a_correction_goes_both_ways() -> None:
    meter = Meter(PriceBook(PRICES))
    meter.raise_to(CARRIER.line, 120, 60)
    assert meter.correct_to(CARRIER.line, 60, 70)[0].nano == -14_000_000
    assert meter.correct_to(CARRIER.line, 60, 70) == []
    assert meter.correct_to(CARRIER.line, 180, 70)[0].nano == 28_000_000
    assert meter.nano == 42_000_000
    assert meter.total(TTS.line) == 0


@given(prices, st.lists(st.integers(0, 500), max_size=30))
def test_splitting_usage_in_any_way_gives_the_same_total(price: Price, parts: list[int]) -> None:
    meter = Meter(PriceBook((price,)))
    tiles = [tile for second, part in enumerate(parts) for tile in meter.add(price.line, part, second)]
    assert meter.nano == sum(tile.nano for tile in tiles) == cost(price, sum(parts))
    assert [tile.seq for tile in tiles] == list(range(1, len(tiles) + 1))
    assert [tile.from_qty for tile in tiles] == [0, *(tile.to_qty for tile in tiles)][: len(tiles)]
    assert all(tile.nano >= 0 for tile in tiles)
