"""Where a successor goes on: no word is lost however fast a voice speaks, and few are said twice once that is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from pipeline.engines.failover.pace import SLOW_MS_PER_CHAR, Pace
from tests.engines.speakers import Rig, scripted, spoken

BEFORE = "Hi Jordan, it is lovely to hear you again."
LONG = (
    "Well, your sister is getting married in June, so we have some weeks yet to find a gift that she will "
    "like and that does not cost the earth."
)
PIECE_MS = 200
PACES = [45, 52, 60, 67, 75, 82, 90]
SENTENCE = st.lists(st.text("abc,.", min_size=1, max_size=12), min_size=1, max_size=40).map(" ".join)


def goes_on(ms_a_character: int, after: int, *, known: bool) -> str:
    """What the second voice is asked for when the first breaks off after so many pieces of `LONG`."""
    first = scripted("a", fails=lambda text: text == LONG, after=after, ms_a_character=ms_a_character)
    second = scripted("b")

    async def main() -> None:
        async with Rig([first, second]).opened() as voice:
            if known:
                await spoken(voice, BEFORE)
            await spoken(voice, LONG)

    run_virtual(main())
    (rest,) = second.spoken
    return rest


def begun(ms_a_character: int, after: int) -> str:
    """The words of `LONG` that the first voice has not said to their end."""
    reach = min(after * PIECE_MS // ms_a_character, len(LONG))
    return LONG[LONG[: reach + 1].rfind(" ") + 1 :]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("ms_a_character", PACES)
def test_no_word_is_lost_at_any_pace(ms_a_character: int, known: bool) -> None:
    for after in range(1, len(LONG) * ms_a_character // PIECE_MS):
        rest = goes_on(ms_a_character, after, known=known)
        assert LONG.endswith(rest)
        assert len(rest) >= len(begun(ms_a_character, after))
        assert rest == LONG or LONG[-len(rest) - 1] == " "


@pytest.mark.parametrize("ms_a_character", PACES)
def test_few_words_are_said_twice_by_a_voice_whose_pace_is_known(ms_a_character: int) -> None:
    for after in range(1, len(LONG) * ms_a_character // PIECE_MS):
        rest = goes_on(ms_a_character, after, known=True)
        assert len(rest.split()) - len(begun(ms_a_character, after).split()) <= 4


@given(
    text=SENTENCE,
    others=st.lists(SENTENCE, max_size=4),
    ms_a_character=st.integers(45, 90),
    share=st.floats(0, 1),
)
def test_what_is_left_is_the_end_of_the_text_from_a_word_on(
    text: str, others: list[str], ms_a_character: int, share: float
) -> None:
    pace = Pace()
    for other in others:
        pace.spoke(other, len(other) * ms_a_character)
    said = int(len(text) * share)
    left = pace.unspoken(text, said * ms_a_character)
    assert text.endswith(left)
    assert len(left) >= len(text) - said
    assert left == text or text[-len(left) - 1].isspace()
    assert len(pace.likely_unspoken(text, said * ms_a_character)) <= len(left)


@pytest.mark.parametrize("ms", [0, 1_000, 3_000])
def test_one_slow_word_does_not_make_a_voice_slow(ms: int) -> None:
    pace = Pace()
    pace.spoke(LONG, len(LONG) * 50)
    before = len(pace.unspoken(LONG, 5_000))
    pace.spoke("Okay.", ms)
    assert before <= len(pace.unspoken(LONG, 5_000)) <= before + 40


def test_nothing_is_learned_of_what_made_no_sound() -> None:
    pace = Pace()
    pace.spoke("", 0)
    pace.spoke("Hm.", 0)
    assert pace.unspoken("Hello there, my friend.", 13 * SLOW_MS_PER_CHAR) == "my friend."
