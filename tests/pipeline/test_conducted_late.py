"""Level 2 replay of calls that were lived through on a machine that fell behind: events waited side by side."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipeline.clips import Clips
from pipeline.clock import Clock, VirtualLoop, run_virtual
from pipeline.conducted import Phone, replay_call
from pipeline.core import events as ev
from pipeline.core import journal
from pipeline.core.money import Millis
from pipeline.engines.base import Voice
from pipeline.engines.replayed import ReplayedSpeaker, ReplayedThinker, Traffic, Turns
from pipeline.engines.scripted import ScriptedSpeaker, ScriptedThinker, ScriptedTranscriber
from pipeline.journal_file import Step, read_lines, steps
from pipeline.moments import Moments
from pipeline.mouth import Mouth
from pipeline.offline import run_call
from pipeline.score import Score
from pipeline.traffic import (
    AnyFact,
    Asked,
    Posted,
    Spoke,
    Spoken,
    Timed,
    VoiceOpened,
    Written,
    Wrote,
    complete,
    read,
)
from tests.core.story import started
from tests.pipeline.test_conducted import PAUSE, call_of, engines, line


class LateLoop(VirtualLoop):
    """Wakes up late by up to `most` seconds, as often as that, and takes time for whatever it does."""

    def __init__(self, seed: int, most: float, often: float) -> None:
        self._dice = random.Random(seed)
        self._most = most
        self._often = often
        super().__init__()

    def time(self) -> float:
        self._virtual += self._dice.random() * 0.000_02
        return self._virtual

    def _jump(self, timeout: float | None) -> float | None:
        before = self._virtual
        wait = super()._jump(timeout)
        if self._virtual > before and self._dice.random() < self._often:
            self._virtual += self._dice.random() * self._most
        return wait


TALK = (
    PAUSE * 2 + line("hello") + PAUSE * 2 + line("mhm") + PAUSE * 2 + line("interrupt") + PAUSE * 3
    + line("day") + line("interview") + PAUSE * 4 + line("bye")
)  # fmt: skip


def lived_through(folder: Path, loop: LateLoop, first_ms: int) -> tuple[list[str], list[AnyFact]]:
    path = folder / "call.journal"
    told = engines(
        transcriber=ScriptedTranscriber(
            ["Hi there.", "Mm-hm.", "Wait, sorry, can I ask?", "What is new?", "I have to go."],
            delay_ms=150, model="ear",
        ),
        thinker=ScriptedThinker(
            ["Well, that is a long story, and it begins in the spring of last year. It goes on. And on."] * 9,
            first_ms=203, piece_ms=31, model="mind",
        ),
        speaker=ScriptedSpeaker(first_ms=first_ms, piece_ms=17, model="voice"),
    )  # fmt: skip
    call = run_call(call_of(), TALK, told, voice="nora", journal=path, wav=folder / "call.wav")
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(call)
    facts = read(path.with_suffix(".traffic"))
    assert complete(facts)
    return read_lines(path), facts


@pytest.mark.parametrize("first_ms", [5, 81, 703])
@pytest.mark.parametrize(("most", "often"), [(0.05, 0.3), (0.05, 1.0), (0.3, 0.05), (0.3, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_a_call_that_fell_behind_comes_out_the_same(
    seed: int, most: float, often: float, first_ms: int, tmp_path: Path
) -> None:
    lines, facts = lived_through(tmp_path, LateLoop(seed, most, often), first_ms)
    assert replay_call(lines, facts).replay.difference is None


# -- what a tape tells of the order, and what is made of it ----------------------------------


def test_an_event_is_told_by_the_moment_in_which_it_was_posted() -> None:
    moments = Moments()
    moments.step()  # the first event's step
    moments.posted()
    moments.step()
    moments.posted()
    moments.posted()
    assert moments.after == (4, 2)
    moments.taken()
    assert moments.told() == [1]
    moments.step()
    moments.thrown([False, True])
    moments.posted()
    assert moments.after == (4, 3)
    moments.taken()
    moments.taken()
    assert moments.told() == [2, 3]
    assert moments.told() == []


def recorded(*events: ev.Event) -> list[Step]:
    return [*steps([journal.event_line(event) for event in (started(), *events)])]


def piece(text: str) -> ev.ReplyPiece:
    return ev.ReplyPiece(Millis(0), 1, text)


CHUNK = ev.AudioQueued(Millis(0), 1, 1, 400, "digest")


@pytest.mark.parametrize(("moments", "first"), [([2, 2], True), ([2, 4], False), ([], False)])
def test_sound_is_sent_in_the_moment_in_which_it_was_and_not_in_its_turn(
    moments: list[int], first: bool
) -> None:
    async def main() -> None:
        score = Score(recorded(piece("one"), CHUNK), [Posted(moments)] if moments else [])
        sent: list[ev.Event] = []

        async def send() -> None:
            await score.room(0.4)
            sent.append(CHUNK)
            score.put_nowait(CHUNK)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            score.put_nowait(piece("one"))
            assert await score.get() == piece("one")
            assert bool(sent) == first
            assert await score.get() == CHUNK

    run_virtual(main())


def test_between_two_events_that_waited_together_nobody_gets_a_turn() -> None:
    async def main() -> None:
        score = Score(recorded(piece("one"), piece("two"), piece("three")), [Posted([2, 2, 6])])
        turns: list[str] = []
        for text in ("one", "two", "three"):
            score.put_nowait(piece(text))
        await score.get()
        asyncio.get_running_loop().call_soon(turns.append, "somebody")
        await score.get()
        assert turns == []
        await asyncio.sleep(0)
        assert turns == ["somebody"]
        await score.get()

    run_virtual(main())


def test_an_engine_is_where_it_was_between_the_same_two_events() -> None:
    done = Spoken(1, 5_000, "Hi.", "voice", cut=False, after=(2, 2))
    late = Spoken(2, 0, "Oh.", "voice", cut=False, after=(3, 4))

    async def main() -> None:
        score = Score(recorded(piece("one"), piece("two")), [Posted([2, 4]), done, late])
        passed: list[Timed] = []

        async def wait_for(fact: Timed) -> None:
            await score.passed(fact)
            passed.append(fact)

        async with asyncio.TaskGroup() as tasks:
            for fact in (done, late):
                tasks.create_task(wait_for(fact))
            for text in ("one", "two"):
                score.put_nowait(piece(text))
            await score.get()
            assert passed == [done]  # though its time by the clock is far off
            await score.get()
            assert passed == [done, late]

    run_virtual(main())


def test_a_reply_given_up_before_anybody_was_asked_takes_no_recorded_one() -> None:
    asked = Asked("mind", 1, 700)
    facts: list[AnyFact] = [asked, Wrote(1, "Yes."), Written(1, "mind", (1, 0, 1, False), cut=False)]

    async def main() -> None:
        thinker = ReplayedThinker(Traffic(facts))

        async def first_piece() -> object:
            async with thinker.reply([], max_tokens=1, temperature=0.0) as reply:
                return await anext(reply.pieces())

        given_up = asyncio.create_task(first_piece())
        await asyncio.sleep(0.5)
        given_up.cancel()
        assert await first_piece() == "Yes."
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first_piece(), 60)  # was never asked for, so nothing is known of it

    run_virtual(main())


def test_an_utterance_given_up_before_anybody_was_asked_takes_no_recorded_one() -> None:
    facts: list[AnyFact] = [
        VoiceOpened(1, 0), Asked("voice", 1, 700), Spoke(1, b"hi"), Spoken(1, 900, "Hi.", "voice", cut=False),
    ]  # fmt: skip

    async def main() -> None:
        async with ReplayedSpeaker(Traffic(facts), ("voice",)).open("nora") as voice:

            async def first_piece() -> bytes:
                return await anext(voice.speak("Hi."))

            given_up = asyncio.create_task(first_piece())
            await asyncio.sleep(0.5)
            assert not voice.sent
            given_up.cancel()
            assert await first_piece() == b"hi"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(first_piece(), 60)

    run_virtual(main())


def test_an_utterance_begins_when_it_did_and_not_before() -> None:
    async def main() -> None:
        posted: list[ev.Event] = []
        facts: list[AnyFact] = [Asked("mouth", 1, 700), Asked("mouth", 2, 900)]
        clips = Clips()
        clips.put("voice", "nora", "Hi.", b"\xff" * 800)
        turns = Turns(Traffic(facts), "mouth", None)
        mouth = Mouth(
            ScriptedSpeaker(model="voice"), "nora", clips, Clock(),
            lambda event: posted.append(event(Millis(0))), begins=turns.next,
        )  # fmt: skip
        mouth.attach(Phone())
        running = asyncio.create_task(mouth.run())
        mouth.say(1, "Hi.")
        await asyncio.sleep(0.5)
        assert posted == []
        mouth.hush()  # it was hushed before anybody was paid for it
        assert posted == [ev.SpeechSkipped(Millis(0), 1)]
        mouth.say(2, "Hi.")
        await asyncio.sleep(0.5)
        assert posted[1] == ev.SpeechBought(Millis(0), 2, "voice")
        running.cancel()

    run_virtual(main())


def test_a_phrase_that_was_not_begun_keeps_its_place() -> None:
    """What fails and is told makes the call say something else before the mouth looks for a phrase to render."""

    async def main() -> None:
        facts: list[AnyFact] = [Asked("mouth", 1, 700), Asked("mouth", 2, 1_000)]
        speaker = ScriptedSpeaker(first_ms=10, model="voice")
        mouth = Mouth(
            speaker,
            "nora",
            Clips(),
            Clock(),
            lambda _: None,
            begins=Turns(Traffic(facts), "mouth", None).next,
        )
        mouth.attach(Phone())
        mouth.prepare(["First.", "Second."])
        running = asyncio.create_task(mouth.run())
        await asyncio.sleep(0.5)
        mouth.say(1, "Now.")
        await asyncio.sleep(9)
        assert [*speaker.spoken] == ["Now.", "First."]
        running.cancel()

    run_virtual(main())


def test_a_tape_tells_when_each_utterance_began(tmp_path: Path) -> None:
    lines, facts = lived_through(tmp_path, LateLoop(0, 0.05, 1.0), 81)
    begun = [fact.of for fact in facts if isinstance(fact, Asked) and fact.seam == "mouth"]
    bought = [step for step in steps(lines) if isinstance(step.event, ev.SpeechBought)]
    assert begun == [*range(1, len(begun) + 1)]
    assert len(begun) >= len(bought) > 3


class Gate:
    """A speaker whose sound comes when the test says so."""

    models = ("voice",)
    model = "voice"
    sent = True

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.spoken: list[str] = []

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        yield self

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        self.spoken.append(text)
        await self.opened.wait()
        yield b"\xff" * 800


def test_a_phrase_that_gave_way_did_so_even_if_it_was_done_in_the_same_moment() -> None:
    async def main() -> None:
        speaker = Gate()
        mouth = Mouth(speaker, "nora", Clips(), Clock(), lambda _: None)
        mouth.attach(Phone())
        mouth.prepare(["First."])
        running = asyncio.create_task(mouth.run())
        await asyncio.sleep(1)
        speaker.opened.set()
        mouth.say(1, "Now.")
        await asyncio.sleep(1)
        assert speaker.spoken == ["First.", "Now.", "First."]
        running.cancel()

    run_virtual(main())
