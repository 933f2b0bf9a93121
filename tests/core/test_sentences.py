"""Speakable pieces of a reply that is still being written."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.sentences import LONGEST_CHARS, SentenceCutter, speakable
from pipeline.core.spoken import spoken


def cut(*pieces: str) -> list[str]:
    cutter = SentenceCutter()
    return [sentence for piece in pieces for sentence in cutter.add(piece)] + cutter.finish()


@pytest.mark.parametrize(
    ("raw", "kept"),
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
        ("It was $5 at 72°F, *really* (laughs)", "It was $5 at 72°F, really (laughs)"),
    ],
)
def test_what_is_not_meant_to_be_spoken_goes(raw: str, kept: str) -> None:
    assert speakable(raw) == kept


@pytest.mark.parametrize(
    ("pieces", "sentences"),
    [
        (("Hello there. How are", " you?"), ["Hello there.", "How are you?"]),
        (("Hello", " there", ".", " Bye"), ["Hello there.", "Bye"]),
        (("Wait... what?! Yes.",), ["Wait... what?!", "Yes."]),
        (("Wait... ", "What?! Yes… No"), ["Wait...", "What?!", "Yes…", "No"]),
        (('He said "no." Then left.',), ['He said "no."', "Then left."]),
        (("Dr. Smith came. At 5 p.m. he left.",), ["Doctor Smith came.", "At five PM he left."]),
        (
            (
                "It costs 3.",
                "5 or $1",
                ",000. Good",
            ),
            ["It costs three point five or one thousand dollars.", "Good"],
        ),
        (("At 5 p.m. He left at 3 p.m. Monday. ",), ["At five PM.", "He left at three PM Monday."]),
        (("The U.S. Army of the U.S. Then J. R. Lee. ",), ["The U.S. Army of the U.S.", "Then J. R. Lee."]),
        (("Tea, milk, etc. And ham, etc. for me.",), ["Tea, milk, et cetera.", "And ham, et cetera for me."]),
        (
            ("No. 5 is it. No. I won't. On Jan. 5. ",),
            ["number five is it.", "No.", "I won't.", "On January fifth."],
        ),
        (
            ("Use e.g. this vs. That. It is 5 ft. long. ",),
            ["Use for example this versus That.", "It is five feet long."],
        ),
        (("On Main St. Then home, St. Ann. ",), ["On Main Street.", "Then home, Saint Ann."]),
        (
            ("See example.com. Or www.a.com/x?y=z. Ok",),
            ["See example dot com.", "Or a dot com slash x.", "Ok"],
        ),
        (("1. Milk. 2. Eggs.\n2. Ham. ",), ["one. Milk.", "two.", "Eggs.", "two. Ham."]),
        (("One\n\nTwo\nthree",), ["One", "Two three"]),
        (("So (wait. What) is [it. Now]. Yes",), ["So (wait. What) is it. Now.", "Yes"]),
        (("*laughs* Hi. *sighs, very", " deeply* Yes. *chuckl", "es"), ["Hi.", "Yes."]),
        (("**Yes.** And *no. Not*. ",), ["Yes.", "And no. Not."]),
        (
            (
                "<break time='1. ",
                "s'/>Hi. <3 you. ",
            ),
            ["Hi.", "less than three you."],
        ),
        (
            (
                'Ask Mr. "X. ',
                'He" of "the U.S. "Yes" ',
            ),
            ['Ask Mister "X.', 'He" of "the U.S.', '"Yes"'],
        ),
        (("See you at 5 p.m. H",), ["See you at five PM.", "H"]),
        (("The U.S. 5 then, at 5 p.m. 6 left",), ["The U.S. five then, at five PM.", "six left"]),
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


@pytest.mark.parametrize(
    "text", ["x" * 450, "word " * 90 + "end. ", "word " * 90 + "! ?", "word " * 39 + "?" * 30 + " end"]
)
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
    assert cutter.add("So [it. " + "word " * 18) == ["So it."]


@pytest.mark.parametrize("opening", ["(", "[", "*", "<b ", "[it]("])
def test_what_nobody_closes_is_not_waited_for_long(opening: str) -> None:
    cutter = SentenceCutter()
    said = [piece for text in [f"So {opening}it. ", *["word "] * 120] for piece in cutter.add(text)]
    assert said[0].endswith("it.")


def test_the_first_clause_does_not_end_inside_of_a_date() -> None:
    cutter = SentenceCutter()
    assert cutter.add("We all met there on June 3, ") == []
    assert cutter.add("2026, as you know") == ["We all met there on June third, twenty twenty-six,"]
    assert cut("We all had lunch there on June 3, and then") == [
        "We all had lunch there on June third,",
        "and then",
    ]
    assert cut("We all had lunch there on June 3, ") == ["We all had lunch there on June third,"]


def test_a_direction_is_not_counted_as_speech() -> None:
    assert cut("*laughs very, very softly* Well, yes, this is a long one, is it?") == [
        "Well, yes, this is a long one,",
        "is it?",
    ]


def test_figures_that_grow_are_still_cut_in_pieces() -> None:
    pieces = cut("It was " + "$9,876,543.21 and " * 9 + "more.")
    assert len(pieces) > 3
    assert all(len(piece) <= LONGEST_CHARS for piece in pieces)
    assert " ".join(pieces).count("nine million") == 9
    assert " ".join(pieces).count("twenty-one cents and") == 9


def test_a_long_sentence_is_cut_after_a_clause() -> None:
    long = "word " * 30 + "last, " + "word " * 30 + "end."
    first, second = cut("Short. " + long)[1:]
    assert first.endswith("last,")
    assert second.endswith("end.")


scraps = st.lists(
    st.sampled_from(
        [
            *(
                "Dr",
                "e.g",
                "p.m",
                "5",
                "I",
                "The",
                "U.S",
                "No",
                "1",
                "etc",
                "St",
                "laughs",
                "word ",
                "Longer words here ",
            ),
            *(
                ". ",
                ".",
                "...",
                "! ",
                "?",
                ", ",
                " ",
                " ",
                "\n",
                "\n\n",
                "(",
                ")",
                "[",
                "](",
                "]",
                "*",
                "**",
                "_",
                "<b",
                "<|",
                "|>",
                "<|end|>",
            ),
            *(
                ">",
                "http://x",
                "$",
                ",",
                "-",
                "— ",
                "’",
                '"',
                "/",
                "![",
                "*laughs* ",
                "(sighs)",
                "1,000",
                ".50",
                "word" * 12,
            ),
        ]
    ),
    max_size=90,
).map("".join)


@given(scraps | st.text(), st.integers(1, 9), st.randoms(use_true_random=False))
def test_what_is_spoken_does_not_depend_on_how_the_text_arrives(text: str, size: int, random: Random) -> None:
    at, pieces = 0, []
    while at < len(text):
        pieces.append(text[at : at + random.randint(1, size)])
        at += len(pieces[-1])
    assert cut(*pieces) == cut(text)
    assert all(0 < len(piece) <= LONGEST_CHARS for piece in cut(text))


def test_speech_is_cut_the_same_as_the_whole_is_read() -> None:
    text = "Dr. Lee paid $1,234.50 (cash) on June 3, 2026. It was 72°F, e.g. warm. *smiles* See you at 3 p.m. today!"
    assert " ".join(cut(*text)) == spoken(text)


@pytest.mark.parametrize(
    ("pieces", "sentences"),
    [
        (("Yes, it is. ", "And then I went to the"), ["Yes, it is."]),
        (("Yes, it is. And then I went to the",), ["Yes, it is."]),
        (("It is a very long thing to say, ", "and so I thought"), None),
        (("It is a very long thing to say, and so I thought",), None),
        (("It is so. ", "That was all."), ["It is so.", "That was all."]),
        (('It is so. He said: "Yes."',), ["It is so.", 'He said: "Yes."']),
        (("It is so. Ask Mr.",), ["It is so."]),
        (("It is so. Then ask Dr.",), ["It is so."]),
        (("It is so.\n1. Milk. \n2.",), ["It is so.", "one. Milk."]),
        (("*smiles.* And so I", " thought"), ["And so I thought"]),
        (("So I thought",), ["So I thought"]),
        (("Yes. " + "word " * 45,), ["Yes.", " ".join(["word"] * 39)]),  # was out before anybody knew
        (("It is so. ", "*chuck"), ["It is so."]),
        ((), []),
    ],
)
def test_of_a_text_that_was_cut_short_only_whole_sentences_are_kept(
    pieces: tuple[str, ...], sentences: list[str] | None
) -> None:
    """A clause that is spoken already is better followed by the rest, where no sentence came before it."""
    cutter = SentenceCutter()
    said = [sentence for piece in pieces for sentence in cutter.add(piece)]
    whole = ["It is a very long thing to say,", "and so I thought"]
    assert said + cutter.finish(cut_short=True) == (whole if sentences is None else sentences)
