"""Level 2 replay: a recorded call again, with its sound, from what caller and engines gave then.

Long because a recording can be wrong in many ways, and each is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from pipeline.audio.wav import read_wav
from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.conducted import CallReplay, Stock, replay_call
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.effects import Effect
from pipeline.core.errors import JournalError
from pipeline.core.events import CallStarted
from pipeline.core.money import Millis
from pipeline.core.terms import Limits, Manners
from pipeline.engines.base import (
    CutShort,
    Eager,
    EndCall,
    Partial,
    Resumed,
    Speaker,
    Thinker,
    Transcriber,
    Voice,
)
from pipeline.engines.breaker import Breaker
from pipeline.engines.failover.speaker import FailoverSpeaker
from pipeline.engines.failover.thinker import FailoverThinker
from pipeline.engines.failover.transcriber import FailoverTranscriber
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
from pipeline.score import Astray, Score
from pipeline.taped import TapedClips
from pipeline.traffic import AnyFact, Clip, Failed, Spoke, Tape, Written, read
from tests.core.story import started
from tests.pipeline.doubles import DeadSpeaker, DeadTranscriber

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


def test_a_reply_that_its_ceiling_ended_comes_out_the_same(tmp_path: Path) -> None:
    from tests.pipeline.wishing import WishingThinker

    caller = PAUSE * 9 + line("hello") + PAUSE * 9
    thinker = minds(WishingThinker(["That is all. And so", CutShort()]))
    recorded = Recorded(tmp_path, caller, engines(thinker=thinker))
    assert recorded.again().replay.exact
    said = [effect.text for effect in recorded.effects if isinstance(effect, fx.Say)]
    assert "That is all." in said
    assert "And so" not in said


# -- engines that fail, and those behind them ------------------------------------------------


def ears(*row: Transcriber) -> Transcriber:
    return FailoverTranscriber([(each, Breaker(each.models[0], Clock())) for each in row], patience_s=1.0)


def minds(*row: Thinker) -> Thinker:
    return FailoverThinker([(each, Breaker(each.models[0], Clock())) for each in row], patience_s=1.0)


def voices(*row: Speaker) -> Speaker:
    return FailoverSpeaker([(each, Breaker(each.models[0], Clock())) for each in row], patience_s=1.0)


def row_of(**models: tuple[str, ...]) -> CallStarted:
    """A call whose prices know each of these models, in the order of the rows."""
    base = call_of()
    prices = [price for price in base.prices if price.service not in models]
    for service, names in models.items():
        prices += [
            replace(price, model=name) for name in names for price in base.prices if price.service == service
        ]
    return replace(base, prices=tuple(prices))


def kinds_failed(recorded: Recorded) -> list[str]:
    return [step.event.service for step in steps(recorded.lines) if isinstance(step.event, ev.EngineFailed)]


@dataclass(frozen=True)
class SlowDoor:
    """Takes so long to be open, or to find out that it cannot be."""

    behind: DeadSpeaker
    seconds: float

    @property
    def models(self) -> tuple[str, ...]:
        return self.behind.models

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        await asyncio.sleep(self.seconds)
        async with self.behind.open(voice) as opened:
            yield opened


@pytest.mark.parametrize("times", [0, 1, 2])
@pytest.mark.parametrize("seconds", [0.0, 0.313, 2.613, 12.913])
def test_a_voice_that_could_not_be_opened_comes_out_the_same(
    times: int, seconds: float, tmp_path: Path
) -> None:
    speaker = SlowDoor(DeadSpeaker(ScriptedSpeaker(first_ms=81, piece_ms=17, model="voice"), times), seconds)
    recorded = Recorded(tmp_path, TALK, engines(speaker=speaker))
    failed = [fact.of for fact in recorded.facts if isinstance(fact, Failed) and fact.seam == "voice-open"]
    assert failed == [*range(1, times + 1)]
    assert kinds_failed(recorded).count("tts") == times
    assert recorded.again().replay.difference is None


@pytest.mark.parametrize("first_ms", [703, 1_511, 4_999])
def test_phrases_that_were_not_rendered_in_time_come_out_the_same(first_ms: int, tmp_path: Path) -> None:
    speaker = ScriptedSpeaker(first_ms=first_ms, piece_ms=17, model="voice")
    recorded = Recorded(tmp_path, TALK, engines(speaker=speaker))
    assert len(set(speaker.spoken)) < len(speaker.spoken)  # something was begun, put off and begun again
    assert recorded.again().replay.difference is None


def test_a_phrase_that_was_there_already_is_there_again_after_as_many_tries(tmp_path: Path) -> None:
    async def main() -> None:
        tape = Tape(tmp_path / "1.traffic", Clock())
        stock = Clips()
        clips = TapedClips(stock, tape)
        assert clips.get("voice", "nora", "Mine.") is None
        clips.put("voice", "nora", "Mine.", b"mine")
        assert clips.get("voice", "nora", "Mine.") == b"mine"
        await asyncio.sleep(2)
        for _ in range(2):
            assert clips.get("voice", "nora", "Theirs.") is None
        stock.put("voice", "nora", "Theirs.", b"theirs")
        for _ in range(2):
            assert clips.get("voice", "nora", "Theirs.") == b"theirs"
        tape.close()
        facts = read(tape.path)
        assert facts[1:-1] == [Clip(2_000, "voice", "nora", "Theirs.", b"theirs", misses=2)]
        again = Stock(facts)
        again.put("voice", "", "Mine.", b"mine")
        assert again.get("voice", "", "Mine.") == b"mine"
        for _ in range(2):
            await asyncio.sleep(2)  # however late or early it is asked for
            assert again.get("voice", "", "Theirs.") is None
        for _ in range(2):
            assert again.get("voice", "", "Theirs.") == b"theirs"

    run_virtual(main())


def test_of_a_tape_without_the_count_of_tries_a_phrase_is_there_from_then_on() -> None:
    async def main() -> None:
        again = Stock([Clip(2_000, "voice", "nora", "Theirs.", b"theirs")])
        assert again.get("voice", "", "Theirs.") is None
        await asyncio.sleep(2)
        assert again.get("voice", "", "Theirs.") == b"theirs"

    run_virtual(main())


def test_an_ear_that_could_not_be_opened_comes_out_the_same(tmp_path: Path) -> None:
    script = ScriptedTranscriber(["Hi there.", "What is new?"], delay_ms=107, model="ear")
    recorded = Recorded(tmp_path, TALK, engines(transcriber=DeadTranscriber(script, times=2)))
    assert kinds_failed(recorded) == ["stt", "stt"]
    assert recorded.again().replay.difference is None


def test_a_failed_over_voice_comes_out_the_same(tmp_path: Path) -> None:
    first = ScriptedSpeaker(
        first_ms=81, piece_ms=17, model="voice", fails_on=lambda text: "spring" in text, fails_after=3
    )
    second = ScriptedSpeaker(first_ms=103, piece_ms=17, model="other")
    recorded = Recorded(
        tmp_path, TALK, engines(speaker=voices(first, second)), row_of(tts=("voice", "other"))
    )
    assert any("spring" in text or "last year" in text for text in second.spoken)
    assert recorded.again().replay.difference is None


def test_a_voice_whose_first_engine_never_opens_comes_out_the_same(tmp_path: Path) -> None:
    second = ScriptedSpeaker(first_ms=103, piece_ms=17, model="other")
    dead = SlowDoor(DeadSpeaker(ScriptedSpeaker(model="voice")), 0.713)
    recorded = Recorded(tmp_path, TALK, engines(speaker=voices(dead, second)), row_of(tts=("voice", "other")))
    bought = {step.event.model for step in steps(recorded.lines) if isinstance(step.event, ev.SpeechBought)}
    assert bought == {"other"}
    assert recorded.again().replay.difference is None


def test_a_failed_over_mind_comes_out_the_same(tmp_path: Path) -> None:
    broken = ScriptedThinker(
        [Answer("Well, that is", first_ms=90, piece_ms=30, fails_after=1)], repeat=True, model="mind"
    )
    second = ScriptedThinker(["That is a long story."] * 9, first_ms=203, piece_ms=31, model="other")
    recorded = Recorded(tmp_path, TALK, engines(thinker=minds(broken, second)), row_of(llm=("mind", "other")))
    wrote = {
        step.event.model
        for step in steps(recorded.lines)
        if isinstance(step.event, ev.ReplyFinished) and step.event.tokens_out
    }
    assert wrote == {"other"}
    assert "llm" not in kinds_failed(recorded)
    assert recorded.again().replay.difference is None


def test_a_failed_over_ear_comes_out_the_same(tmp_path: Path) -> None:
    first = ScriptedTranscriber(["Hi there.", Stretch("So I was", fails=True)], delay_ms=107, model="ear")
    second = ScriptedTranscriber(["So I was.", "I have to go."], delay_ms=151, model="other")
    recorded = Recorded(
        tmp_path, TALK, engines(transcriber=ears(first, second)), row_of(stt=("ear", "other"))
    )
    heard = [step.event.model for step in steps(recorded.lines) if isinstance(step.event, ev.Listening)]
    assert heard == ["ear", "other"]
    assert "stt" not in kinds_failed(recorded)
    assert recorded.again().replay.difference is None


def alone(seam: str) -> Engines:
    """The engine of this seam fails for a moment, behind a breaker as every hosted one, with none to take over."""
    match seam:
        case "stt":
            deaf = ScriptedTranscriber([Stretch("", fails=True)], delay_ms=107, model="ear")
            return engines(transcriber=ears(deaf))
        case "llm":
            broken = Answer("Well, that is", first_ms=90, piece_ms=30, fails_after=1)
            absent = ScriptedThinker([broken, "So it goes."], first_ms=90, piece_ms=30, model="mind")
            return engines(thinker=minds(absent))
        case _:
            hoarse = ScriptedSpeaker(model="voice", fails_on=lambda text: "spring" in text)
            return engines(speaker=voices(hoarse))


@pytest.mark.parametrize("seam", ["stt", "llm", "tts"])
def test_a_hosted_engine_alone_that_fails_for_a_moment_fails_so_again(seam: str, tmp_path: Path) -> None:
    """That its failure may pass was not kept."""
    recorded = Recorded(tmp_path, TALK, alone(seam))
    kinds = {
        step.event.kind
        for step in steps(recorded.lines)
        if isinstance(step.event, ev.EngineFailed) and step.event.service == seam
    }
    assert kinds == {"retryable"}
    failures = [fact for fact in recorded.facts if isinstance(fact, Failed)]
    assert failures
    assert all(fact.retryable for fact in failures)
    assert recorded.again().replay.difference is None
    # And from a tape of before.
    recorded.facts = [
        msgspec.structs.replace(fact, retryable=False) if isinstance(fact, Failed) else fact
        for fact in recorded.facts
    ]
    assert recorded.again().replay.difference is None


def test_what_is_only_early_is_not_told_as_what_came_instead() -> None:
    def piece(text: str) -> ev.ReplyPiece:
        return ev.ReplyPiece(Millis(0), 1, text)

    async def main() -> None:
        lines = [journal.event_line(event) for event in (started(), piece("one"), piece("two"))]
        for made, instead in (
            (["two"], None),
            (["three"], "three"),
            (["two", "three", "four"], "three"),
            ([], None),
        ):
            score = Score([*steps(lines)])
            for text in made:
                score.put_nowait(piece(text))
            with pytest.raises(Astray) as astray:
                await score.get()
            told = astray.value.difference
            assert told.recorded == lines[1]
            assert told.replayed == (None if instead is None else journal.event_line(piece(instead)))

    run_virtual(main())
