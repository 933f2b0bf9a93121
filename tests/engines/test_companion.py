"""The rule-based companion: what it understands, how it answers, and what it never does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.effects import Message
from pipeline.engines.local.companion import LONGEST_CHARS, answer
from pipeline.engines.local.companion_asks import ASKS, CLOSERS, OPENERS, SCENARIO_ASKS
from pipeline.engines.local.companion_lines import SAYS
from pipeline.engines.local.companion_moods import MOODS
from pipeline.engines.local.companion_patterns import FEELINGS, INTENTS, NOUNS, TOPICS, WEIGHTY
from pipeline.engines.local.companion_reading import Self, read_self, read_words, said_sentences, swapped

SARAH = """You are Sarah, a warm, curious listener.
Name: Sarah
Manner: warm
Likes: baking bread, long walks and old films
Person: Jordan
Remember: your sister is getting married in June.
Remember: you play the guitar
"""
BRAD = "You are Brad, an upbeat coach.\nLikes: morning runs"
ALEX = "You are Alex, a dry, witty tech friend.\nLikes: old computers"


def talk(system: str, turns: Sequence[str]) -> list[str]:
    messages = [Message("system", system)]
    replies = []
    for turn in turns:
        messages.append(Message("user", turn))
        replies.append(answer(messages))
        messages.append(Message("assistant", replies[-1]))
    return replies


def reply(turn: str, system: str = SARAH) -> str:
    return talk(system, [turn])[0]


# -- dialogues -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("Hi Sarah, this is Jordan.", "Hi Jordan"),
        ("Hello?", "Hi Jordan"),
        ("Who is this?", "Sarah"),
        ("Are you a real person?", "not a person"),
        ("Do you have feelings?", "program"),
        ("How are you?", "Jordan"),
        ("I have a job interview on Tuesday and I'm really nervous.", "the interview on Tuesday"),
        ("What should I say if they ask about my weaknesses?", "weakness"),
        ("Wait, sorry, can I ask you something else?", "ask"),
        ("My sister is getting married in June.", "Your sister is getting married in June"),
        ("Do you have any hobbies?", "baking bread"),
        ("Do you remember my sister?", "your sister is getting married in June"),
        ("Thank you, that helps a lot.", "welcome"),
        ("What's the capital of France?", "don't know"),
        ("What time is it?", "clock"),
        ("Tell me a joke.", "phone"),
        ("What's my name?", "Jordan"),
        ("I'm sad because my dog died.", "sorry"),
        ("I feel so lonely tonight.", "talking to me"),
        ("I'm not nervous at all.", "nervous at all"),
        ("I passed my exam!", "proud"),
        ("I want to kill myself.", "emergency services"),
        ("My house is on fire!", "emergency number"),
        ("My father called me yesterday.", "your father called you yesterday"),
        ("I have to go now. Goodbye!", "Take good care"),
    ],
)
def test_sarah_answers(turn: str, expected: str) -> None:
    assert expected.casefold() in reply(turn).casefold()


def test_personas_sound_different() -> None:
    turns = [
        "Hi!",
        "I'm nervous about my exam.",
        "Do you have any hobbies?",
        "Thanks.",
        "No.",
        "Are you a robot?",
        "Bye.",
    ]
    sarah, brad, alex = talk(SARAH, turns), talk(BRAD, turns), talk(ALEX, turns)
    assert all(len({one, two, three}) == 3 for one, two, three in zip(sarah, brad, alex, strict=True))
    assert "morning runs" in brad[2].casefold()
    assert "old computers" in alex[2]
    assert sum("!" in line for line in brad) > sum("!" in line for line in alex)


def test_catchphrases_are_said_where_they_fit_and_once() -> None:
    lines = talk(f"{BRAD}\nCatchphrase: Let's go, champ!", ["I passed my exam!", "I won the race!"])
    assert [("Let's go, champ!" in line) for line in lines] == [True, False]


def test_asked_to_repeat_it_repeats() -> None:
    replies = talk(SARAH, ["I'm tired.", "Sorry, what did you say?"])
    assert replies[0] in replies[1]


def test_memories_come_one_after_another_and_then_are_not_made_up() -> None:
    replies = talk(
        SARAH, ["Do you remember me?", "And do you remember what else?", "Do you remember my car?"]
    )
    assert "married in June" in replies[0]
    assert "guitar" in replies[1]
    assert "notes" in replies[2]
    assert "notes" in reply("Do you remember my sister?", "You are Sarah.")


def test_a_name_heard_in_the_call_is_used() -> None:
    assert "Robin" in talk("You are Sarah.", ["My name is Robin.", "Thanks a lot."])[1]


def test_the_demo_dialogue_holds_together() -> None:
    lines = json.loads((Path(__file__).parents[2] / "server/callers/lines.json").read_text("utf-8"))
    order = [
        "hello",
        "interview",
        "bakery",
        "weaknesses",
        "interrupt",
        "sister",
        "hobbies",
        "idea",
        "thanks",
        "okay",
        "bye",
    ]
    replies = talk(SARAH, [lines[name] for name in order])
    assert len(set(replies)) == len(replies)
    assert "bakery" in replies[2].casefold()
    assert "?" not in replies[-1]


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("You are a fair but probing interviewer. Ask one question at a time.", "interviewer"),
        ("You ring so that the person can leave an awkward date.", "rescue"),
        ("Ask what the person meant to get done, what happened.", "checkin"),
        ("Get the person out of bed. Be kind and persistent.", "wakeup"),
    ],
)
def test_scenarios_ask_their_own_questions_in_order(scenario: str, kind: str) -> None:
    replies = talk(f"{SARAH}\n{scenario}", ["Hello.", "I worked in a shop.", "Okay."])
    for said, question in zip(replies, SCENARIO_ASKS[kind], strict=False):
        assert question in said


# -- what always holds -----------------------------------------------------------------

TURNS = st.lists(
    st.one_of(
        st.sampled_from(
            ["Okay.", "Yes.", "No.", "Hello?", "My boss yelled at me.", "I'm tired.", "Why?", "Thanks.", "Mm-hmm.",
             "Tell me a joke.", "I bought a big purple car.", "What did you do today?", "I don't understand."]
        ),
        st.text(max_size=60),
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip


@given(st.sampled_from([SARAH, BRAD, ALEX, ""]), TURNS)
def test_it_is_short_never_repeats_itself_and_is_deterministic(system: str, turns: list[str]) -> None:
    replies = talk(system, turns)
    assert replies == talk(system, turns)
    said: set[str] = set()
    for turn, line in zip(turns, replies, strict=True):
        assert 0 < len(line) <= LONGEST_CHARS
        assert "{" not in line
        if "repeat" not in read_words(turn).intents and not {"bye", "crisis", "emergency"} & set(
            read_words(turn).intents
        ):
            assert not said_sentences([line]) & said, (turn, line)
        said |= said_sentences([line])


def test_a_hundred_okays_get_a_hundred_answers() -> None:
    replies = talk(ALEX, ["Okay."] * 100)
    assert len(set(replies)) == 100


def test_no_messages_still_get_an_answer() -> None:
    assert answer([])
    assert answer([Message("system", SARAH)])


def test_no_line_claims_a_human_life() -> None:
    claims = (
        "i ate",
        "i slept",
        "my wife",
        "my husband",
        "my mother",
        "when i was young",
        "i am human",
        "i'm human",
    )
    for table in (SAYS, MOODS, ASKS):
        for lines in table.values():
            for line in (line for each in lines.values() for line in each):
                assert not any(claim in line.casefold() for claim in claims), line


# -- the tables ------------------------------------------------------------------------


def test_everything_that_is_recognised_is_answered_in_every_manner() -> None:
    known = {**SAYS, **MOODS}
    for key in (*INTENTS, *FEELINGS, *TOPICS, "question", "echo", "other", "forgotten"):
        assert key in known, key
        for manner in ("warm", "upbeat", "dry"):
            assert known[key].get(manner) or known[key].get("any"), (key, manner)
    assert not set(SAYS) & set(MOODS)
    assert set(NOUNS) == set(TOPICS)
    assert set(WEIGHTY) <= set(TOPICS)
    assert set(OPENERS) == {"warm", "upbeat", "dry"}
    assert len(set(CLOSERS)) == len(CLOSERS)


# -- reading ---------------------------------------------------------------------------


def test_the_persona_is_read() -> None:
    assert read_self(SARAH) == Self(
        name="Sarah",
        manner="warm",
        likes=("baking bread", "long walks", "old films"),
        person="Jordan",
        memories=("your sister is getting married in June", "you play the guitar"),
    )
    assert read_self("You are Brad.").manner == "upbeat"
    assert read_self("You are Kim, a sarcastic robot. You are talking to Ada.").person == "Ada"
    assert read_self("") == Self()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("my sister called me", "your sister called you"),
        ("I was late and I'm sorry", "you were late and you're sorry"),
        ("you are kind to me", "I am kind to you"),
        ("it is mine", "it is yours"),
        ("we saw our team", "you saw your team"),
    ],
)
def test_words_are_turned_round(one: str, other: str) -> None:
    assert swapped(one) == other


def test_a_turn_is_read() -> None:
    found = read_words("Well, I have a job interview on Tuesday and I'm really nervous.")
    assert (found.feeling, found.topic, found.noun, found.day) == (
        "nervous",
        "interview",
        "the interview",
        "on Tuesday",
    )
    assert found.echo == "you have a job interview on Tuesday"
    assert read_words("I'm not happy.").feeling != "happy"
    assert read_words("See you next week, in june or tomorrow.").day == "next week"
    assert read_words("My brother's cat is ill.").noun == "your brother's cat"
    assert read_words("My sister's getting married.").noun == "your sister"
    assert read_words("this is Jordan").name == "Jordan"
    assert read_words("").words == 0


@given(st.text(max_size=200))
def test_reading_survives_anything(text: str) -> None:
    read_words(text)
    read_self(text)
