"""Tags between which nobody is to hear anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.sentences import SentenceCutter
from pipeline.core.thoughts import STAGED, STAGED_CHARS, THOUGHTS, Silencer


def aloud(*pieces: str) -> str:
    silencer = Silencer()
    return "".join([silencer.feed(piece) for piece in pieces]) + silencer.end()


@pytest.mark.parametrize("name", [*THOUGHTS, *STAGED])
def test_what_stands_between_such_tags_is_left_out(name: str) -> None:
    assert aloud(f"Hi. <{name}>He is sad. Be kind!</{name}> How are you?") == "Hi.  How are you?"
    assert aloud(f"<{name.upper()}>hm</{name.title()}>Yes.<{name}></{name}>") == "Yes."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I <3 you, <b>really</b> <do", "I <3 you, <b>really</b> <do"),
        ("<thinking>He is sad. <action>nods</action>", ""),
        ("<thought>a</thought><action>b</action>c", "c"),
        ("Yes. <action>or so I thought", "Yes. or so I thought"),
        ('<emotion value="glad"/>Hi', '<emotion value="glad"/>Hi'),
        ("a </thinking> b", "a  b"),
        ("Use `<analysis>` tags. And then more.", "Use `<analysis>` tags. And then more."),
        ('Use "<Think>" and <think>a</think>so on.', 'Use "<Think>" and so on.'),
        ('"<think>a</think>Yes."', '"Yes."'),
        ("He said '<think>", "He said '"),
        ("Yes <action>or <think>so</think> no", "Yes or  no"),
        ("<tone>" + "a" * STAGED_CHARS + "</tone>b", "b"),
        ("<tone>" + "a" * 81 + "</tone>b", "a" * 81 + "</tone>b"),
        ("<tone>" + "a" * 81 + "<think>b</think>c", "a" * 81 + "c"),
        ("2 < 3", "2 < 3"),
        ("", ""),
        (
            "<|channel|>analysis<|message|>Be nice.<|end|><|start|>assistant<|channel|>final<|message|>Hi!",
            "Hi!",
        ),
        ("<|channel|>final<|message|>Hi!<|return|>", "Hi!<|return|>"),
        ("<|start|>assistant<|channel|>final <|constrain|>text<|message|>Hi!", "Hi!"),
        ("<|start|>assistant<|message|>Hi!", "<|message|>Hi!"),
        ("The <|start|>assist", "The <|start|>assist"),
        ("<|channel|>commentary to=functions.end_call<|message|>{}<|call|>", ""),
        ("Yes. <|chan", "Yes. <|chan"),
        ("Yes. <|im_end|>", "Yes. <|im_end|>"),
    ],
)
def test_what_is_left(text: str, said: str) -> None:
    assert aloud(text) == said
    assert aloud(*text) == said


@pytest.mark.parametrize("name", STAGED)
def test_nobody_waits_for_the_end_of_a_stage_direction_that_is_none(name: str) -> None:
    silencer = Silencer()
    said = "".join(silencer.feed(letter) for letter in f"<{name}>" + "I will tell you. " * 6)
    assert said.startswith("I will tell you. I will tell you. ")


def test_a_thought_may_have_begun_before_the_text() -> None:
    silencer = Silencer(thinking=True)
    assert silencer.feed("a" * 100 + "</thi") == ""
    assert silencer.thinking
    assert silencer.feed("nking> Yes.") == " Yes."
    assert (silencer.thinking, silencer.stray_end) == (False, False)
    assert silencer.feed("</Think>") == ""
    assert silencer.stray_end


@given(
    st.lists(
        st.sampled_from(
            [
                *("<", "/", ">", "thinking", "action", "<action>", "</action>", "</thinking>", "<thinking>"),
                *("a ", "`", '"', "and so on " * 4, "b" * 79),
                *(
                    "<|",
                    "channel",
                    "|>",
                    "final",
                    "<|channel|>",
                    "<|message|>",
                    "|",
                    "<|start|>",
                    "assistant",
                    "assist",
                ),
            ]
        )
    )
)
def test_it_does_not_depend_on_how_the_text_arrives(parts: list[str]) -> None:
    whole = "".join(parts)
    assert aloud(*parts) == aloud(*whole) == aloud(whole)


def test_no_sentence_is_made_of_thoughts() -> None:
    cutter = SentenceCutter()
    said = cutter.add("<think") + cutter.add(
        "ing>Let me see. He is sad.\n\nBe kind. </thinking>\nHow are you? "
    )
    assert [*said, *cutter.finish()] == ["How are you?"]


def test_a_tag_that_is_spoken_of_loses_nothing_of_what_follows() -> None:
    cutter = SentenceCutter()
    said = [it for letter in "Use `<analysis>` tags. And then more." for it in cutter.add(letter)]
    assert [*said, *cutter.finish()][-1] == "And then more."
