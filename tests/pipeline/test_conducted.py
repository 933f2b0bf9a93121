"""Level 2 replay: a recorded call again, with its sound, from what caller and engines gave then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.audio.wav import read_wav
from pipeline.clock import run_virtual
from pipeline.conducted import CallReplay, replay_call
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.effects import Effect
from pipeline.core.errors import JournalError
from pipeline.core.events import CallStarted
from pipeline.core.terms import Limits, Manners
from pipeline.engines.base import Eager, EndCall, Partial, Resumed
from pipeline.engines.scripted import (
    Answer,
    LoudnessActivity,
    ScriptedSpeaker,
    ScriptedThinker,
    ScriptedTranscriber,
    Stretch,
)
from pipeline.journal_file import frame, read_lines, steps
from pipeline.offline import run_call
from pipeline.ports import Engines
from pipeline.traffic import AnyFact, Spoke, Written, read
from tests.core.story import started

CALLERS = Path(__file__).parents[2] / "server" / "callers"
PAUSE = b"\xff" * 8000


def line(name: str) -> bytes:
    return read_wav(CALLERS / f"{name}.wav")


def call_of(**more: object) -> CallStarted:
    base = started(limits=Limits(idle_prompt_ms=60_000, max_duration_ms=120_000), manners=Manners(eager=True))
    prices = tuple(replace(price, model=MODELS.get(price.service, price.model)) for price in base.prices)
    return replace(base, prices=prices, **more)  # type: ignore[arg-type]


MODELS = {"stt": "ear", "llm": "mind", "tts": "voice"}


def engines(**more: object) -> Engines:
    parts: dict[str, object] = {
        "voice_activity": LoudnessActivity(),
        "transcriber": ScriptedTranscriber(
            ["Hi there.", Stretch("So I was", fails=True), "What is new?", "I have to go."], delay_ms=107, model="ear"
        ),
        "thinker": ScriptedThinker(
            ["Well, that is a long story, and it begins in the spring of last year. It goes on. And on."] * 3,
            first_ms=203, piece_ms=31, model="mind",
        ),
        "speaker": ScriptedSpeaker(first_ms=81, piece_ms=17, model="voice"),
    }  # fmt: skip
    return Engines(**{**parts, **more})  # type: ignore[arg-type]


class Recorded:
    """A call that was lived through once, and what it left."""

    def __init__(
        self, folder: Path, caller: bytes, with_engines: Engines, start: CallStarted | None = None
    ) -> None:
        path = folder / "call.journal"
        run_virtual(
            run_call(
                start or call_of(), caller, with_engines, voice="nora", journal=path, wav=folder / "call.wav"
            )
        )
        self.lines = read_lines(path)
        self.facts = read(path.with_suffix(".traffic"))

    def again(self) -> CallReplay:
        return replay_call(self.lines, self.facts)

    @property
    def effects(self) -> list[Effect]:
        return [journal.parse_effect(text) for step in steps(self.lines) for text in step.effects]

    def chunks(self) -> list[ev.AudioQueued]:
        return [step.event for step in steps(self.lines) if isinstance(step.event, ev.AudioQueued)]


TALK = PAUSE * 9 + b"".join(line(name) + PAUSE * 5 for name in ("hello", "interview", "day")) + line("bye")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("talk"), TALK, engines())


def test_a_whole_call_comes_out_the_same_offline(talk: Recorded) -> None:
    result = talk.again()
    assert result.replay.difference is None
    assert result.replay.steps == len(list(steps(talk.lines)))
    assert result.frames == len(talk.chunks()) > 20
    assert len(result.sound) == 8 * sum(chunk.ms for chunk in talk.chunks())


def test_the_call_replayed_had_all_that_makes_replay_hard(talk: Recorded) -> None:
    kinds = {type(effect) for effect in talk.effects}
    assert {fx.EagerSettled, fx.TurnTimed, fx.Listen} <= kinds
    assert any(isinstance(step.event, ev.EngineFailed) for step in steps(talk.lines))


def test_an_interruption_and_a_noise_come_out_the_same(tmp_path: Path) -> None:
    caller = PAUSE * 9 + line("hello") + PAUSE * 2 + line("mhm") + PAUSE * 2 + line("interrupt") + PAUSE * 6
    told = engines(
        transcriber=ScriptedTranscriber(
            ["Hi there.", "Mm-hm.", "Wait, sorry, can I ask?"], delay_ms=150, model="ear"
        )
    )
    recorded = Recorded(tmp_path, caller, told)
    assert any(isinstance(effect, fx.Pause) for effect in recorded.effects)
    assert any(isinstance(effect, fx.Hush) for effect in recorded.effects)
    assert recorded.again().replay.exact


def test_a_vendor_that_ends_turns_itself_comes_out_the_same(tmp_path: Path) -> None:
    heard = [
        Stretch("Hi there.", before=(Partial("Hi"), Eager("Hi there."), Resumed(), Eager("Hi there."))),
        Stretch("What is new?", delay_ms=90),
    ]
    ears = ScriptedTranscriber(heard, ends_turns=True, model="ear", delay_ms=120)
    minds = ScriptedThinker([Answer("Not much. And you?", first_ms=150)] * 4, model="mind")
    caller = PAUSE * 9 + line("hello") + PAUSE * 5 + line("day") + PAUSE * 4
    recorded = Recorded(
        tmp_path, caller, engines(transcriber=ears, thinker=minds), call_of(transcriber_ends_turns=True)
    )
    assert recorded.again().replay.exact


def test_other_sound_than_was_recorded_is_named(talk: Recorded) -> None:
    where = next(i for i, fact in enumerate(talk.facts) if isinstance(fact, Spoke))
    spoke = talk.facts[where]
    assert isinstance(spoke, Spoke)
    facts: list[AnyFact] = [*talk.facts]
    facts[where] = Spoke(spoke.of, spoke.mulaw[:-8] + b"\x10" * 8)
    # The take is of a phrase or of a sentence; what was spoken from stock has a record of its own.
    facts = [fact for fact in facts if type(fact).__name__ != "Clip"]
    difference = replay_call(talk.lines, facts).replay.difference
    assert difference is not None
    assert difference.recorded is not None
    assert "AudioQueued" in difference.recorded or "SpeechBought" in difference.recorded


def test_another_bill_than_was_recorded_is_named(talk: Recorded) -> None:
    facts: list[AnyFact] = []
    for fact in talk.facts:
        if isinstance(fact, Written) and fact.of == 1:
            fact = Written(fact.of, fact.model, (1, 2, 3, False), fact.cut)
        facts.append(fact)
    difference = replay_call(talk.lines, facts).replay.difference
    assert difference is not None
    assert difference.recorded is not None
    assert difference.replayed is not None
    assert '"tokens_in":1,' in difference.replayed


def test_other_code_is_told_by_the_first_effect_that_differs(talk: Recorded) -> None:
    lines = [*talk.lines]
    where = next(i for i, text in enumerate(lines) if text.startswith('F {"type":"Say"') and i > 60)
    lines[where] = lines[where].replace('"text":"', '"text":"Other ')
    difference = replay_call(lines, talk.facts).replay.difference
    assert difference is not None
    assert difference.line == where + 1
    assert difference.recorded == lines[where]


def test_no_journal_and_no_traffic_are_said(tmp_path: Path, talk: Recorded) -> None:
    with pytest.raises(JournalError, match="expected a line tagged"):
        replay_call(talk.lines[1:], talk.facts)
    odd = tmp_path / "odd.traffic"
    odd.write_bytes(frame('{"is":"nothing"}'))
    with pytest.raises(JournalError, match="no record"):
        read(odd)


def test_the_wish_to_end_the_call_comes_out_the_same(tmp_path: Path) -> None:
    from tests.pipeline.wishing import WishingThinker

    caller = PAUSE * 9 + line("hello") + PAUSE * 9
    recorded = Recorded(tmp_path, caller, engines(thinker=WishingThinker(["That is all. ", EndCall()])))
    assert recorded.again().replay.exact
    ended = [effect for effect in recorded.effects if isinstance(effect, fx.Ended)]
    assert [one.reason for one in ended] == ["agent_ended"]
