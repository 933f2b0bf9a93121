"""One spelling for every event and effect, and nothing else is read back."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import effects, events
from pipeline.core import journal as jn
from pipeline.core.effects import AskReply, Effect, Ended, Message, Say, TurnTaken
from pipeline.core.errors import JournalError
from pipeline.core.events import CallStarted, Event, HangUpAsked, Heard, Tick
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason
from tests.core.story import Story, started

ROOT = Path(__file__).resolve().parents[2]


def kinds(module: object, root: type) -> list[type]:
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, root)]
    return [kind for kind in found if kind is not root]


EVENTS = kinds(events, Event)
EFFECTS = kinds(effects, Effect)


def test_the_lists_are_complete() -> None:
    assert len(EVENTS) == 37
    assert len(EFFECTS) == 20


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(st.from_type(kind))
    line = jn.event_line(event)
    assert jn.parse_event(line) == event
    assert jn.event_line(jn.parse_event(line)) == line
    assert jn.is_event(line)
    assert not jn.is_effect(line)
    assert "\n" not in line


@pytest.mark.parametrize("kind", EFFECTS)
@given(data=st.data())
def test_every_effect_comes_back_as_it_was(kind: type[Effect], data: st.DataObject) -> None:
    effect = data.draw(st.from_type(kind))
    line = jn.effect_line(effect)
    assert jn.parse_effect(line) == effect
    assert jn.effect_line(jn.parse_effect(line)) == line
    assert jn.is_effect(line)
    assert not jn.is_event(line)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (Tick(Millis(5)), 'E {"type":"Tick","at":5}'),
        (
            HangUpAsked(Millis(5), EndReason.DRAINED),
            'E {"type":"HangUpAsked","at":5,"reason":"drained","politely":false}',
        ),
        (Heard(Millis(5), 'Hé "x"\n'), 'E {"type":"Heard","at":5,"text":"Hé \\"x\\"\\n"}'),
        (
            Ended(None, "busy", 0, Nanos(0)),
            'F {"type":"Ended","reason":null,"status":"busy","seconds":0,"total":0}',
        ),
        (
            TurnTaken(0, "agent", "Hi", Millis(1), Millis(2), True),
            'F {"type":"TurnTaken","index":0,"role":"agent","text":"Hi","started":1,"ended":2,"interrupted":true}',
        ),
        (
            AskReply(1, (Message("user", "x"),), 9, 7),
            (
                'F {"type":"AskReply","reply":1,"messages":[{"role":"user","content":"x"}],"max_tokens":9,'
                '"temperature_pct":7}'
            ),
        ),
    ],
)
def test_the_spelling_is_fixed(record: Event | Effect, line: str) -> None:
    written = jn.event_line(record) if isinstance(record, Event) else jn.effect_line(record)
    assert written == line


def test_a_line_without_a_field_that_came_later_is_read() -> None:
    """Calls of older versions replay, and are settled after a kill by the version that comes next."""
    now = started()
    line = jn.event_line(now)
    older = line.replace(',"warnings":[]', "")
    assert older != line
    assert jn.parse_event(older) == now


@pytest.mark.parametrize(
    "line",
    [
        "",
        "F ",
        'F {"type":"Say","utterance":1,"text":"x"}',  # an effect
        "E not json",
        "E []",
        'E "Tick"',
        'E {"at":5}',
        'E {"type":"Event","at":5}',  # the root of the tree is nothing that happens
        'E {"type":"Limits","at":5}',
        'E {"type":["Tick"],"at":5}',
        'E {"type":"Tick"}',
        'E {"type":"Tick","at":5,"more":1}',
        'E {"type":"Tick","at":5.0}',
        'E {"type":"Tick","at":NaN}',
        'E {"type":"Tick","at":true}',
        'E {"type":"Tick","at":"5"}',
        'E {"type":"Tick","at":null}',
        'E {"type":"HangUpAsked","at":5,"reason":"bored"}',
        'E {"type":"EngineFailed","at":5,"service":"fax","ref":0,"kind":""}',
        'E {"type":"Heard","at":5,"text":[]}',
        "E " + "[" * 100_000,
    ],
)
def test_a_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(JournalError):
        jn.parse_event(line)


@pytest.mark.parametrize(
    "line",
    [
        'E {"type":"Tick","at":5}',
        'F {"type":"Effect"}',
        'F {"type":"Prepare","texts":"abc"}',  # a text is no list of letters
        'F {"type":"Prepare","texts":{"a":1}}',
        'F {"type":"Prepare","texts":[1]}',
        'F {"type":"AskReply","reply":1,"messages":["x"],"max_tokens":9,"temperature_pct":70}',
        'F {"type":"Ended","reason":0,"status":"busy","seconds":0,"total":0}',
    ],
)
def test_a_line_that_is_no_effect_is_refused(line: str) -> None:
    with pytest.raises(JournalError):
        jn.parse_effect(line)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'E {"type":"Heard","at":5,"text":["my secret"]}',
            "this version cannot read the line of Heard: TypeError",
        ),
        ('E {"type":"Heard","at":5,"my secret":1}', "this version cannot read the line of Heard: ValueError"),
        ('E {"type":"my secret"}', "this version cannot read the line of nothing known: KeyError"),
        ("E my secret", "this version cannot read the line of nothing known: JSONDecodeError"),
        ("my secret", "expected a line tagged 'E'"),
    ],
)
def test_an_error_names_the_type_of_a_line_and_repeats_nothing_of_it(line: str, told: str) -> None:
    with pytest.raises(JournalError) as caught:
        jn.parse_event(line)
    assert str(caught.value) == told
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, (
        "a traceback would repeat it"
    )


@given(st.text(max_size=60) | st.from_type(Tick).map(jn.event_line), st.data())
def test_damage_is_an_error_or_another_event_but_never_anything_else(line: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(line)))
    damaged = line[:place] + data.draw(st.text(max_size=3)) + line[place + 1 :]
    with suppress(JournalError):
        assert isinstance(jn.parse_event(damaged), Event)


def test_floats_sets_and_foreign_objects_have_no_place() -> None:
    @dataclass(frozen=True)
    class Odd(Effect):
        value: object

    for value in (0.5, {1}, [1], b"x", object()):
        with pytest.raises(JournalError, match="no place"):
            jn.effect_line(Odd(value))


def test_lines_are_json_a_person_can_read() -> None:
    line = jn.event_line(started())
    assert json.loads(line[2:])["phrases"]["greeting"] == "Hello there, this is Nora speaking."
    assert jn.parse_event(line) == started()
    assert isinstance(jn.parse_event(line), CallStarted)
    assert jn.effect_line(Say(1, "x")) == 'F {"type":"Say","utterance":1,"text":"x"}'


def a_story() -> str:
    story = Story(started()).answer().hear_out().say("What is new with you?").run(3_000)
    story.say("Really?").run(9_000).carrier_done().end()
    lines: list[str] = []
    for event, happened in story.steps:
        lines += [jn.event_line(event), *(jn.effect_line(effect) for effect in happened)]
    return "\n".join(lines)


def test_a_journal_does_not_depend_on_the_hash_seed() -> None:
    code = "from tests.core.test_journal import a_story; print(a_story())"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] == a_story() + "\n"
