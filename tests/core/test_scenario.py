"""Templates: what they leave open, and that a value is data wherever it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.scenario import Variable, filled, plain, settled, variables


def test_variables_are_declared_by_use_in_the_order_of_use() -> None:
    texts = (
        "Meet {name} at {place}, {place|the park}.",
        "{when|noon} or {when|one}? {Not} {} { x } {9a} {a-b}",
    )
    assert variables(*texts) == (Variable("place", "the park"), Variable("when", "noon"))
    assert variables("{a}", "{a|}") == (Variable("a", ""),)
    assert variables("nothing { is } open, not even {name}") == ()


def test_a_name_has_at_most_32_letters() -> None:
    assert variables("{" + "a" * 32 + "}") == (Variable("a" * 32, None),)
    assert variables("{" + "a" * 33 + "}") == ()


def test_what_is_given_goes_before_a_default() -> None:
    known = variables("{place|home} {topic}")
    assert settled(known, {"topic": "bees"}) == {"place": "home", "topic": "bees"}
    assert settled(known, {"topic": "bees", "place": "the sea", "other": "x"}) == {
        "place": "the sea",
        "topic": "bees",
    }
    with pytest.raises(KeyError):
        settled(known, {"place": "the sea"})


def test_each_use_is_filled_and_the_rest_stays() -> None:
    values = {"place": "the café", "name": "Ann"}
    assert filled("{name}: {place}? {place|x}! {} {Not}", values) == "Ann: the café? the café! {} {Not}"
    with pytest.raises(KeyError):
        filled("{gone}", values)


@given(value=st.text(max_size=60))
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert filled("<{a}>", {"a": value, "b": "secret"}) == f"<{value}>"
    assert filled("<{a}>", {"a": "{b}\\1\\g<0>", "b": "secret"}) == "<{b}\\1\\g<0>>"


@given(value=st.text(max_size=60))
def test_a_plain_value_is_one_line_without_control_characters(value: str) -> None:
    said = plain(value)
    assert said == said.strip()
    assert len(said.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in said)
    assert plain(said) == said
