"""Tags between which nobody is to hear anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.sentences import SentenceCutter
from pipeline.core.thoughts import STAGED, THOUGHTS, Silencer


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
        ("a </thinking> b", "a </thinking> b"),
        ("2 < 3", "2 < 3"),
        ("", ""),
    ],
)
def test_what_is_left(text: str, said: str) -> None:
    assert aloud(text) == said


@given(
    st.lists(
        st.sampled_from(["<", "/", ">", "thinking", "action", "<action>", "</thinking>", "<thinking>", "a "])
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
