"""Speakable pieces of a reply that is still being written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.sentences import LONGEST_CHARS, SentenceCutter, speakable


def cut(*pieces: str) -> list[str]:
    cutter = SentenceCutter()
    return [sentence for piece in pieces for sentence in cutter.add(piece)] + cutter.finish()


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("**Hi** _there_, `you`", "Hi there, you"),
        ("I love it ❤️ so", "I love it so"),
        ("1️⃣ first", "1 first"),
        ("See [the docs](http://example.com/a_b) now.", "See the docs now."),
        ("![a **cat**](cat.png) sat", "a cat sat"),
        ("[brackets] (and more)", "[brackets] (and more)"),
        ("a\n\tb\u0007c\u200d", "a bc"),
        ("café — naïve", "café — naïve"),
        ("half \ud83d an emoji", "half an emoji"),
    ],
)
def test_what_is_not_meant_to_be_spoken_goes(raw: str, spoken: str) -> None:
    assert speakable(raw) == spoken


@pytest.mark.parametrize(
    ("pieces", "sentences"),
    [
        (("Hello there. How are", " you?"), ["Hello there.", "How are you?"]),
        (("Hello", " there", ".", " Bye"), ["Hello there.", "Bye"]),
        (("Wait... what?! Yes.",), ["Wait...", "what?!", "Yes."]),
        (('He said "no." Then left.',), ['He said "no."', "Then left."]),
        (("Dr. Smith came. At 5 p.m. he left.",), ["Dr. Smith came.", "At 5 p.m. he left."]),
        (("It costs 3.50 today.",), ["It costs 3.50 today."]),
        (("Yes, well, one thing first is clear, namely this, right.",), None),
        (("🙂", " * ", ""), []),
        (("One. 🙂 ",), ["One."]),
        ((), []),
    ],
)
def test_sentences(pieces: tuple[str, ...], sentences: list[str] | None) -> None:
    expected = sentences
    if expected is None:
        expected = ["Yes, well, one thing first is clear,", "namely this, right."]
    assert cut(*pieces) == expected


def test_only_the_first_piece_may_end_at_a_comma() -> None:
    assert cut("Short. And then a rather long clause, which goes on. ") == [
        "Short.",
        "And then a rather long clause, which goes on.",
    ]


def test_speech_starts_while_the_sentence_is_still_written() -> None:
    cutter = SentenceCutter()
    assert cutter.add("Well, I have been thinking of you,") == []
    assert cutter.add(" and") == ["Well, I have been thinking of you,"]


@pytest.mark.parametrize("text", ["x" * 450, "word " * 90 + "end. ", "word " * 90 + "! ?"])
def test_a_sentence_without_end_is_cut(text: str) -> None:
    pieces = cut(text)
    assert len(pieces) > 1
    assert all(len(piece) <= LONGEST_CHARS for piece in pieces)


def test_a_word_is_left_whole_where_a_long_sentence_is_cut() -> None:
    assert cut("word " * 90)[0] == " ".join(["word"] * 40)


words = st.lists(st.text("abc", min_size=1, max_size=9).map(lambda word: word + "x"), max_size=80)


@given(words, st.lists(st.sampled_from([" ", ". ", ", ", "! "]), min_size=80, max_size=80), st.data())
def test_no_word_is_lost_or_said_twice_however_it_arrives(
    text: list[str], ends: list[str], data: st.DataObject
) -> None:
    whole = "".join(word + end for word, end in zip(text, ends, strict=False))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    sentences = cut(*pieces)
    assert " ".join(sentences).split() == whole.split()
    assert all(len(sentence) <= LONGEST_CHARS for sentence in sentences)


LINKED = (
    "Well, [my, oh. So](http://example.com/a,b?c=d) it is. "
    + "word " * 38
    + f"[docs](http://x/{'y' * 240}). End."
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 1000])
def test_of_a_link_that_arrives_in_pieces_the_words_are_spoken(size: int) -> None:
    sentences = cut(*(LINKED[at : at + size] for at in range(0, len(LINKED), size)))
    assert " ".join(sentences).split() == [
        "Well,",
        "my,",
        "oh.",
        "So",
        "it",
        "is.",
        *["word"] * 38,
        "docs.",
        "End.",
    ]


def test_a_link_that_breaks_off_and_a_bracket_nobody_closes() -> None:
    assert cut("See [the docs](http://exa") == ["See the docs"]
    cutter = SentenceCutter()
    assert cutter.add("So [it. " + "word " * 18) == ["So [it."]
