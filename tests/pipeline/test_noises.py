"""Sounds beside the agent's voice: what stops it, what does not, and how it goes on; machines and their beep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import noises
from pipeline.audio import mulaw
from pipeline.audio.wav import read_wav
from pipeline.clock import run_virtual
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.journal import parse_effect
from pipeline.core.terms import EndReason, Manners
from pipeline.engines.base import Partial
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.silero import SileroActivity, SileroModel
from pipeline.engines.scripted import Stretch
from pipeline.journal_file import read_lines, steps
from pipeline.offline import run_call
from tests.core.story import PHRASES, started
from tests.pipeline.rig import Played, Stage, act, line, play, said_again, speech

CALLERS = Path(__file__).parents[2] / "server" / "callers"
GREETED_S = 4.0
ANSWER = (
    "I went to the market, and then I walked along the river for an hour. "
    "The water was very high, and there were two herons fishing by the bridge."
)
STOP_S = 0.3
"""From the first sound of a real interruption to the order to be quiet."""
GOES_ON_S = 0.3
"""From the end of a noise to the agent's going on."""


def recorded(name: str) -> bytes:
    return read_wav(CALLERS / f"{name}.wav")


def cough(number: int) -> bytes:
    """Three bursts, hoarse: long enough to pass for a voice."""
    made = noises.cough(np.random.default_rng(number), bursts=3, hoarse=0.75)
    return mulaw.encode(mulaw.from_float(made))


def beside(sound: bytes, at_s: float = 3.0) -> bytes:
    """A question, and a sound so long after it that the answer is under way."""
    return line(GREETED_S, speech(1.0), at_s, sound, 14.0)


def said_once(played: Played, text: str) -> None:
    """The answer was heard whole: each utterance of it to its end, at most one chunk of it twice."""
    utterances = {say.utterance: say.text for say in played.all(fx.Say) if say.text in text}
    assert " ".join(utterances.values()) == text
    heard: dict[int, int] = dict.fromkeys(utterances, 0)
    for event in played.events(ev.AudioQueued):
        if event.chunk in played.phone.begins and event.utterance in heard:
            heard[event.utterance] += event.ms
    again = sum(heard.values()) - 60 * len("".join(utterances.values()))
    assert 0 <= again <= 400 * len(played.all(fx.Resume))
    assert f"a: {text}" in played.heard()
    assert not [turn for turn in played.all(fx.TurnTaken) if turn.interrupted and turn.text in text]


# -- noises ------------------------------------------------------------------------------


@pytest.mark.parametrize("sound", [cough(1), cough(2), recorded("cough"), recorded("click"), speech(0.3)])
def test_a_noise_does_not_end_the_answer(sound: bytes) -> None:
    played = act(Stage(hears=["What did you do?", ""], answers=[ANSWER], stays=2.0), beside(sound))
    said_once(played, ANSWER)
    assert len(played.all(fx.AskReply)) == 1
    assert len(played.all(fx.Pause)) == len(played.all(fx.Resume))
    assert not [at for at in played.times(fx.Hush) if at < 20_000]


def test_a_noise_that_stopped_the_voice_lets_it_go_on_soon() -> None:
    """Loud enough and long enough to be a voice, as far as anybody can tell at once."""
    sound = speech(0.4)
    played = act(Stage(hears=["What did you do?", ""], answers=[ANSWER], stays=2.0), beside(sound))
    (paused,), (resumed,) = played.times(fx.Pause), played.times(fx.Resume)
    over = 1000 * (GREETED_S + 1.0 + 3.0 + 0.4)
    assert paused < over
    assert over < resumed <= over + 1000 * GOES_ON_S
    silent = [at for at in played.arrived if paused <= at < resumed]
    assert not silent
    assert next(at for at in played.arrived if at >= resumed) == resumed
    said_once(played, ANSWER)


@pytest.mark.parametrize("shift_ms", range(300, 480, 20))
def test_a_mark_beside_a_pause_counts_for_all_or_for_nobody(tmp_path: Path, shift_ms: int) -> None:
    """Marks and frames come in together: what the call takes for heard is what the voice does not say again."""
    stage = Stage(hears=["What did you do?"], answers=[ANSWER])
    caller = beside(speech(0.3), 3.0 + shift_ms / 1000)
    path = tmp_path / "1.journal"
    run_virtual(
        run_call(stage.start, caller, stage.engines(), voice="nora", journal=path, wav=tmp_path / "1.wav")
    )
    happened = [
        (step.event, [parse_effect(text) for text in step.effects]) for step in steps(read_lines(path))
    ]
    assert said_again(happened) == 1


def test_two_noises_in_one_answer() -> None:
    sound = line(speech(0.3), 1.5, speech(0.4))
    played = act(Stage(hears=["What did you do?"], answers=[ANSWER], stays=2.0), beside(sound))
    assert len(played.all(fx.Resume)) == 2
    said_once(played, ANSWER)


@pytest.mark.parametrize("at_s", [0.75, 1.0, 2.2, 6.0, 8.0])
@pytest.mark.parametrize("before", [(), (Partial("Mm-hmm"),)])
def test_a_listener_s_mhm_does_not_take_the_floor(at_s: float, before: tuple[Partial, ...]) -> None:
    hears: list[str | Stretch] = ["What did you do?", Stretch("Mm-hmm.", delay_ms=100, before=before)]
    played = act(Stage(hears=hears, answers=[ANSWER], stays=2.0), beside(recorded("mhm"), at_s))
    said_once(played, ANSWER)
    assert "c: Mm-hmm." in played.heard()
    assert len(played.all(fx.AskReply)) == 1


def test_a_voice_of_which_no_words_come_gives_the_floor_back() -> None:
    """Longer than any noise; but the transcriber finds nothing in it."""
    played = act(Stage(hears=["What did you do?", ""], answers=[ANSWER], stays=2.0), beside(speech(1.5)))
    (paused,), (resumed,) = played.times(fx.Pause), played.times(fx.Resume)
    stopped = 1000 * (GREETED_S + 1.0 + 3.0 + 1.5)
    assert paused < stopped < resumed <= stopped + started().limits.end_of_turn_ms + 200
    said_once(played, ANSWER)


# -- interruptions -----------------------------------------------------------------------


@pytest.mark.parametrize("known_early", [True, False])
def test_a_real_interruption_takes_the_floor(known_early: bool) -> None:
    words = "Wait, sorry, can I ask you something else?"
    before = (Partial("Wait, sorry"),) if known_early else ()
    stage = Stage(
        hears=["What did you do?", Stretch("Wait,", 100, before), "sorry, can I ask you something else?"],
        answers=[ANSWER, "Of course."],
        stays=2.0,
    )
    played = act(stage, beside(recorded("interrupt")))
    begins = 1000 * (GREETED_S + 1.0 + 3.0) + 160  # the recording's first audible frame
    paused = played.times(fx.Pause)[-1]
    assert begins < paused <= begins + 1_000
    assert len(played.all(fx.Resume)) == len(played.all(fx.Pause)) - 1, (
        "the first word alone could be a noise"
    )
    (cut,) = (turn for turn in played.all(fx.TurnTaken) if turn.interrupted)
    assert ANSWER.startswith(cut.text)
    assert 0 < len(cut.text) < 80, "what was heard, not what was sent"
    assert f"c: {words}" in played.heard()
    assert "a: Of course." in played.heard()
    hushed = played.times(fx.Hush)[0]
    assert not [at for at in played.arrived if paused <= at < played.when_said("Of course.")]
    assert hushed < begins + len(recorded("interrupt")) / 8 + 200
    assert played.all(fx.AskReply)[1].messages[-1].content == words
    assert played.all(fx.AskReply)[1].messages[-2].content == cut.text


# -- in the opinion of the real voice activity ---------------------------------------------


@pytest.fixture(scope="module")
def silero() -> SileroModel:
    return SileroModel.load()


def listened(silero: SileroModel, stage: Stage, caller: bytes) -> Played:
    async def main() -> Played:
        worker = Worker("test", limit=64)
        try:
            async with SileroActivity(silero, worker).running() as activity:
                return await play(replace(stage, voice_activity=activity), caller)
        finally:
            worker.close()

    return run_virtual(main())


@pytest.mark.parametrize(
    ("name", "words"), [("cough", ""), ("click", ""), ("mhm", "Mm-hmm."), ("okay", "Okay.")]
)
def test_small_sounds_leave_the_answer_whole(silero: SileroModel, name: str, words: str) -> None:
    stage = Stage(hears=["I had a long day.", words], answers=[ANSWER], stays=2.0)
    caller = line(GREETED_S, recorded("day"), 3.0, recorded(name), 14.0)
    said_once(listened(silero, stage, caller), ANSWER)


def test_a_recorded_interruption_is_one(silero: SileroModel) -> None:
    stage = Stage(
        hears=["I had a long day.", "Wait, sorry, can I ask you something else?"],
        answers=[ANSWER, "Of course."],
        stays=2.0,
    )
    caller = line(GREETED_S, recorded("day"), 3.0, recorded("interrupt"), 6.0)
    played = listened(silero, stage, caller)
    begins = 1000 * (GREETED_S + 3.0) + len(recorded("day")) / 8 + 160
    assert begins < played.times(fx.Pause)[0] <= begins + 1000 * STOP_S + 100
    assert [turn.text for turn in played.all(fx.TurnTaken) if turn.interrupted]
    assert "a: Of course." in played.heard()


# -- machines ----------------------------------------------------------------------------

MACHINE = "Hi, you have reached Kim. Please leave a message after the tone."


def beep(ms: int = 500) -> bytes:
    at = np.arange(ms * 8) / mulaw.RATE
    return mulaw.encode(mulaw.from_float((0.1 * np.sin(2 * np.pi * 1_000 * at)).astype(np.float32)))


def test_the_message_is_left_after_the_beep() -> None:
    caller = line(1.0, speech(3.0), 1.4, beep(), 12.0)
    played = act(Stage(hears=[MACHINE], stays=20.0), caller)
    (heard,) = played.when(ev.BeepHeard)
    assert 5_900 <= heard <= 6_000
    assert played.when_said(PHRASES.voicemail) == heard
    assert played.heard()[-1] == f"a: {PHRASES.voicemail}"
    assert played.ended.reason is EndReason.VOICEMAIL
    assert not played.all(fx.AskReply), "a machine is not talked to"
    (listening,) = played.times(fx.ListenForBeep)
    assert not [at for at in played.arrived if listening <= at < heard], "nor talked over"


def test_without_a_beep_the_message_is_left_when_the_machine_falls_silent() -> None:
    played = act(Stage(hears=[MACHINE], stays=20.0), line(1.0, speech(3.0), 15.0))
    assert not played.events(ev.BeepHeard)
    quiet = started().limits.machine_quiet_ms
    (known,) = played.times(fx.ListenForBeep)
    assert 4_000 < known < 4_500
    assert played.when_said(PHRASES.voicemail) == known + quiet
    assert played.ended.reason is EndReason.VOICEMAIL


def test_where_no_message_is_wanted_the_call_ends_at_once() -> None:
    start = started(manners=Manners(eager=False, voicemail="hang_up"))
    played = act(Stage(start, hears=[MACHINE], stays=20.0), line(1.0, speech(3.0), 1.4, beep(), 12.0))
    assert PHRASES.voicemail not in played.said()
    assert played.ended.reason is EndReason.VOICEMAIL
    assert played.times(fx.HangUp)[0] < 4_500


def test_a_beep_that_nobody_listens_for_is_nothing() -> None:
    """A person's microwave oven."""
    played = act(Stage(hears=["Hello?", ""], answers=[ANSWER], stays=2.0), beside(beep(400)))
    assert not played.events(ev.BeepHeard)
    said_once(played, ANSWER)


def test_the_agent_s_own_greeting_does_not_hide_the_machine() -> None:
    """It speaks its greeting into the agent's; the words decide, and the agent falls silent."""
    caller = line(0.5, speech(4.0), 1.4, beep(), 12.0)
    played = act(Stage(hears=[MACHINE], stays=20.0), caller)
    assert PHRASES.voicemail in played.heard()[-1]
    assert played.ended.reason is EndReason.VOICEMAIL
