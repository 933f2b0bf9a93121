"""Whole calls through the shell: who speaks when, what is paid, what is written, what is left behind.

Long because it tells whole calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.clock import Clock, run_virtual
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.terms import EndReason, Limits
from pipeline.engines.base import Partial
from pipeline.engines.scripted import Answer, ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber, Stretch
from pipeline.journal_file import JournalFile, read_lines
from pipeline.recorder import Recorder
from pipeline.replay import replay
from pipeline.runner import INBOX_EVENTS, LiveCall
from tests.core.story import LLM_OUT, PHRASES, started
from tests.pipeline.rig import Around, Pages, Phone, Played, Stage, act, line, live, play, speech

BARS = {"greeting": 20, "clear": 300}
"""Milliseconds: a frame from the media socket to the greeting, and from a loud frame to `clear`."""

GREETED_S = 4.0

ANSWER = "Not much here, it has been a quiet week. And what about you, how was yours?"


# -- a conversation ----------------------------------------------------------------------


def test_the_greeting_prepared_while_it_rang_starts_within_a_frame() -> None:
    played = act(Stage(), line(1.0))
    assert played.arrived[0] <= BARS["greeting"]
    assert played.said()[:2] == [PHRASES.disclosure, PHRASES.greeting]


def test_a_turn_is_taken_answered_and_paid() -> None:
    played = act(
        Stage(hears=["What is new?"], answers=["Not much. And you?"]), line(GREETED_S, speech(1.0), 6.0)
    )
    assert played.heard()[:3] == [
        f"a: {PHRASES.disclosure} {PHRASES.greeting}",
        "c: What is new?",
        "a: Not much. And you?",
    ]
    (asked,) = played.all(fx.AskReply)
    assert asked.messages[-1] == fx.Message("user", "What is new?")
    charged = {charge.line for charge in played.all(fx.Charge)}
    assert {"llm:mind:token_in", "llm:mind:token_out", "tts:voice:char", "stt:ear:second"} <= charged


def test_an_answer_comes_half_a_second_after_the_voice_ends() -> None:
    """The configured silence, then the engines' own time; the shell adds nothing in virtual time."""
    played = act(Stage(hears=["Hello?"], answers=["Hi."]), line(GREETED_S, speech(1.0)))
    (stopped,) = (
        at - event.silence_ms
        for at, event in zip(played.when(ev.SpeechStopped), played.events(ev.SpeechStopped), strict=True)
    )
    first = next(at for at in played.arrived if at > stopped)
    silence, mind, voice = started().limits.end_of_turn_ms, 203, 81
    assert silence + mind + voice <= first - stopped <= silence + mind + voice + 40


def test_a_reply_is_spoken_before_the_model_has_finished() -> None:
    sentences = "This is the first sentence. " + "And here come a good many more words. " * 6
    played = act(
        Stage(hears=["Tell me a story."], answers=[Answer(sentences, first_ms=200, piece_ms=60)]),
        line(GREETED_S, speech(1.0), 25.0),
    )
    said = played.when_said("This is the first sentence.")
    (finished,) = played.when(ev.ReplyFinished)
    assert said < finished - 2_000
    assert played.arrived[-1] > finished
    pieces = [at for at in played.when(ev.ReplyPiece) if at <= said]
    assert len(pieces) == 6, "said as soon as the word after it shows that the sentence is over"


def test_a_transcriber_that_ends_turns_is_believed() -> None:
    played = act(
        Stage(
            start=started(transcriber_ends_turns=True),
            transcriber=ScriptedTranscriber(["What is new?"], delay_ms=50, ends_turns=True, model="ear"),
            answers=["Not much."],
        ),
        line(GREETED_S, speech(1.0)),
    )
    assert played.heard()[1] == "c: What is new?"
    (ended,), (asked,) = played.when(ev.TurnEnded), played.times(fx.AskReply)
    assert asked == ended


# -- barge-in ----------------------------------------------------------------------------


@pytest.mark.parametrize("offset_ms", [0, 7, 13, 20, 27])
def test_barge_in_clears_the_line_within_300_ms_of_the_first_loud_frame(offset_ms: int) -> None:
    loud_at = 9.0 + offset_ms / 1000
    stage = Stage(hears=["Hello.", "Wait, stop."], answers=[ANSWER, "Yes?"], stays=6.0)
    played = act(stage, line(GREETED_S, speech(1.0), loud_at - 5.0, speech(0.8), 3.0))
    first_loud_frame = int(loud_at * 1000) // 20 * 20 + 20
    clear = next(at for at in played.clears if at > 5_000)
    assert 0 < clear - first_loud_frame <= BARS["clear"]
    cut = next(turn for turn in played.all(fx.TurnTaken) if turn.interrupted)
    assert ANSWER.startswith(cut.text)
    assert 0 < len(cut.text) < len(ANSWER), "history keeps what was heard, not what was sent"


def test_nothing_reaches_the_line_between_clear_and_the_next_answer() -> None:
    stage = Stage(hears=["Hello.", "Wait, stop."], answers=[ANSWER, "Yes?"], stays=6.0)
    played = act(stage, line(GREETED_S, speech(1.0), 4.0, speech(0.8), 3.0))
    clear = next(at for at in played.clears if at > 5_000)
    after = [at for at in played.arrived if at > clear]
    assert after[0] >= played.when_said("Yes?")


@pytest.mark.parametrize("ms", [40, 100, 150])
def test_a_click_does_not_stop_the_voice(ms: int) -> None:
    stage = Stage(hears=["Hello.", ""], answers=[ANSWER], stays=8.0)
    played = act(stage, line(GREETED_S, speech(1.0), 4.0, speech(ms / 1000), 3.0))
    assert f"a: {ANSWER}" in played.heard()
    assert not [at for at in played.clears if at < 17_000]
    assert played.all(fx.AskReply)[-1].reply == 1


def test_a_barge_in_during_the_disclosure_waits_for_it() -> None:
    played = act(Stage(hears=["Who is this?"], stays=6.0), line(0.2, speech(0.9), 3.0))
    first = played.heard()[0]
    assert first.startswith(f"a: {PHRASES.disclosure}")


def test_a_dropped_reply_still_pays_its_tokens() -> None:
    slow = Answer("One two three four five six seven eight nine ten.", first_ms=200, piece_ms=400)
    stage = Stage(hears=["Hello.", "Never mind that."], answers=[slow, "Fine."], stays=4.0)
    played = act(stage, line(GREETED_S, speech(1.0), 1.4, speech(0.8), 4.0))
    assert played.all(fx.DropReply) == [fx.DropReply(1)]
    first, second = played.events(ev.ReplyFinished)
    assert (first.reply, second.reply) == (1, 2)
    assert 0 < first.tokens_out < 13, "stopped on its way"
    bought = [charge for charge in played.all(fx.Charge) if charge.line == LLM_OUT.line]
    assert bought[-1].to_qty == first.tokens_out + second.tokens_out


def test_a_reply_dropped_before_it_began_reports_no_tokens() -> None:
    """The model's context is never entered; the reply is over all the same, and free."""
    slow = Answer("Never spoken.", first_ms=60_000)
    stage = Stage(hears=["Hello.", "Are you there?"], answers=[slow, "Yes."], stays=4.0)
    played = act(stage, line(GREETED_S, speech(1.0), 2.0, speech(0.8), 4.0))
    assert [event.tokens_out > 0 for event in played.events(ev.ReplyFinished)] == [False, True]


# -- the journal -------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 2, 3, 10, 60, 200])
def test_a_journal_that_cannot_be_written_ends_the_call_and_the_charges_stand(room: int) -> None:
    thinker = ScriptedThinker([ANSWER] * 3, first_ms=200, model="mind")
    stage = Stage(hears=["Hello."] * 3, thinker=thinker, pages=Pages(room))
    played = act(stage, line(GREETED_S, speech(1.0), 4.0, speech(1.0), 4.0))
    assert isinstance(stage.pages, Pages)
    assert stage.pages.steps == room
    assert played.ended.reason in (EndReason.ENGINE_FAILURE, None)
    steps = played.around.steps
    asked = next(index for index, (event, _) in enumerate(steps) if isinstance(event, ev.HangUpAsked))
    after = [one for _, made in steps[asked:] for one in made if isinstance(one, fx.AskReply | fx.Say)]
    assert {isinstance(one, fx.Say) and one.text == PHRASES.trouble for one in after} <= {True}, (
        "only a goodbye"
    )


def test_a_reply_that_could_not_be_journalled_is_not_bought() -> None:
    def run(room: int | None) -> tuple[Played, int]:
        thinker = ScriptedThinker(["Fine."], first_ms=200, model="mind")
        played = act(
            Stage(hears=["Hello."], thinker=thinker, pages=Pages(room), stays=4.0),
            line(GREETED_S, speech(1.0)),
        )
        return played, len(thinker.requests)

    whole, bought = run(None)
    assert bought == 1
    steps = whole.around.steps
    asks = next(
        index for index, (_, made) in enumerate(steps) if any(isinstance(one, fx.AskReply) for one in made)
    )
    lost, bought = run(asks)
    assert lost.all(fx.AskReply)
    assert bought == 0


def test_what_could_not_be_journalled_is_not_spoken_unless_it_is_rendered() -> None:
    def run(room: int | None) -> tuple[Played, list[str]]:
        speaker = ScriptedSpeaker(first_ms=80, model="voice")
        stage = Stage(hears=["Hello."], answers=["Fine."], speaker=speaker, pages=Pages(room), stays=4.0)
        return act(stage, line(GREETED_S, speech(1.0))), list(speaker.spoken)

    whole, spoken = run(None)
    assert "Fine." in spoken
    said = next(
        index
        for index, (_, made) in enumerate(whole.around.steps)
        if any(isinstance(one, fx.Say) and one.text == "Fine." for one in made)
    )
    lost, spoken = run(said)
    (reply,) = [one for one in lost.all(fx.Say) if one.text == "Fine."]
    assert "Fine." not in spoken
    assert reply.utterance in {event.utterance for event in lost.events(ev.SpeechSkipped)}
    (goodbye,) = [one for one in lost.all(fx.Say) if one.text == PHRASES.trouble]
    assert goodbye.utterance in {event.utterance for event in lost.events(ev.UtteranceQueued)}, (
        "it was rendered"
    )


def test_a_goodbye_that_is_not_rendered_is_not_bought_without_a_journal() -> None:
    speaker = ScriptedSpeaker(first_ms=80, model="voice", fails_on=lambda text: text == PHRASES.trouble)
    played = act(Stage(speaker=speaker, pages=Pages(30), stays=8.0), line(GREETED_S, speech(1.0)))
    (goodbye,) = [one for one in played.all(fx.Say) if one.text == PHRASES.trouble]
    assert list(speaker.spoken).count(PHRASES.trouble) == 1, "tried beforehand, in vain"
    assert goodbye.utterance in {event.utterance for event in played.events(ev.SpeechSkipped)}


def test_the_file_replays_and_the_recording_is_as_long_as_the_call(tmp_path: Path) -> None:
    stage = Stage(
        hears=["Hello."],
        answers=["Hi."],
        pages=JournalFile(tmp_path / "1.journal"),
        recorder=Recorder(tmp_path / "1.wav"),
    )
    played = act(stage, line(GREETED_S, speech(1.0)))
    lines = read_lines(tmp_path / "1.journal")
    assert replay(lines).exact
    assert len(lines) == len(played.around.steps) + len(played.effects)
    size = (tmp_path / "1.wav").stat().st_size - 44
    assert abs(size / 32_000 - played.ended.seconds) <= 1.0


# -- time and the inbox ------------------------------------------------------------------


class WorkingClock(Clock):
    """Time passes while work is done: a millisecond each time somebody looks."""

    def __init__(self) -> None:
        super().__init__()
        self._worked = 0

    def seconds(self) -> float:
        self._worked += 1
        return super().seconds() + self._worked / 1000


def test_a_tick_never_overtakes_what_arrived_before_it() -> None:
    """What arrives in the very moment a deadline passes was stamped first, and is taken first."""

    async def main() -> list[ev.Event]:
        clock, loop = WorkingClock(), asyncio.get_running_loop()
        around = Around(Phone(clock))
        call_zero, ring = 1, started().limits.ring_ms  # its first look at the clock
        call = live(around, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.run())
            loop.call_at((call_zero + ring) / 1000 - 1e-10, call.pressed, "1")  # of the two the first
            await around.phone.closed.wait()
            call.carrier_done("no-answer", 0)
        return [event for event, _ in around.steps]

    events = run_virtual(main())
    assert [event.at for event in events] == sorted(event.at for event in events)
    (pressed,) = (event for event in events if isinstance(event, ev.DigitPressed))
    first_after = next(event for event in events if event.at >= started().limits.ring_ms)
    assert first_after is pressed
    assert pressed.at < started().limits.ring_ms + 10


def test_all_may_be_told_before_the_call_runs() -> None:
    async def main() -> Around:
        clock = Clock()
        phone = Phone(clock)
        around = Around(phone, refuses=True)
        call = live(around, clock)
        call.hear(speech(0.1))
        call.answered()
        call.attach(phone)
        call.ask_hang_up(EndReason.USER_HUNG_UP)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.run())
            await phone.closed.wait()
            call.carrier_done("completed", 1)
        return around

    around = run_virtual(main())
    assert isinstance(around.steps[0][0], ev.CallStarted)
    assert around.phone.closed.is_set()


def test_an_inbox_that_runs_over_ends_the_call_and_keeps_what_costs_money() -> None:
    def flood(call: LiveCall) -> None:
        for _ in range(INBOX_EVENTS + 500):
            call.pressed("1")

    slow = Answer("One two three four five six.", first_ms=100, piece_ms=300)
    stage = Stage(hears=["Hello."], answers=[slow], stays=30.0, asides={6.5: flood})
    played = act(stage, line(GREETED_S, speech(1.0)))
    assert played.ended.reason is EndReason.ENGINE_FAILURE
    assert len(played.events(ev.DigitPressed)) <= INBOX_EVENTS
    (finished,) = played.events(ev.ReplyFinished)
    bought = [charge.to_qty for charge in played.all(fx.Charge) if charge.line == LLM_OUT.line]
    assert bought == [finished.tokens_out]


def test_a_flood_does_not_drown_a_key() -> None:
    """The nine means that nobody calls again."""

    def flood(call: LiveCall) -> None:
        call.pressed("9")
        for _ in range(INBOX_EVENTS):
            call.pressed("1")
        call.pressed("2")

    stage = Stage(hears=["Hello."], answers=["Hi."], stays=30.0, asides={6.5: flood})
    played = act(stage, line(GREETED_S, speech(1.0)))
    assert {event.digit for event in played.events(ev.DigitPressed)} == {"9", "1", "2"}
    assert played.ended.reason is EndReason.OPTED_OUT


def test_a_flood_does_not_drown_the_last_word() -> None:
    """What was paid and what the carrier said last stay in the inbox when it runs over."""

    async def main() -> fx.Ended:
        clock = Clock()
        around = Around(Phone(clock))
        call = live(around, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.run())
            await asyncio.sleep(1)
            call.answered()
            await asyncio.sleep(4)
            call.carrier_done("completed", 4)
            for _ in range(INBOX_EVENTS):
                call.pressed("1")
        (ended,) = [one for _, made in around.steps for one in made if isinstance(one, fx.Ended)]
        assert around.steps[-1][0].at < 6_000, "it did not wait for a word it already had"
        return ended

    assert run_virtual(main()).seconds == 4


# -- many at once ------------------------------------------------------------------------


def story(number: int) -> tuple[Stage, bytes]:
    """Eight kinds of call that differ in words, turns and length."""
    kind = number % 8
    stage = Stage(
        start=replace(started(limits=Limits(max_duration_ms=60_000)), call_id=f"call-{kind}"),
        hears=[f"This is turn {turn} of {kind}." for turn in range(3)],
        answers=[ANSWER[: 20 + 7 * kind], Answer(ANSWER, fails_after=kind), "Well then, that is all."],
        stays=1.0 + kind / 4,
        frame_ms=40,
    )
    return stage, line(3.7 + kind / 10, speech(0.7), 1.5 + kind / 5, speech(0.6), 2.0)


@pytest.mark.slow
def test_hundreds_of_calls_at_once_are_each_as_if_alone() -> None:
    alone = [act(*story(kind)).lines for kind in range(8)]

    async def main() -> tuple[list[Played], int]:
        before = len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(play(*story(number), alone=False)) for number in range(240)]
        return [call.result() for call in calls], len(asyncio.all_tasks()) - before

    together, left = run_virtual(main())
    assert left == 0
    for number, played in enumerate(together):
        assert played.lines == alone[number % 8], f"call {number}"


def test_a_cancelled_call_leaves_nothing_behind() -> None:
    async def main() -> tuple[int, Pages]:
        clock = Clock()
        pages = Pages()
        around = Around(Phone(clock))
        before = len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(live(around, clock, pages).run())
            await asyncio.sleep(1)
            running.cancel()
        return len(asyncio.all_tasks()) - before, pages

    left, pages = run_virtual(main())
    assert (left, pages.steps > 0) == (0, True)


def test_a_stretch_heard_in_parts_is_one_turn() -> None:
    hears: list[str | Stretch] = [
        Stretch("I was wondering", delay_ms=100, before=(Partial("I was"),)),
        "if you are free.",
    ]
    played = act(
        Stage(hears=hears, answers=["Yes."], stays=5.0), line(GREETED_S, speech(0.8), 0.3, speech(0.8))
    )
    assert "c: I was wondering if you are free." in played.heard()
    assert [event.text for event in played.events(ev.Heard)] == ["I was"]
