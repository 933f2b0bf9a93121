"""What the rule-based companion writes down of a call, and how it comes back to that."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import memory_order, memory_prompt
from pipeline.core.effects import Message
from pipeline.core.memory import Finding
from pipeline.core.terms import Known
from pipeline.engines.local.companion import answer
from pipeline.engines.local.companion_recall import best_for, recalled
from tests.core.test_memory import TODAY, memory


def noted(*turns: str, known: tuple[Known, ...] = ()) -> list[Finding]:
    history = [Message("user", turn) for turn in turns]
    return list(memory_order.read(answer(memory_order.order(history, known, TODAY))))


def facts(*turns: str, known: tuple[Known, ...] = ()) -> dict[str, str]:
    return {each.subject: each.text for each in noted(*turns, known=known) if each.kind == "fact"}


@pytest.mark.parametrize(
    ("said", "subject", "text"),
    [
        ("Well, I have an interview on Tuesday.", "interview", "I have an interview on Tuesday"),
        ("I've got a job interview tomorrow, wish me luck.", "interview", "I have a job interview tomorrow"),
        ("My sister is called Ann.", "sister's name", "My sister is called Ann"),
        ("I moved to Lisbon last year.", "where I live", "I moved to Lisbon"),
        ("I live in New York.", "where I live", "I live in New York"),
        ("I work at a bakery, you know.", "work", "I work at a bakery"),
        ("I'm a nurse.", "profession", "I am a nurse"),
        ("I'm allergic to nuts.", "allergy to nuts", "I am allergic to nuts"),
        ("I love jazz records.", "liking jazz records", "I love jazz records"),
        ("I have two cats.", "having cats", "I have two cats"),
        (
            "My brother is getting married in June.",
            "brother getting married",
            "My brother is getting married in June",
        ),
        ("The exam is next Friday.", "exam", "My exam is next Friday"),
    ],
)
def test_plain_statements_are_kept(said: str, subject: str, text: str) -> None:
    assert facts(said) == {subject: text}


def test_a_correction_takes_the_place_of_what_was_said() -> None:
    assert facts("I have an interview on Tuesday.", "No wait, it is on Wednesday.") == {
        "interview": "I have an interview on Wednesday"
    }
    assert (
        facts("My sister is called Anne.", "Sorry, her name is Joan.")["sister's name"]
        == "My sister is called Joan"
    )
    assert facts("Her name is Joan.", "It is on Friday.") == {}


def test_an_earlier_call_is_corrected_too() -> None:
    known = (
        Known("fact", "interview", "I have an interview on Tuesday"),
        Known("thread", "", "the interview on Tuesday"),
    )
    found = noted("Actually it's on Thursday.", known=known)
    assert Finding("fact", "I have an interview on Thursday", "interview", 4) in found
    assert Finding("thread", "the interview on Tuesday", done=True) in found
    assert Finding("thread", "the interview on Thursday") in found


def test_what_was_spoken_of_is_open_no_more() -> None:
    known = (Known("thread", "", "the exam on Monday"), Known("thread", "", "something of a model's own"))
    found = noted("The exam went well.", known=known)
    assert Finding("thread", "the exam on Monday", done=True) in found
    assert [each.done for each in found if each.kind == "thread"] == [True]


@pytest.mark.parametrize(
    "said",
    [
        "Hello.",
        "Do I have an interview on Tuesday?",
        "My password is bakery and I love trains.",
        "I love it.",
        "I love you.",
    ],
)
def test_what_is_no_statement_of_theirs_or_secret_is_not_kept(said: str) -> None:
    assert facts(said) == {}


def test_nothing_said_is_said_so() -> None:
    assert answer(memory_order.order([], [], TODAY)) == "none"


@given(st.lists(st.text(), max_size=5))
def test_no_turn_breaks_it(turns: list[str]) -> None:
    noted(*turns)


# -- coming back -------------------------------------------------------------------------


def said_after(days: int, turn: str = "I'm fine, thanks.", text: str = "the job interview on Tuesday") -> str:
    thread = memory(text=text, kind="thread")
    block = memory_prompt.block([thread, memory("2")], TODAY + timedelta(days=days))
    return answer([Message("system", f"You are Sarah.\n\n{block}"), Message("user", turn)])


@pytest.mark.parametrize(
    ("days", "when", "question"),
    [
        (2, "on Tuesday", "How are you feeling about it?"),
        (4, "tomorrow", "How are you feeling about it?"),
        (5, "today", "How are you feeling about it?"),
        (6, "yesterday", "How did it go?"),
        (8, "on Tuesday", "How did it go?"),
        (20, "on Tuesday 1 December", "How did it go?"),
    ],
)
def test_it_comes_back_to_what_was_open_and_never_to_the_wrong_tuesday(
    days: int, when: str, question: str
) -> None:
    assert said_after(days) == f"You told me about your job interview {when}. {question}"


def test_it_comes_back_only_when_nothing_else_is_wanted_and_once() -> None:
    assert "interview" not in said_after(8, "Are you a real person?")
    assert "interview" not in said_after(8, "What time is it?")
    assert "You told me" not in said_after(8, text="Ask how the interview went on Tuesday")
    assert "You told me" not in said_after(8, text="the trip to Lisbon")
    block = memory_prompt.block([memory(text="the exam on Tuesday", kind="thread")], TODAY)
    system = Message("system", block)
    first = answer([system, Message("user", "Hello.")])
    assert first.startswith("You told me about your exam on Tuesday.")
    talk = [system, Message("user", "Hello."), Message("assistant", first), Message("user", "Fine.")]
    assert not answer(talk).startswith("You told me")


def test_asked_what_it_remembers_it_tells_what_the_words_are_about() -> None:
    block = memory_prompt.block([memory(), memory("2", "I work at a bakery")], TODAY)
    asked = [Message("system", block), Message("user", "Do you remember my sister?")]
    assert answer(asked).startswith("What I have noted is this: your sister is called Ann.")
    assert best_for("what else", ["a", "b"], 2) == "b"
    assert best_for("what else", ["a"], 2) == ""


def test_a_manner_that_is_wished_for_is_taken() -> None:
    wished = 'You are Sarah.\nManner: warm\nHow they would like you to speak: "dry"'
    dry, warm = (
        answer([Message("system", text), Message("user", "Thank you.")]) for text in (wished, "Manner: warm")
    )
    assert dry != warm


def test_without_a_block_nothing_is_recalled() -> None:
    assert recalled('fact: "x"') == ()
    assert recalled(memory_prompt.block([memory()], date(2026, 12, 1)))[0].text == "My sister is called Ann"
