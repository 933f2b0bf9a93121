"""The golden calls: they replay exactly, and today's pipeline still writes them byte for byte.

A difference here is a change of behaviour. If it is meant, `make golden` writes the files anew
and the difference is reviewed with the change.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.journal import is_effect, parse_effect, parse_event
from pipeline.core.terms import EndReason
from pipeline.journal_file import SUFFIX, read_lines
from pipeline.replay import replay
from pipeline.timeline import entries
from tests.golden import CALLS, STORIES, journals
from tests.pipeline.rig import RING_MS

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 150_000


@pytest.fixture(scope="module")
def today() -> dict[str, bytes]:
    return dict(journals())


def golden(name: str) -> list[str]:
    return read_lines(CALLS / f"{name}{SUFFIX}")


def effects(name: str) -> list[fx.Effect]:
    return [parse_effect(line) for line in golden(name) if is_effect(line)]


def at(name: str, kind: type[fx.Effect]) -> list[int]:
    """When, in milliseconds since the answer."""
    found, now = [], 0
    for line in golden(name):
        if is_effect(line):
            if isinstance(parse_effect(line), kind):
                found.append(now - RING_MS)
        else:
            now = parse_event(line).at
    return found


def test_there_is_a_file_for_each_story_and_no_other() -> None:
    assert {path.name for path in CALLS.iterdir()} == {f"{name}{SUFFIX}" for name in STORIES}


@pytest.mark.parametrize("name", STORIES)
def test_a_golden_call_replays_exactly(name: str) -> None:
    result = replay(golden(name))
    assert result.exact, result.difference
    assert isinstance(effects(name)[-1], fx.Ended)


@pytest.mark.parametrize("name", STORIES)
def test_today_s_pipeline_writes_the_same_bytes(name: str, today: dict[str, bytes]) -> None:
    assert today[name] == (CALLS / f"{name}{SUFFIX}").read_bytes()


@pytest.mark.parametrize("name", STORIES)
def test_it_is_small_and_holds_no_numbers_or_addresses(name: str) -> None:
    content = (CALLS / f"{name}{SUFFIX}").read_text(encoding="utf-8")
    assert len(content) < LARGEST_BYTES
    texts = " ".join(re.findall(r'"(?:text|call_id|persona|content)":"([^"]*)"', content))
    assert not re.search(r"\+?\d[\d -]{6,}|@|https?:", texts)


DIGESTS = """
import hashlib, logging, warnings
warnings.simplefilter("ignore")
import structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
from tests.golden import journals
for name, content in journals().items():
    print(name, hashlib.sha256(content).hexdigest())
"""


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_they_do_not_depend_on_how_strings_are_hashed(seed: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split() for line in told.stdout.splitlines())
    assert found == {
        name: hashlib.sha256((CALLS / f"{name}{SUFFIX}").read_bytes()).hexdigest() for name in STORIES
    }


# -- that they are about what they are named for ------------------------------------------


def test_interrupted_has_a_barge_in_and_a_backchannel() -> None:
    turns = [
        (one.role, one.text, one.interrupted)
        for one in effects("interrupted")
        if isinstance(one, fx.TurnTaken)
    ]
    assert ("caller", "Mhm.", False) in turns
    (cut,) = (text for _, text, interrupted in turns if interrupted)
    assert turns.index(("caller", "Mhm.", False)) < turns.index(("agent", cut, True))
    asked = [one.messages[-1].content for one in effects("interrupted") if isinstance(one, fx.AskReply)]
    assert "Mhm." not in asked
    assert "Wait, which bus was that?" in asked
    assert len(at("interrupted", fx.Pause)) == 2, "the click does not stop the voice"
    assert len(at("interrupted", fx.Resume)) == 1, "after the mhm it goes on"
    assert len(at("interrupted", fx.Hush)) == 1


def test_budget_warns_says_goodbye_and_ends_in_time() -> None:
    ended = effects("budget")[-1]
    assert isinstance(ended, fx.Ended)
    assert ended.reason is EndReason.BUDGET
    assert ended.seconds < 120
    assert at("budget", fx.Warned) == [60_000]
    assert at("budget", fx.Hush)[-1] == 108_000
    assert "says: Our time is up. Goodbye!" in [entry.text for entry in entries(golden("budget"))]


def test_failures_has_one_of_each_engine_an_apology_and_a_goodbye() -> None:
    events = [parse_event(line) for line in golden("failures") if not is_effect(line)]
    assert [event.service for event in events if isinstance(event, ev.EngineFailed)] == [
        "llm",
        "stt",
        "llm",
        "tts",
    ]
    said = [one.text for one in effects("failures") if isinstance(one, fx.Say)]
    assert said.count("Sorry, could you say that again?") == 4
    assert said[-3:] == ["Are you still there?", "Are you still there?", "It was good to talk. Goodbye!"]
    ended = effects("failures")[-1]
    assert isinstance(ended, fx.Ended)
    assert ended.reason is EndReason.IDLE


def test_machine_has_guesses_a_cough_that_is_got_over_and_a_message_after_the_beep() -> None:
    found = effects("machine")
    assert [one.committed for one in found if isinstance(one, fx.EagerSettled)] == [False, True]
    assert "Good morning to you." not in [one.text for one in found if isinstance(one, fx.Say)]
    (timed,) = (one for one in found if isinstance(one, fx.TurnTimed))
    assert timed.eager
    (paused,), (resumed,) = at("machine", fx.Pause), at("machine", fx.Resume)
    assert resumed - paused <= 300
    turns = [one for one in found if isinstance(one, fx.TurnTaken)]
    assert not [turn for turn in turns if turn.interrupted], "the answer was heard to its end"
    assert turns[2].text.endswith("herons fishing by the bridge.")
    events = [parse_event(line) for line in golden("machine") if not is_effect(line)]
    (beep,) = (event.at - RING_MS for event in events if isinstance(event, ev.BeepHeard))
    assert at("machine", fx.ListenForBeep)[0] < beep == at("machine", fx.Say)[-1]
    assert turns[-1].text == "This is Nora. I will call again."
    ended = found[-1]
    assert isinstance(ended, fx.Ended)
    assert ended.reason is EndReason.VOICEMAIL
