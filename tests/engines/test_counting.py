"""The simple rule of counting tokens."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.effects import Message
from pipeline.engines.counting import prompt_tokens, text_tokens
from pipeline.engines.scripted import words


def test_examples() -> None:
    assert [text_tokens(text) for text in ("", "a", "abcd", "abcde", "éé", "ééé")] == [0, 1, 1, 2, 1, 2]
    assert prompt_tokens([]) == 0
    assert prompt_tokens([Message("system", "abcd"), Message("user", "")]) == 9


@given(st.text(max_size=80))
def test_words_lose_nothing_and_no_piece_is_blank_but_a_blank_text(text: str) -> None:
    pieces = list(words(text))
    assert "".join(pieces) == text
    if text.strip():
        assert all(piece.strip() for piece in pieces[:-1])


@given(st.text(max_size=50), st.text(max_size=50))
def test_more_text_never_counts_less(one: str, other: str) -> None:
    assert text_tokens(one + other) >= max(text_tokens(one), text_tokens(other))
    assert text_tokens(one + other) <= text_tokens(one) + text_tokens(other)
