"""What people do in calls, through the vendors: taking leave, interrupting, pausing; and what it then costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.clock import run_virtual
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.money import Nanos
from pipeline.core.terms import EndReason
from pipeline.engines.deepgram.flux import FluxSettings
from pipeline.engines.elevenlabs import ElevenLabsSettings
from pipeline.engines.loading import Chosen, EngineLoader
from pipeline.engines.openai_chat import ChatServer
from pipeline.engines.scripted import LoudnessActivity, Stretch
from tests.emulators import chat, deepgram, flux, sounding
from tests.emulators.deepgram import Act, Moment, Outcome
from tests.vendors.cast import ANSWERS, EAR_BEHIND, MODELS, PHRASES, Cast
from tests.vendors.checks import wrong
from tests.vendors.person import WORDS, Into
from tests.vendors.rig import Company, Held, Parrot, company, hold, play, vendors

LONG = (
    "I went to the harbour this morning, and I sat there for an hour. There were three boats. "
    "One of them was red, and a man stood on it. He waved at me. I waved back at him."
)


def sane(held: Held) -> Held:
    assert wrong(held) == []
    return held


def spoken(held: Held) -> list[str]:
    """What the vendor of the voice was asked to say."""
    return [one.text.strip() for one in held.vendors.voice.spoken]


# -- taking leave --------------------------------------------------------------------------


def test_the_model_ends_the_call_when_its_words_were_heard() -> None:
    plan = chat.Plan(text="Take care, Jordan. Until next time!", tool=("end_call", "{}"))
    held = sane(hold(Cast(lines=("hobbies", "joke"), mind_plan=plan)))
    assert held.ended.reason is EndReason.AGENT_ENDED
    assert held.transcript[-1] == ("agent", "Take care, Jordan. Until next time!")
    assert [each.name for each in held.person.said] == ["hobbies"]
    (hung_up,) = held.when(fx.HangUp)
    assert hung_up >= held.ears.silent_from * 1000


def test_the_tool_alone_ends_the_call_with_our_own_goodbye() -> None:
    held = sane(hold(Cast(mind_plan=chat.Plan(text="", tool=("end_call", "{}")))))
    assert held.ended.reason is EndReason.AGENT_ENDED
    assert held.transcript[-1] == ("agent", PHRASES.goodbye)


def test_i_have_to_go_is_answered_and_ends_the_call() -> None:
    # The recording pauses within the line for longer than the other calls' end of turn.
    held = sane(hold(Cast(lines=("hobbies", "bye", "joke"), eot_ms=450)))
    assert held.ended.reason is EndReason.AGENT_ENDED
    assert held.transcript[-2:] == [("caller", WORDS["bye"]), ("agent", ANSWERS["bye"])]
    assert [each.name for each in held.person.said] == ["hobbies", "bye"]


# -- what is spoken ------------------------------------------------------------------------


@pytest.mark.parametrize("voice", ["elevenlabs", "aura"])
def test_reasoning_is_paid_for_and_never_spoken(voice: str) -> None:
    plan = chat.Plan(
        text="<think>They want comfort. 1 < 2.</think> I hear you. Go on.",
        reasoning="The user is nervous. " * 3,
    )
    held = sane(hold(Cast(voice="aura" if voice == "aura" else "elevenlabs", lines=("day",), mind_plan=plan)))
    assert spoken(held) == ["I hear you.", "Go on."]
    (served,) = held.vendors.mind.served
    assert held.charged[f"llm:{chat.MODEL}:token_out"] == served.out > 5


@pytest.mark.parametrize("voice", ["elevenlabs", "aura"])
def test_figures_and_markup_reach_the_voice_as_words(voice: str) -> None:
    text = "**It** costs $5 for 3 kg at 10:30. `Or` so, #1 of 2: see [this](https://example.test)!"
    plan = chat.Plan(text=text)
    held = sane(hold(Cast(voice="aura" if voice == "aura" else "elevenlabs", lines=("day",), mind_plan=plan)))
    said = " ".join(spoken(held))
    assert "five dollars" in said
    assert not set(said) & set("$*`#[]()0123456789")
    assert held.transcript[-1] == ("agent", said)


# -- interruptions -------------------------------------------------------------------------


@pytest.mark.parametrize("voice", ["elevenlabs", "aura"])
def test_an_interruption_stops_the_model_and_the_voice_and_pays_what_they_count(voice: str) -> None:
    lines = ("hobbies", Into("weaknesses", 3.0))
    cast = Cast(
        voice="aura" if voice == "aura" else "elevenlabs",
        lines=lines,
        texts=lambda messages: LONG if len(messages) < 5 else ANSWERS["weaknesses"],
        word_ms=200,
        first_sound_ms=150,
        piece_ms=150,
        whole=False,
    )
    held = sane(hold(cast))
    cut, *_ = [turn for turn in held.all(fx.TurnTaken) if turn.interrupted]
    assert LONG.startswith(cut.text[:20])
    assert len(cut.text) < len(LONG)
    first, last = held.vendors.mind.served
    assert first.left_at is not None
    assert not first.complete
    assert last.complete
    # Sound of the interrupted utterance ends early where the vendor can be told so.
    under_way = [one for one in held.vendors.voice.spoken if one.text.strip() in LONG][-1]
    whole = len(sounding.tone("any", under_way.text))
    assert under_way.sounded < whole if voice == "aura" else under_way.sounded <= whole
    stopped = held.ears.clears[0]
    assert not any(
        stopped / 1000 < begins < held.person.said[-1].ended / 1000 for begins, _ in held.ears.audible
    )
    assert held.transcript[-1] == ("agent", ANSWERS["weaknesses"])
    # Every character that was sent was charged, and nothing else: of those asked for, one was cut off.
    line = f"tts:{MODELS[cast.voice]}:char"
    assert held.charged[line] == len(PHRASES.greeting) + held.vendors.voice.characters


def test_a_reply_begun_too_early_is_dropped_charged_and_settled() -> None:
    plan = deepgram.Plan(Outcome.HEARD, rounds=1, changes=True)
    cast = Cast(lines=("hobbies",), ear_plans=(plan,), eager=True, first_token_ms=30, word_ms=20)
    held = sane(hold(cast))
    settled = held.all(fx.EagerSettled)
    assert [effect.committed for effect in settled] == [False, True]
    assert all(effect.nano > 0 for effect in settled)
    tokens = sum(charge.nano for charge in held.all(fx.Charge) if charge.line.startswith("llm:"))
    assert sum(effect.nano for effect in settled) == tokens
    dropped, used = held.vendors.mind.served
    assert dropped.left_at is not None
    assert used.complete
    assert held.transcript[-2:] == [("caller", WORDS["hobbies"]), ("agent", ANSWERS["hobbies"])]


# -- who listens ---------------------------------------------------------------------------


@pytest.mark.parametrize("voice", ["elevenlabs", "aura"])
def test_nova_hears_a_whole_call_with_our_own_end_of_turn(voice: str) -> None:
    lines = ("hello", "hobbies", "weaknesses", "bye")
    held = hold(Cast("nova", "aura" if voice == "aura" else "elevenlabs", lines=lines[:3]))
    sane(held)
    turns = [("agent", f"{PHRASES.disclosure} {PHRASES.greeting}")]
    for name in lines[:3]:
        turns += [("caller", WORDS[name]), ("agent", ANSWERS[name])]
    assert held.transcript == turns
    assert held.company.failures == []


class Forgetful(Parrot):
    """Breaks once, at its second stretch of speech."""

    def stretch(self, position: int) -> Stretch:
        return replace(super().stretch(position), fails=position == 1)


def test_who_listens_changes_from_flux_to_one_that_ends_no_turns_and_back() -> None:
    lines = ("hobbies", "joke", "day", "weaknesses", "idea")
    plans = (deepgram.fault(Moment.UPDATE, Act.DROP_AFTER, Outcome.FAILED, turn=1), flux.Plan())
    cast = Cast(lines=lines, ear_plans=plans)

    async def main() -> Held:
        async with (
            vendors(cast) as at,
            company(cast, at.addresses, Forgetful((), model=EAR_BEHIND)) as together,
        ):
            return await play(cast, at, together)

    held = sane(run_virtual(main(), grace=0.001))
    listening = [(event.model, event.ends_turns) for event in held.events(ev.Listening)]
    assert listening == [(MODELS["flux"], True), (EAR_BEHIND, False), (MODELS["flux"], True)]
    caller = [text for role, text in held.transcript if role == "caller"]
    agent = [text for role, text in held.transcript if role == "agent"]
    assert caller == [WORDS[name] for name in lines]
    assert agent[1:] == [ANSWERS[name] for name in lines]
    assert [seam for _, seam in held.company.failures] == ["stt", "stt"]
    # Both ways in the middle of a turn: neither half of it is lost, neither is paid to somebody else.
    assert held.charged[f"stt:{EAR_BEHIND}:second"] > 0


# -- the rest of it ------------------------------------------------------------------------


def test_phrases_rendered_while_it_rings_are_not_the_callers() -> None:
    held = sane(hold(Cast(lines=("hobbies",), rendered=False)))
    assert {PHRASES.greeting, PHRASES.apology, PHRASES.trouble} <= set(spoken(held))
    charged = held.charged[f"tts:{MODELS['elevenlabs']}:char"]
    assert charged == len(PHRASES.greeting) + len("I paint boats.") + len("It calms me.")
    assert held.vendors.voice.characters > charged
    first = held.ears.audible[0][0] * 1000
    assert first - held.events(ev.Answered)[0].at - held.zero <= 60


@pytest.mark.slow
def test_the_money_runs_out_with_a_goodbye_and_never_below() -> None:
    lines = ("hobbies", "joke", "day", "weaknesses", "idea", "thanks", "hello") * 3
    # A carrier minute and the second hardly, with what listening, writing and speaking take.
    allowed = Nanos(7_500_000 + 18_000_000 + 40_000_000)
    held = sane(hold(Cast(lines=lines, allowed=allowed, pause_s=0.8)))
    assert held.ended.reason is EndReason.CREDIT
    assert held.ended.total <= allowed
    said = list(held.said.values())
    assert said.count(PHRASES.warning) + said.count(PHRASES.short) == 1
    assert said[-1] == PHRASES.out_of_time
    assert held.transcript[-1][1].endswith(PHRASES.out_of_time)


@pytest.mark.slow
def test_engines_put_together_by_the_loader_hold_a_call() -> None:
    """The very composites of a server; only voice activity is not Silero's."""
    cast = Cast(lines=("hobbies", "joke"), ear_plans=(flux.FAULTS["handshake_503"],))

    async def main() -> Held:
        async with vendors(cast) as at:
            chosen = Chosen(
                stt=(FluxSettings(deepgram.KEY, at.ear.url), "scripted"),
                llm=(ChatServer(chat.MODEL, at.mind.url, chat.KEY), "scripted"),
                tts=(ElevenLabsSettings(sounding.KEY, at.voice.url), "scripted"),
            )
            async with EngineLoader(chosen).open() as engines:
                together = Company(replace(engines, voice_activity=LoudnessActivity()), Parrot(()), [], [])
                return await play(cast, at, together)

    held = run_virtual(main(), grace=0.001)
    assert [event.model for event in held.events(ev.Listening)] == [MODELS["flux"], "scripted"]
    heard = [text for role, text in held.transcript if role == "caller"]
    assert heard == ["Hello.", "How are you?"]
    assert PHRASES.apology not in held.said.values()
    assert held.charged[f"llm:{chat.MODEL}:token_in"] == sum(one.prompt for one in held.vendors.mind.served)
    assert held.ended.reason is EndReason.CALLER_HUNG_UP
