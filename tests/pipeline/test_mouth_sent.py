"""Characters are paid from when their text is out: hosted voices, hushed on either side of that moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core.events import Event, SpeechBought, SpeechSkipped
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.breaker import Breaker
from pipeline.engines.deepgram.aura import AuraSettings, AuraSpeaker
from pipeline.engines.elevenlabs import ElevenLabsSettings, ElevenLabsSpeaker
from pipeline.engines.failover import FailoverSpeaker
from pipeline.engines.replayed import ReplayedSpeaker, Traffic
from pipeline.engines.scripted import ScriptedSpeaker
from pipeline.mouth import Mouth
from pipeline.taped import TapedSpeaker
from pipeline.traffic import Spoken, Tape, read
from tests.emulators.aura import Aura
from tests.emulators.elevenlabs import ElevenLabs
from tests.emulators.sounding import KEY, Plan, Then, When, only
from tests.pipeline.scene import Wire

ONE, TWO = "The first sentence of two.", "And the second."
LOST_AFTER = only(Plan(when=When.AFTER, then=Then.ABORT))
"""The socket is gone once the first utterance is over."""
MODELS = {"elevenlabs": "eleven_flash_v2_5", "aura": "aura-2"}
VENDORS = tuple(MODELS)


@dataclass
class Desk:
    """A mouth, the vendor behind it, and what is paid."""

    mouth: Mouth
    vendor: ElevenLabs | Aura
    posted: list[Event]

    @property
    def paid(self) -> dict[int, str]:
        """Who is paid for each utterance, "-" for nobody."""
        return {
            event.utterance: event.model if isinstance(event, SpeechBought) else "-"
            for event in self.posted
            if isinstance(event, SpeechBought | SpeechSkipped)
        }


def at_desk(
    name: str,
    script: Callable[[Desk], Awaitable[None]],
    around: Callable[[Speaker], Speaker] = lambda speaker: speaker,
) -> Desk:
    """Run a mouth with a hosted voice and a script beside it; the first utterance is over by then, the socket gone."""

    async def main() -> Desk:
        clock, posted = Clock(), list[Event]()

        def post(event: Callable[[Millis], Event]) -> None:
            posted.append(event(clock.millis()))

        async with AsyncExitStack() as stack:
            vendor: ElevenLabs | Aura
            speaker: Speaker
            if name == "elevenlabs":
                vendor = await stack.enter_async_context(ElevenLabs(plan=LOST_AFTER))
                speaker = ElevenLabsSpeaker(ElevenLabsSettings(KEY, vendor.url))
            else:
                vendor = await stack.enter_async_context(Aura(plan=LOST_AFTER))
                speaker = AuraSpeaker(AuraSettings(KEY, vendor.url))
            mouth = Mouth(around(speaker), "sarah", Clips(), clock, post)
            mouth.attach(Wire(clock))
            desk = Desk(mouth, vendor, posted)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(mouth.run())
                mouth.say(1, ONE)
                for chunk in range(1, 40):
                    await asyncio.sleep(0.1)
                    mouth.played(chunk)
                assert desk.paid == {1: MODELS[name]}
                assert vendor.now_open == 0
                await script(desk)
                running.cancel()
            assert vendor.violations == []
        return desk

    return run_virtual(main(), grace=0.001)


def hushed_after(seconds: float, plan: Plan) -> Callable[[Desk], Awaitable[None]]:
    async def script(desk: Desk) -> None:
        desk.vendor.plan = plan
        desk.mouth.say(2, TWO)
        await asyncio.sleep(seconds)
        desk.mouth.hush()
        await asyncio.sleep(1)

    return script


@pytest.mark.parametrize("name", VENDORS)
def test_hushed_while_it_connects_anew_it_costs_nothing(name: str) -> None:
    desk = at_desk(name, hushed_after(0.5, Plan(hangs=True)))
    assert desk.vendor.handshakes == 2
    assert desk.paid[2] == "-"
    assert desk.vendor.characters == len(ONE)


@pytest.mark.parametrize("name", VENDORS)
def test_hushed_once_its_text_was_sent_it_is_paid_though_nothing_was_heard(name: str) -> None:
    desk = at_desk(name, hushed_after(0.5, Plan(first_ms=2_000)))
    assert desk.paid[2] == MODELS[name]
    assert desk.vendor.spoken[-1].sounded == 0
    assert desk.vendor.characters == len(ONE) + len(TWO)


@pytest.mark.parametrize("name", VENDORS)
def test_what_is_said_after_such_a_hush_is_paid_once(name: str) -> None:
    async def script(desk: Desk) -> None:
        await hushed_after(0.5, Plan(hangs=True))(desk)
        desk.vendor.plan = Plan()
        await asyncio.sleep(3)
        desk.mouth.say(3, TWO)
        await asyncio.sleep(4)

    desk = at_desk(name, script)
    assert desk.paid[3] == MODELS[name]
    assert desk.vendor.characters == len(ONE) + len(TWO)
    assert len([event for event in desk.posted if isinstance(event, SpeechBought)]) == 2


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("text", ["...", "?!"])
def test_what_has_no_sound_and_is_not_sent_costs_nothing(name: str, text: str) -> None:
    async def script(desk: Desk) -> None:
        desk.mouth.say(2, text)
        await asyncio.sleep(1)

    desk = at_desk(name, script)
    assert desk.paid[2] == "-"
    assert desk.vendor.characters == len(ONE)


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize(
    ("seconds", "paid"),
    [
        (0.5, "-"),  # the first one connects
        (1.2, "-"),  # it was given up, and the second one is being opened
        (1.7, "second"),  # which has the text, and has made no sound of it
        (4.0, "second"),
    ],
)
def test_of_several_the_one_that_has_the_text_is_paid(name: str, seconds: float, paid: str) -> None:
    def in_a_row(first: Speaker) -> Speaker:
        second = Reluctant(ScriptedSpeaker(first_ms=400, model="second"))
        return FailoverSpeaker([(first, Breaker("a", Clock())), (second, Breaker("b", Clock()))], 1.0)

    desk = at_desk(name, hushed_after(seconds, Plan(hangs=True)), in_a_row)
    assert desk.paid[2] == paid
    assert desk.vendor.characters == len(ONE)


@dataclass(frozen=True)
class Reluctant:
    """Takes half a second to be opened."""

    inner: ScriptedSpeaker

    @property
    def models(self) -> tuple[str, ...]:
        return self.inner.models

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        await asyncio.sleep(0.5)
        async with self.inner.open(voice) as opened:
            yield opened


@pytest.mark.parametrize(("plan", "sent"), [(Plan(hangs=True), False), (Plan(first_ms=2_000), True)])
def test_a_recorded_call_pays_the_same(plan: Plan, sent: bool, tmp_path: Path) -> None:
    path = tmp_path / "call.traffic"

    def taped(speaker: Speaker) -> Speaker:
        tapes.append(Tape(path, Clock()))
        return TapedSpeaker(speaker, tapes[0])

    async def script(desk: Desk) -> None:
        await hushed_after(0.5, plan)(desk)
        tapes[0].close()

    tapes: list[Tape] = []
    at_desk("elevenlabs", script, taped)
    facts = read(path)
    assert [(each.text, each.cut, each.sent) for each in facts if isinstance(each, Spoken)] == [
        (ONE, False, True),
        (TWO, True, sent),
    ]

    async def main() -> None:
        async with ReplayedSpeaker(Traffic(facts), ("eleven_flash_v2_5",)).open("sarah") as voice:
            assert not voice.sent
            async with asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(anext(voice.speak(TWO)))
                await asyncio.sleep(9)
                assert voice.sent == sent
                speaking.cancel()

    run_virtual(main())
