"""How soon the agent answers: what is measured is what the telephone heard; replies begun early."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from pipeline.audio.mulaw import is_loud
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.terms import Manners
from pipeline.engines.base import Eager, Hearing, Resumed, Turn, Voice
from pipeline.engines.scripted import Answer, ScriptedSpeaker
from tests.core.story import LLM_OUT, PHRASES, started
from tests.pipeline.rig import PHASE_MS, RING_MS, Played, Stage, act, line, speech
from tests.pipeline.test_perform_events import Ears

GREETED_S = 4.0
CLOSE_MS = 20
"""The telephone looks every 20 ms which marks are due."""


EAGER = started(manners=Manners(eager=True))


@dataclass
class Drawling:
    """Some quiet in front of every utterance, as engines put there."""

    quiet_ms: int
    inner: ScriptedSpeaker = field(default_factory=lambda: ScriptedSpeaker(first_ms=81, model="voice"))
    models: tuple[str, ...] = ("voice",)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        async with self.inner.open(voice) as inner:
            yield DrawlingVoice(inner, self.quiet_ms)


@dataclass
class DrawlingVoice:
    inner: Voice
    quiet_ms: int
    model: str = "voice"
    sent: bool = True

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        first = b"\xff" * 8 * self.quiet_ms
        async for piece in self.inner.speak(text):
            yield first + piece
            first = b""


def first_heard(played: Played, after_ms: int) -> float:
    """When the telephone played the first audible sample of what began to play after `after_ms`."""
    sounds = {chunk: sound for _, chunk, sound in played.phone.arrived}
    for chunk, begins in sorted(played.phone.begins.items(), key=lambda item: item[1]):
        if begins - played.zero < after_ms:
            continue
        sound = sounds[chunk]
        for start in range(0, len(sound), 160):
            if is_loud(sound[start : start + 160]):
                return begins - played.zero + start / 8
    raise AssertionError("nothing was heard")


# -- what is measured --------------------------------------------------------------------


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("quiet_ms", [0, 70, 330, 950])
@pytest.mark.parametrize("speech_ms", [700, 1_013])
def test_an_answer_s_figures_are_what_the_telephone_heard(early: bool, quiet_ms: int, speech_ms: int) -> None:
    start = EAGER if early else started()
    stage = Stage(start, hears=["What is new?"], answers=["Not much."], speaker=Drawling(quiet_ms))
    played = act(stage, line(6.0, speech(speech_ms / 1000), 4.0))
    (timed,) = played.all(fx.TurnTimed)
    ends_ms = 6_000 + speech_ms + PHASE_MS
    heard_ms = first_heard(played, ends_ms)
    assert abs(timed.speech_end - played.answered - ends_ms) <= CLOSE_MS
    assert abs(timed.audible_ms - (heard_ms - ends_ms)) <= CLOSE_MS
    assert (timed.index, timed.eager) == (1, early)


def test_each_stage_is_measured_from_the_caller_s_last_sound() -> None:
    stage = Stage(hears=["What is new?"], answers=["Not much. And you?"], speaker=Drawling(130))
    played = act(stage, line(6.0, speech(1.0), 4.0))
    (timed,) = played.all(fx.TurnTimed)
    first_say = played.all(fx.Say)[2].utterance
    sold = next(event.at for event in played.events(ev.SpeechBought) if event.utterance == first_say)
    frame = next(event.at for event in played.events(ev.AudioQueued) if event.utterance == first_say)
    assert timed.speech_end + timed.end_of_turn_ms == played.answered + played.times(fx.AskReply)[0]
    assert timed.speech_end + timed.first_token_ms == played.events(ev.ReplyPiece)[0].at
    assert timed.speech_end + timed.first_audio_ms == sold
    assert timed.speech_end + timed.first_frame_ms == frame
    assert timed.end_of_turn_ms < timed.first_token_ms < timed.first_audio_ms <= timed.first_frame_ms
    assert timed.first_frame_ms + 120 <= timed.audible_ms


def test_an_answer_that_is_interrupted_before_it_is_heard_is_not_timed() -> None:
    """The carrier returns the marks of what it drops; they are no sign that anybody heard it."""
    stage = Stage(
        hears=["What is new?", "And with you?"],
        answers=["Not much, I think.", "Nothing."],
        speaker=Drawling(900),
    )
    played = act(stage, line(6.0, speech(0.7), 0.8, speech(0.8), 4.0))
    assert len(played.all(fx.AskReply)) == 2
    first, second = (turn for turn in played.all(fx.TurnTaken) if turn.role == "caller")
    assert (first.text, second.text) == ("What is new?", "And with you?")
    assert [timed.index for timed in played.all(fx.TurnTimed)] == [second.index]


# -- replies begun early -----------------------------------------------------------------

QUESTION, ANSWER = "What is new?", "Not much. And you?"


def test_a_reply_begun_early_is_heard_sooner() -> None:
    sound = line(GREETED_S, speech(1.0), 6.0)
    late = act(Stage(started(), hears=[QUESTION], answers=[ANSWER]), sound)
    soon = act(Stage(EAGER, hears=[QUESTION], answers=[ANSWER]), sound)
    assert soon.heard() == late.heard()
    (was,), (now) = late.all(fx.TurnTimed), soon.all(fx.TurnTimed)[0]
    assert now.end_of_turn_ms == was.end_of_turn_ms, "not by speaking into the turn"
    assert now.audible_ms <= was.audible_ms - 150
    (asked,) = soon.times(fx.AskReply)
    (taken,) = (at for at, one in soon.effects if isinstance(one, fx.TurnTaken) and one.role == "caller")
    assert asked < taken
    assert not [at for at in soon.arrived if asked <= at < taken]
    (settled,) = soon.all(fx.EagerSettled)
    assert (settled.reply, settled.committed) == (1, True)
    assert settled.nano == sum(
        charge.nano for charge in soon.all(fx.Charge) if charge.line.startswith("llm:")
    )


def test_a_reply_to_what_was_not_all_is_never_spoken_and_is_paid() -> None:
    stage = Stage(
        EAGER,
        hears=["I went to the market.", "It was shut."],
        answers=[Answer("Lovely, I like markets.", first_ms=20, piece_ms=20), "What a pity."],
    )
    played = act(stage, line(GREETED_S, speech(1.0), 0.35, speech(0.8), 5.0))
    first, second = played.all(fx.AskReply)
    assert first.messages[-1].content == "I went to the market."
    assert second.messages[-1].content == "I went to the market. It was shut."
    assert [(one.reply, one.committed) for one in played.all(fx.EagerSettled)] == [(1, False), (2, True)]
    assert played.all(fx.EagerSettled)[0].nano > 0
    assert played.heard()[1:3] == ["c: I went to the market. It was shut.", "a: What a pity."]
    assert "Lovely, I like markets." not in played.said()
    bought = [charge for charge in played.all(fx.Charge) if charge.line == LLM_OUT.line]
    assert bought[-1].to_qty == sum(event.tokens_out for event in played.events(ev.ReplyFinished))


def test_manners_that_wait_begin_nothing_early() -> None:
    played = act(Stage(hears=[QUESTION], answers=[ANSWER]), line(GREETED_S, speech(1.0), 6.0))
    (asked,) = played.times(fx.AskReply)
    (taken,) = (at for at, one in played.effects if isinstance(one, fx.TurnTaken) and one.role == "caller")
    assert asked == taken
    assert not played.all(fx.EagerSettled)


def test_a_guess_that_fails_is_asked_anew_and_nobody_is_told() -> None:
    answers: list[str | Answer] = [Answer("x", fails_after=0), ANSWER]
    played = act(Stage(EAGER, hears=[QUESTION], answers=answers), line(GREETED_S, speech(1.0), 6.0))
    assert len(played.all(fx.AskReply)) == 2
    assert PHRASES.apology not in played.said()
    assert f"a: {ANSWER}" in played.heard()


RING_S = RING_MS / 1000
OWN_TURNS = replace(EAGER, transcriber_ends_turns=True)


def own_turns(*said: Hearing | float) -> Stage:
    """A transcriber that ends turns itself; times are since the answer."""
    return Stage(OWN_TURNS, transcriber=Ears([[RING_S, *said]], models=("ear",)), answers=[ANSWER, "I see."])


def test_a_transcriber_s_own_guess_is_taken_up_at_its_word() -> None:
    played = act(own_turns(5.2, Eager(QUESTION), 0.4, Turn(QUESTION)), line(GREETED_S, speech(1.0), 4.0))
    (asked,), (settled,) = played.times(fx.AskReply), played.all(fx.EagerSettled)
    assert (asked, settled.committed) == (5_200, True)
    assert played.when_said("Not much.") == 5_600, "its first sentence had long been there"
    (timed,) = played.all(fx.TurnTimed)
    assert timed.eager
    assert timed.first_token_ms < timed.end_of_turn_ms


def test_second_thoughts_drop_the_guess_at_once() -> None:
    whole = f"{QUESTION} And how are you?"
    stage = own_turns(5.2, Eager(QUESTION), 0.2, Resumed(), 1.0, Eager(whole), 0.2, Turn(whole))
    played = act(stage, line(GREETED_S, speech(1.0), 0.4, speech(0.9), 4.0))
    assert played.all(fx.DropReply) == [fx.DropReply(1)]
    assert played.times(fx.DropReply) == [5_400]
    assert [(one.reply, one.committed) for one in played.all(fx.EagerSettled)] == [(1, False), (2, True)]
    assert played.heard()[1:3] == [f"c: {whole}", "a: I see."]


def test_a_turn_with_other_words_than_were_guessed_is_answered_anew() -> None:
    played = act(
        own_turns(5.2, Eager(QUESTION), 0.4, Turn("What is that?")), line(GREETED_S, speech(1.0), 4.0)
    )
    assert [order.messages[-1].content for order in played.all(fx.AskReply)] == [QUESTION, "What is that?"]
    assert [one.committed for one in played.all(fx.EagerSettled)] == [False]
    assert "a: I see." in played.heard()
