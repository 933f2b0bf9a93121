"""What the mouth tells of each utterance: who is paid for it, when it is audible, how loud the agent is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.audio.echo import LATELY_MS
from pipeline.audio.mulaw import loudness
from pipeline.clips import Clips
from pipeline.core import events as ev
from pipeline.core.errors import AllDown, EngineError
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.scripted import ScriptedSpeaker
from tests.pipeline.scene import BYTES_A_MS, Murmur, Scene, carrier, saying, scene

LINGERS_S = LATELY_MS / 1000 + 0.032
LOUD, QUIET = b"\x10\x90" * 4, b"\xff" * 8


def sound(*parts: tuple[int, bytes]) -> bytes:
    """Milliseconds of each."""
    return b"".join(part * ms for ms, part in parts)


@dataclass
class Recital:
    """Says of each text the sound it is given. `breaks` says on closing that it could not be closed."""

    sounds: dict[str, bytes]
    first_ms: int = 0
    breaks: bool = False
    models: tuple[str, ...] = ("first", "second")
    by: str = "first"
    closed: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        yield RecitalVoice(self)


@dataclass
class RecitalVoice:
    script: Recital
    model: str = "first"
    sent: bool = True

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        try:
            await asyncio.sleep(self.script.first_ms / 1000)
            self.model = self.script.by
            yield self.script.sounds[text]
        finally:
            if self.script.breaks:
                await asyncio.sleep(0.05)
            self.script.closed.append(text)
            if self.script.breaks:
                raise EngineError("could not be closed")


# -- who is paid -------------------------------------------------------------------------

PRICED = (ev.SpeechBought, ev.SpeechSkipped)


def prices(played: Scene) -> list[tuple[int, str]]:
    """Each utterance with who is paid for it, "-" for nobody."""
    return [
        (event.utterance, event.model if isinstance(event, ev.SpeechBought) else "-")
        for event in played.posted
        if isinstance(event, PRICED)
    ]


def hushed(after_ms: float, *texts: str) -> Callable[[Scene], Awaitable[None]]:
    async def script(played: Scene) -> None:
        for number, text in enumerate(texts, start=1):
            played.mouth.say(number, text)
        await asyncio.sleep(after_ms / 1000)
        played.mouth.hush()
        await asyncio.sleep(30)

    return script


ONE, TWO = "The first sentence of two.", "And the second."


@pytest.mark.parametrize(
    ("after_ms", "paid"),
    [
        (1, {1: "scripted", 2: "-"}),  # its text was sent, and no sound has come
        (99, {1: "scripted", 2: "-"}),
        (100, {1: "scripted", 2: "-"}),  # at its first sound
        (101, {1: "scripted", 2: "-"}),
        (200, {1: "scripted", 2: "-"}),
        (500, {1: "scripted", 2: "scripted"}),  # the second is being rendered, the first still plays
    ],
)
def test_hushed_whoever_has_the_text_is_paid(after_ms: int, paid: dict[int, str]) -> None:
    played = scene(hushed(after_ms, ONE, TWO), ScriptedSpeaker(first_ms=100, piece_ms=20, ms_a_character=60))
    assert len(prices(played)) == 2
    assert dict(prices(played)) == paid


def test_hushed_in_the_very_moment_it_was_said_it_costs_nothing() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, ONE)
        played.mouth.hush()
        await asyncio.sleep(0)
        played.mouth.say(2, TWO)
        await asyncio.sleep(0)  # the mouth has taken it, and not begun
        played.mouth.hush()
        await asyncio.sleep(5)

    speaker = ScriptedSpeaker()
    assert prices(scene(script, speaker)) == [(1, "-"), (2, "-")]
    assert not speaker.spoken


def test_a_rendered_phrase_is_paid_to_the_model_that_rendered_it_also_when_hushed() -> None:
    clips = Clips()
    clips.put("second", "nora", ONE, sound((9_000, LOUD)))
    for script in (saying(ONE), hushed(1_000, ONE)):
        assert prices(scene(script, Recital({}), clips=clips)) == [(1, "second")]


def test_the_model_that_spoke_is_paid_and_not_the_one_that_was_asked() -> None:
    """Of several engines in a row the one that gives the sound."""
    played = scene(saying(ONE), Recital({ONE: sound((500, LOUD))}, first_ms=100, by="second"))
    assert prices(played) == [(1, "second")]


def test_silence_is_paid_too() -> None:
    assert prices(scene(saying("..."), ScriptedSpeaker(silent=True))) == [(1, "scripted")]


@pytest.mark.parametrize(("pieces", "paid"), [(0, []), (1, [(1, "scripted")]), (3, [(1, "scripted")])])
def test_an_engine_that_fails_is_paid_from_its_first_sound_on(
    pieces: int, paid: list[tuple[int, str]]
) -> None:
    played = scene(saying(ONE), ScriptedSpeaker(fails_on=lambda text: True, fails_after=pieces))
    assert prices(played) == paid
    assert [event.ref for event in played.posts(ev.EngineFailed)] == [1]
    assert not played.posts(ev.UtteranceQueued)


def test_what_failed_is_not_paid_for_by_a_hush_in_the_same_moment() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, ONE)
        for _ in range(50):
            await asyncio.sleep(0)
            if played.posts(ev.EngineFailed):
                break
        played.mouth.hush()
        await asyncio.sleep(5)

    assert prices(scene(script, ScriptedSpeaker(fails_on=lambda text: True))) == []


@dataclass
class Shut:
    error: EngineError
    models: tuple[str, ...] = ("shut",)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        raise self.error
        yield  # type: ignore[unreachable]  # makes it a generator


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EngineError("no"), "failed"),
        (EngineError("later", retryable=True), "retryable"),
        (AllDown(None), "all_down"),
    ],
)
def test_an_engine_that_cannot_be_opened_is_not_paid(error: EngineError, kind: str) -> None:
    played = scene(saying(ONE), Shut(error))
    assert played.posted == [ev.EngineFailed(Millis(0), "tts", 1, kind)]


def test_an_engine_that_cannot_be_closed_after_a_hush_is_no_news() -> None:
    """Nobody waits for that utterance any more; and a second hush does not cut its closing short."""

    async def script(played: Scene) -> None:
        played.mouth.say(1, ONE)
        await asyncio.sleep(1)
        played.mouth.hush()
        await asyncio.sleep(0.01)
        played.mouth.hush()
        await asyncio.sleep(1)
        played.mouth.say(2, TWO)
        await asyncio.sleep(5)

    recital = Recital({ONE: sound((9_000, LOUD)), TWO: sound((500, LOUD))}, breaks=True)
    played = scene(script, recital)
    assert prices(played) == [(1, "first"), (2, "first")]
    assert [event.ref for event in played.posts(ev.EngineFailed)] == [2], "which was waited for"
    assert recital.closed == [ONE, TWO]


# -- when it is audible ------------------------------------------------------------------


def audible(played: Scene) -> list[tuple[int, int]]:
    """Each utterance told of, and when its first audible sample is said to play."""
    return [(event.utterance, event.at + event.ahead_ms) for event in played.posts(ev.Audible)]


def test_the_first_audible_sample_is_told_to_the_frame() -> None:
    """Engines put some quiet in front of what they say."""
    played = scene(saying(ONE), Recital({ONE: sound((130, QUIET), (900, LOUD))}, first_ms=200))
    assert audible(played) == [(1, 200 + 120)]


def test_behind_another_utterance_it_is_audible_when_that_one_is_over() -> None:
    sounds = {ONE: sound((1_500, LOUD)), TWO: sound((60, QUIET), (400, LOUD))}
    played = scene(saying(ONE, TWO), Recital(sounds))
    assert audible(played) == [(1, 0), (2, 1_560)]
    assert all(event.at == 0 for event in played.posts(ev.Audible)), "told ahead of time"


@pytest.mark.parametrize("lead_ms", [400, 420, 790, 1_210, 2_900])
def test_a_quiet_chunk_in_front_is_counted(lead_ms: int) -> None:
    played = scene(saying(ONE), Recital({ONE: sound((lead_ms, QUIET), (900, LOUD))}))
    ((number, at),) = audible(played)
    assert number == 1
    assert lead_ms - 20 < at <= lead_ms


def test_what_is_quiet_all_along_is_never_audible() -> None:
    played = scene(saying(ONE), Recital({ONE: sound((900, QUIET), (1, LOUD), (900, QUIET))}))
    assert not played.posts(ev.Audible), "nor is a click"
    assert played.posts(ev.UtteranceQueued)


@pytest.mark.parametrize("engine", [Murmur(), Murmur(first_ms=150, piece_ms=170)])
def test_it_plays_when_it_was_said_to(engine: Murmur) -> None:
    """Against the carrier's own playback."""
    begun: dict[int, float] = {}
    texts = (ONE, TWO, "A third one.")

    async def script(played: Scene) -> None:
        for number, text in enumerate(texts, start=1):
            played.mouth.say(number, text)
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            for number, _ in played.heard:
                begun.setdefault(number, played.wire.clock.seconds())

    played = scene(script, engine, line=carrier())
    first_chunk = {number: next(s for n, s in played.heard if n == number) for number in (1, 2, 3)}
    for number, at in audible(played):
        over = 1_000 * begun[number] - len(first_chunk[number]) / BYTES_A_MS
        assert abs(over - at) <= 20
    assert [number for number, _ in audible(played)] == [1, 2, 3]


# -- how loud the agent is ---------------------------------------------------------------


def levels(script: Callable[[Scene], Awaitable[None]], speaker: Speaker) -> Scene:
    return scene(script, speaker, line=carrier())


def test_the_agent_is_as_loud_as_what_plays() -> None:
    loud, soft = sound((600, LOUD)), sound((600, b"\x40\xc0" * 4))

    async def script(played: Scene) -> None:
        mouth = played.mouth
        assert mouth.loudness() == 0
        mouth.say(1, ONE)
        mouth.say(2, TWO)
        await asyncio.sleep(0.1)
        assert mouth.loudness() == loudness(loud)
        await asyncio.sleep(0.6 + LINGERS_S)
        assert mouth.loudness() == loudness(soft), "the loud one is over, and its echo too"
        await asyncio.sleep(LINGERS_S)
        assert mouth.loudness() == 0

    levels(script, Recital({ONE: loud, TWO: soft}))
    assert loudness(loud) > 3 * loudness(soft) > 0


def test_what_is_only_sent_is_not_loud_yet() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, ONE)
        await asyncio.sleep(0.5)
        assert played.carrier.ahead_s > 1
        assert played.mouth.loudness() == 0
        await asyncio.sleep(0.55)
        assert played.mouth.loudness() > 0

    levels(script, Recital({ONE: sound((1_000, QUIET), (1_000, LOUD))}))


@pytest.mark.parametrize("stop", [lambda mouth: mouth.pause(), lambda mouth: mouth.hush()])
def test_stopped_it_falls_silent_when_its_echo_has(stop: Callable[[object], None]) -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, ONE)
        await asyncio.sleep(0.75)
        stop(played.mouth)
        assert played.mouth.loudness() > 0
        await asyncio.sleep(LINGERS_S + 0.01)
        assert played.mouth.loudness() == 0, "what was taken back does not play"
        played.mouth.resume()
        await asyncio.sleep(0.01)
        assert (played.mouth.loudness() > 0) == bool(played.carrier.ahead_s)

    levels(script, Murmur())
