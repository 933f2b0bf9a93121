"""Engines that fail: each at its seam, all at once, and what the caller hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.audio.mulaw import RATE
from pipeline.clips import Clips
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.core.terms import EndReason
from pipeline.engines.base import Ear, Hearing, Segment, Tokens, Used
from pipeline.engines.scripted import Answer, ScriptedSpeaker, ScriptedThinker, Stretch
from tests.core.story import LLM_IN, LLM_OUT, PHRASES, STT, started
from tests.pipeline.doubles import DeadSpeaker, DeadThinker, DeadTranscriber
from tests.pipeline.rig import Played, Stage, act, line, speech

GREETED_S = 4.0
TURN = line(speech(1.0), 5.0)


def failures(played: Played, service: str) -> list[ev.EngineFailed]:
    return [event for event in played.events(ev.EngineFailed) if event.service == service]


# -- speech to text ----------------------------------------------------------------------


def test_a_transcriber_that_fails_is_opened_again_and_the_call_goes_on() -> None:
    hears: list[str | Stretch] = ["Hello.", Stretch("Lost words.", fails=True), "And again."]
    played = act(Stage(hears=hears, answers=["Hi.", "I hear you."], stays=5.0), line(GREETED_S, TURN * 3))
    (failed,) = failures(played, "stt")
    assert (failed.kind, failed.ref) == ("retryable", 0)
    assert len(played.all(fx.Listen)) == 2
    assert played.said()[3] == PHRASES.apology
    assert [one for one in played.heard() if one.startswith("c:")] == ["c: Hello.", "c: Lost words."]
    assert played.ended.reason is EndReason.CALLER_HUNG_UP


def test_one_failure_after_words_were_understood_is_not_waited_for() -> None:
    hears: list[str | Stretch] = ["Hello.", Stretch("Lost.", fails=True)]
    played = act(Stage(hears=hears, stays=5.0), line(GREETED_S, TURN * 2))
    (failed,) = (event.at for event in failures(played, "stt"))
    opened = [
        event.at for event, made in played.around.steps if any(isinstance(one, fx.Listen) for one in made)
    ]
    assert opened[-1] == failed


def test_a_transcriber_that_never_opens_is_tried_ever_less_often() -> None:
    """A vendor that refuses at once must not be asked as fast as the loop turns."""
    dead = DeadTranscriber()
    played = act(Stage(transcriber=dead))
    assert [event.at for event in failures(played, "stt")] == [0, 500, 1_500]
    assert dead.tried == 3
    assert (played.ended.reason, played.ended.total) == (None, 0), "given up before anybody answered"


def test_a_transcriber_that_dies_in_mid_call_ends_it() -> None:
    dead = DeadTranscriber(dies_after=8.0)
    played = act(Stage(transcriber=dead))
    assert [event.at for event in failures(played, "stt")][:3] == [8_000, 8_500, 9_500]
    assert dead.tried < 8, "also while it says goodbye"
    assert played.heard()[-1].endswith(PHRASES.trouble)
    assert played.ended.reason is EndReason.ENGINE_FAILURE


def test_a_transcriber_that_opens_late_hears_all_the_same() -> None:
    script = Stage(hears=["What is new?"]).engines().transcriber
    dead = DeadTranscriber(script=script, times=2)
    played = act(Stage(transcriber=dead, answers=["Not much."], stays=5.0), line(GREETED_S, TURN))
    assert played.heard()[1:3] == ["c: What is new?", "a: Not much."]


@dataclass
class OddTranscriber:
    """Ends, or breaks, in a way of its own the first time; listens on for ever the second."""

    first: Exception | None = None
    opened: int = 0
    fed: list[bytes] = field(default_factory=list)
    models: tuple[str, ...] = ("ear",)
    ends_turns: bool = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ear]:
        self.opened += 1
        yield OddEar(self, first=self.opened == 1)


@dataclass
class OddEar:
    script: OddTranscriber
    first: bool

    def feed(self, mulaw: bytes) -> None:
        self.script.fed.append(mulaw)

    def voice(self, speaking: bool) -> None: ...

    async def heard(self) -> AsyncGenerator[Hearing, None]:
        yield Used("ear", 1)
        yield Segment("Hello?")
        if self.first and self.script.first is not None:
            raise self.script.first
        if not self.first:
            await asyncio.Event().wait()


@pytest.mark.parametrize("first", [None, RuntimeError("a bug"), EngineError("closed by the vendor")])
def test_a_transcriber_that_stops_in_any_way_is_opened_again(first: Exception | None) -> None:
    """An engine that just ends must not leave the call deaf."""
    odd = OddTranscriber(first)
    played = act(Stage(transcriber=odd, stays=3.0))
    assert odd.opened == 2
    (failed,) = failures(played, "stt")
    assert failed.kind == ("retryable" if first is None else "failed")
    assert sum(map(len, odd.fed)) > 2 * RATE


def test_the_vendor_s_own_count_of_seconds_is_paid() -> None:
    played = act(Stage(transcriber=OddTranscriber(), stays=3.0))
    assert {event.line for event in played.events(ev.EngineUsed)} == {STT.line}


# -- the model ---------------------------------------------------------------------------


def test_a_model_that_fails_in_mid_reply_is_heard_as_far_as_it_came() -> None:
    reply = Answer("This much was written. The rest will never come.", fails_after=6)
    played = act(Stage(hears=["Hello."], answers=[reply, "Fine."], stays=5.0), line(GREETED_S, TURN))
    assert "a: This much was written." in played.heard()[2]
    (failed,) = failures(played, "llm")
    assert failed.ref == 1
    (finished,) = played.events(ev.ReplyFinished)
    assert finished.tokens_out > 0
    paid = {charge.line for charge in played.all(fx.Charge)}
    assert {LLM_IN.line, LLM_OUT.line} <= paid


def test_a_model_that_says_nothing_is_apologised_for() -> None:
    played = act(
        Stage(hears=["Hello.", "Hello?"], answers=[Answer("x", fails_after=0), "Yes."], stays=5.0),
        line(GREETED_S, TURN * 2),
    )
    assert played.said()[2:4] == [PHRASES.apology, "Yes."]
    assert played.ended.reason is EndReason.CALLER_HUNG_UP


def test_a_model_that_fails_three_times_ends_the_call_politely() -> None:
    dead = DeadThinker()
    played = act(Stage(hears=["Hello."] * 3, thinker=dead), line(GREETED_S, TURN * 3))
    assert dead.asked == 3
    assert played.said()[2:] == [PHRASES.apology, PHRASES.apology, PHRASES.trouble]
    assert played.ended.reason is EndReason.ENGINE_FAILURE
    assert not [charge for charge in played.all(fx.Charge) if charge.line == LLM_IN.line]


def test_a_model_that_never_answers_is_given_up_on() -> None:
    hangs = Answer("Never.", first_ms=10_000_000)
    played = act(Stage(hears=["Hello."], answers=[hangs], stays=30.0), line(GREETED_S, TURN))
    (asked,), (dropped,) = played.times(fx.AskReply), played.times(fx.DropReply)
    assert dropped - asked == started().limits.thinking_ms
    assert played.when_said(PHRASES.apology) == dropped
    (finished,) = played.events(ev.ReplyFinished)
    assert finished.tokens_in > 0, "the prompt was sent and is paid"


@dataclass
class BrokenReply:
    tokens: Tokens
    model: str = "mind"

    async def pieces(self) -> AsyncGenerator[str, None]:
        yield "One. "
        raise RuntimeError("a bug")


@dataclass
class BrokenThinker:
    models: tuple[str, ...] = ("mind",)

    @asynccontextmanager
    async def reply(
        self, messages: Sequence[Message], *, max_tokens: int, temperature: float
    ) -> AsyncIterator[BrokenReply]:
        assert (max_tokens, temperature) == (160, 0.7)
        yield BrokenReply(Tokens(7, 0, 3))


def test_a_bug_in_the_model_s_client_is_a_failure_and_not_the_end() -> None:
    played = act(Stage(hears=["Hello."], thinker=BrokenThinker(), stays=5.0), line(GREETED_S, TURN))
    assert failures(played, "llm")[0].kind == "failed"
    assert played.events(ev.ReplyFinished)[0].tokens_out == 3
    assert played.ended.reason is EndReason.CALLER_HUNG_UP


# -- text to speech ----------------------------------------------------------------------


def test_speech_that_fails_is_apologised_for() -> None:
    speaker = ScriptedSpeaker(
        first_ms=81, fails_on=lambda text: "cursed" in text, fails_after=3, model="voice"
    )
    played = act(
        Stage(hears=["Hello."], answers=["A cursed sentence."], speaker=speaker, stays=8.0),
        line(GREETED_S, TURN),
    )
    (failed,) = failures(played, "tts")
    assert failed.ref == 3
    assert played.said()[3] == PHRASES.apology
    assert played.heard()[2].startswith("a: A cursed"), "what was sent of it is heard"


def test_a_speaker_that_cannot_be_opened_ends_the_call() -> None:
    dead = DeadSpeaker()
    played = act(Stage(speaker=dead))
    assert played.ended.reason is EndReason.ENGINE_FAILURE
    assert not played.phone.arrived
    assert len(failures(played, "tts")) >= 3
    assert dead.tried <= len(failures(played, "tts")) + 1


def test_phrases_rendered_before_are_spoken_when_the_speaker_cannot_be_opened() -> None:
    clips = Clips()
    act(Stage(clips=clips, stays=2.0, speaker=ScriptedSpeaker(model="voice")))
    dead = DeadSpeaker(script=ScriptedSpeaker(model="voice"))
    played = act(
        Stage(clips=clips, hears=["Hello."] * 3, answers=["Hi."] * 3, speaker=dead), line(GREETED_S, TURN * 3)
    )
    assert played.arrived[0] <= 20
    assert "Hi." in played.said()
    assert not [one for one in played.heard() if "Hi." in one]
    assert PHRASES.trouble in played.heard()[-1]
    assert len(failures(played, "tts")) == 3, "only what nobody had rendered"


def test_a_speaker_that_opens_in_the_end_speaks() -> None:
    dead = DeadSpeaker(times=1)
    played = act(Stage(speaker=dead, stays=9.0))
    assert len(failures(played, "tts")) == 1
    assert played.phone.arrived


# -- everything --------------------------------------------------------------------------


def test_with_all_three_engines_dead_the_call_still_ends_by_itself() -> None:
    stage = Stage(transcriber=DeadTranscriber(dies_after=1.0), thinker=DeadThinker(), speaker=DeadSpeaker())
    played = act(stage, line(1.0, TURN * 4))
    assert played.ended.reason is EndReason.ENGINE_FAILURE
    assert played.around.hang_ups == 1
    assert played.said()[-1] == PHRASES.trouble
    assert played.ended.seconds < 15
    assert {event.service for event in played.events(ev.EngineFailed)} == {"stt", "tts"}


def test_with_phrases_in_stock_it_ends_politely_with_all_three_dead() -> None:
    clips = Clips()
    act(Stage(clips=clips, stays=2.0, speaker=ScriptedSpeaker()))
    stage = Stage(
        clips=clips, transcriber=DeadTranscriber(dies_after=4.0), thinker=DeadThinker(), speaker=DeadSpeaker()
    )
    played = act(stage)
    assert played.heard()[-1] == f"a: {PHRASES.trouble}"
    assert played.ended.reason is EndReason.ENGINE_FAILURE


def test_a_reply_asked_anew_stops_the_one_before() -> None:
    thinker = ScriptedThinker([Answer("One two three four.", first_ms=3_001), "Second."], model="mind")
    played = act(
        Stage(hears=["First.", "Second thoughts."], thinker=thinker, stays=5.0),
        line(GREETED_S, speech(0.6), 1.2, speech(0.8), 5.0),
    )
    assert played.all(fx.DropReply) == [fx.DropReply(1)]
    assert "a: Second." in played.heard()
    assert not [event for event in played.events(ev.ReplyPiece) if event.reply == 1]
