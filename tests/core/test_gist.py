"""What carries a sentence, and what says it too."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.gist import gist, says
from pipeline.core.memory import folded


def of(text: str) -> frozenset[str]:
    return gist(folded(text).split())


def test_the_words_that_carry_nothing_are_left_out() -> None:
    assert of("My sister's name is Ann") == {"sister", "ann"}
    assert of("I am 7 years old") == {"7", "years", "old"}
    assert of("trains") == of("I am what I am") == frozenset()


@pytest.mark.parametrize(
    ("text", "other", "same"),
    [
        ("My sister is called Ann", "Ann is the name of my sister", True),
        ("My sister is called Ann", "My sister Ann lives in Leeds", True),
        ("My sister is called Ann", "My sister is called Joan", False),
        ("one two three four", "one two three", False),
        ("one two three four five", "five four three two", True),
        ("trains", "trains", False),
    ],
)
def test_other_words_may_say_the_same(text: str, other: str, same: bool) -> None:
    assert says(of(text), folded(other).split()) is same


@given(st.lists(st.sampled_from(["ann", "sister", "leeds", "chess", "is", "my"]), max_size=8), st.randoms())
def test_the_order_of_words_does_not_matter(words: list[str], random: Random) -> None:
    mixed = list(words)
    random.shuffle(mixed)
    assert gist(words) == gist(mixed)
    assert says(gist(words), mixed) is bool(gist(words))
