"""The agent's voice: in order, ahead of playback but not far, silent at once when hushed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.clips import Clips
from pipeline.clock import Clock, run_virtual
from pipeline.core import events as ev
from pipeline.core.errors import EngineError
from pipeline.core.events import Event
from pipeline.core.money import Millis
from pipeline.engines.base import Speaker, Voice
from pipeline.engines.scripted import ScriptedSpeaker
from pipeline.mouth import AHEAD_S, BYTES_PER_S, CHUNK_BYTES, PATIENCE_S, Mouth

LONG = "This sentence goes on for a good while, " * 6


@dataclass
class Wire:
    """A line that notes when what was sent."""

    clock: Clock
    sent: list[tuple[float, int, bytes]] = field(default_factory=list)
    cleared: list[float] = field(default_factory=list)

    def play(self, chunk: int, mulaw: bytes) -> None:
        self.sent.append((self.clock.seconds(), chunk, mulaw))

    def clear(self) -> None:
        self.cleared.append(self.clock.seconds())

    async def close(self) -> None: ...

    @property
    def sound(self) -> bytes:
        return b"".join(sound for _, _, sound in self.sent)


@dataclass
class Scene:
    mouth: Mouth
    wire: Wire
    posted: list[Event]

    def posts(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.posted if isinstance(event, kind)]


def scene(
    script: Callable[[Scene], Awaitable[None]],
    speaker: Speaker | None = None,
    *,
    clips: Clips | None = None,
    attached: bool = True,
) -> Scene:
    """Run a mouth and a script beside it, in virtual time, until the script is over."""

    async def main() -> Scene:
        clock = Clock()
        posted: list[Event] = []

        def post(event: Callable[[Millis], Event]) -> None:
            posted.append(event(clock.millis()))

        mouth = Mouth(speaker or ScriptedSpeaker(), "nora", Clips() if clips is None else clips, clock, post)
        played = Scene(mouth, Wire(clock), posted)
        if attached:
            mouth.attach(played.wire)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(mouth.run())
            await script(played)
            running.cancel()
        assert len(asyncio.all_tasks()) == 1
        return played

    return run_virtual(main())


def saying(*texts: str, wait: float = 60.0) -> Callable[[Scene], Awaitable[None]]:
    async def script(played: Scene) -> None:
        for number, text in enumerate(texts, start=1):
            played.mouth.say(number, text)
        await asyncio.sleep(wait)

    return script


def rendered(text: str) -> bytes:
    """What the scripted engine makes of a text, by itself."""

    async def main() -> bytes:
        async with ScriptedSpeaker().open("nora") as voice:
            return b"".join([piece async for piece in voice.speak(text)])

    return run_virtual(main())


# -- order and pace ----------------------------------------------------------------------


def test_utterances_go_out_whole_and_in_order() -> None:
    played = scene(saying("First.", "Second one.", "Third."))
    assert played.wire.sound == rendered("First.") + rendered("Second one.") + rendered("Third.")
    assert [chunk for _, chunk, _ in played.wire.sent] == list(range(1, len(played.wire.sent) + 1))


def test_a_chunk_is_at_most_400_ms_and_is_told_with_its_length_and_digest() -> None:
    played = scene(saying("First.", LONG))
    queued = [event for event in played.posted if isinstance(event, ev.AudioQueued)]
    assert [event.chunk for event in queued] == [chunk for _, chunk, _ in played.wire.sent]
    for event, (_, _, sound) in zip(queued, played.wire.sent, strict=True):
        assert 0 < len(sound) <= CHUNK_BYTES == 3200
        assert event.ms == len(sound) // 8
    digests = {event.digest: sound for event, (_, _, sound) in zip(queued, played.wire.sent, strict=True)}
    assert len(digests) == len({sound for _, _, sound in played.wire.sent})
    assert all(len(digest) == 16 for digest in digests)


def test_an_utterance_is_over_only_after_all_its_sound() -> None:
    played = scene(saying("First.", LONG))
    for number, text in ((1, "First."), (2, LONG)):
        events = [event for event in played.posted if getattr(event, "utterance", 0) == number]
        *chunks, last = events
        assert last == ev.UtteranceQueued(last.at, number, len(rendered(text)) // 8)
        assert all(isinstance(event, ev.AudioQueued) for event in chunks)
        assert (
            sum(event.ms for event in chunks if isinstance(event, ev.AudioQueued)) == len(rendered(text)) // 8
        )


def test_an_utterance_without_sound_is_over_at_once() -> None:
    played = scene(saying("..."), ScriptedSpeaker(silent=True))
    assert [type(event) for event in played.posted] == [ev.UtteranceQueued]


@pytest.mark.parametrize("clipped", [False, True])
def test_sound_is_sent_ahead_but_never_more_than_two_seconds_and_a_chunk(clipped: bool) -> None:
    clips = Clips()
    if clipped:
        clips.put("scripted", "nora", LONG, rendered(LONG))
    played = scene(saying(LONG, LONG), clips=clips)
    begun, queued, most = played.wire.sent[0][0], 0.0, 0.0
    for at, _, sound in played.wire.sent:
        queued += len(sound) / BYTES_PER_S
        ahead = queued - (at - begun)
        most = max(most, ahead)
        assert 0 < ahead <= AHEAD_S + CHUNK_BYTES / BYTES_PER_S + 1e-6
    assert most > AHEAD_S, "it does run ahead"


def test_a_pause_does_not_let_it_run_further_ahead() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, "First.")
        await asyncio.sleep(60)
        played.mouth.say(2, LONG)
        await asyncio.sleep(60)

    played = scene(script)
    late = [(at, sound) for at, _, sound in played.wire.sent if at >= 60]
    assert sum(len(sound) for at, sound in late if at < 60.1) <= (AHEAD_S + 0.4) * BYTES_PER_S


def test_nothing_is_lost_while_there_is_no_line_yet() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, "First.")
        await asyncio.sleep(5)
        assert not played.wire.sent
        played.mouth.attach(played.wire)
        await asyncio.sleep(5)

    assert scene(script, attached=False).wire.sound == rendered("First.")


# -- hush --------------------------------------------------------------------------------


def test_hush_drops_what_plays_and_what_waits_here_and_at_the_line() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, LONG)
        played.mouth.say(2, "Never said.")
        await asyncio.sleep(3)
        sent = len(played.wire.sent)
        played.mouth.hush()
        assert len(played.wire.cleared) == 1
        await asyncio.sleep(30)
        assert len(played.wire.sent) == sent
        played.mouth.say(3, "After.")
        await asyncio.sleep(5)

    played = scene(script)
    assert played.wire.sound.endswith(rendered("After."))
    assert [event for event in played.posted if isinstance(event, ev.UtteranceQueued)] == [
        ev.UtteranceQueued(Millis(33_000), 3, len(rendered("After.")) // 8)
    ]


@pytest.mark.parametrize("after_ms", [0, 1, 50, 100, 150, 199, 200, 201, 250, 400])
def test_late_sound_of_the_engine_never_reaches_the_line(after_ms: int) -> None:
    """Whatever the engine is at when it is hushed: opening, waiting, giving a piece."""

    async def script(played: Scene) -> None:
        played.mouth.say(1, LONG)
        await asyncio.sleep(after_ms / 1000)
        played.mouth.hush()
        sent = len(played.wire.sent)
        await asyncio.sleep(30)
        assert len(played.wire.sent) == sent

    played = scene(script, ScriptedSpeaker(first_ms=100, piece_ms=50))
    assert not played.posts(ev.UtteranceQueued)
    assert not played.posts(ev.EngineFailed)


def test_after_a_hush_it_starts_at_once_and_not_behind_what_was_dropped() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, LONG)
        await asyncio.sleep(1)
        played.mouth.hush()
        played.mouth.say(2, "After.")
        await asyncio.sleep(5)

    played = scene(script)
    assert next(event.at for event in played.posted if getattr(event, "utterance", 0) == 2) == 1_000


def test_hush_without_a_line_or_a_word_is_harmless() -> None:
    async def script(played: Scene) -> None:
        played.mouth.hush()
        played.mouth.say(1, "Hi.")
        played.mouth.hush()
        await asyncio.sleep(5)

    played = scene(script, attached=False)
    assert (played.posted, played.wire.cleared) == ([], [])


# -- phrases -----------------------------------------------------------------------------


def test_a_prepared_phrase_is_rendered_once_a_process_and_starts_at_once() -> None:
    clips, speaker = Clips(), ScriptedSpeaker(first_ms=500)

    async def script(played: Scene) -> None:
        played.mouth.prepare(["Hello.", "Goodbye."])
        await asyncio.sleep(10)
        begun = played.wire.clock.seconds()
        played.mouth.say(1, "Goodbye.")
        await asyncio.sleep(10)
        assert played.wire.sent[0][0] == begun

    goodbye = rendered("Goodbye.")
    for _ in range(3):
        assert scene(script, speaker, clips=clips).wire.sound == goodbye
    assert sorted(speaker.spoken) == ["Goodbye.", "Hello."]


def test_a_phrase_said_before_it_was_prepared_is_kept_then() -> None:
    clips, speaker = Clips(), ScriptedSpeaker(first_ms=500)

    async def script(played: Scene) -> None:
        played.mouth.say(1, "Hello.")
        played.mouth.prepare(["Hello."])
        await asyncio.sleep(10)

    scene(script, speaker, clips=clips)
    assert list(speaker.spoken) == ["Hello."]
    assert clips.get("scripted", "nora", "Hello.") == rendered("Hello.")


def test_what_a_model_wrote_is_not_kept() -> None:
    clips = Clips()
    scene(saying("Once only."), clips=clips)
    assert clips.get("scripted", "nora", "Once only.") is None


def test_preparing_yields_to_an_utterance_and_is_taken_up_again() -> None:
    clips, speaker = Clips(), ScriptedSpeaker(piece_ms=100)

    async def script(played: Scene) -> None:
        played.mouth.prepare([LONG])
        await asyncio.sleep(1)
        played.mouth.say(1, "Now.")
        await asyncio.sleep(0.3)
        assert played.wire.sent, "not behind several seconds of rendering"
        await asyncio.sleep(60)

    scene(script, speaker, clips=clips)
    assert list(speaker.spoken) == [LONG, "Now.", LONG]
    assert clips.get("scripted", "nora", LONG) == rendered(LONG)


def test_a_phrase_another_call_has_rendered_meanwhile_is_not_rendered_again() -> None:
    clips, speaker = Clips(), ScriptedSpeaker(first_ms=100)

    async def script(played: Scene) -> None:
        played.mouth.prepare(["One.", "Two.", "Three."])
        clips.put("scripted", "nora", "Two.", b"sound")
        await asyncio.sleep(10)

    scene(script, speaker, clips=clips)
    assert list(speaker.spoken) == ["One.", "Three."]


def test_a_phrase_that_cannot_be_rendered_is_no_failure_of_the_call() -> None:
    clips = Clips()

    async def script(played: Scene) -> None:
        played.mouth.prepare(["Bad.", "Good."])
        await asyncio.sleep(10)

    played = scene(script, ScriptedSpeaker(fails_on=lambda text: text == "Bad."), clips=clips)
    assert played.posted == []
    assert clips.get("scripted", "nora", "Bad.") is None
    assert clips.get("scripted", "nora", "Good.") is not None


# -- engines that misbehave --------------------------------------------------------------


@dataclass
class OddSpeaker:
    """Hangs on, or breaks at, the texts it is told to; cannot be opened while `shut` lasts."""

    hangs_on: str = ""
    breaks_at: str = ""
    shut: int = 0
    model: str = "odd"
    opened: int = 0
    closed: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self, voice: str) -> AsyncIterator[Voice]:
        self.opened += 1
        if self.opened <= self.shut:
            raise RuntimeError("a bug")
        yield OddVoice(self)


@dataclass
class OddVoice:
    odd: OddSpeaker

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        try:
            if text == self.odd.breaks_at:
                raise RuntimeError("a bug")
            yield b"\x10" * 800
            if text == self.odd.hangs_on:
                await asyncio.Event().wait()
        finally:
            self.odd.closed.append(text)


def failed(played: Scene) -> list[tuple[int, str]]:
    return [(event.ref, event.kind) for event in played.posted if isinstance(event, ev.EngineFailed)]


def test_an_engine_that_hangs_in_mid_sentence_is_given_up_on() -> None:
    odd = OddSpeaker(hangs_on="One.")
    played = scene(saying("One.", "Two."), odd)
    assert failed(played) == [(1, "retryable")]
    assert [event.at for event in played.posts(ev.EngineFailed)] == [PATIENCE_S * 1000]
    assert odd.closed == ["One.", "Two."]


def test_an_engine_that_hangs_while_preparing_does_not_make_the_call_mute() -> None:
    async def script(played: Scene) -> None:
        played.mouth.prepare(["Goodbye."])
        await asyncio.sleep(1)
        played.mouth.say(1, "Hello.")
        await asyncio.sleep(PATIENCE_S)

    odd = OddSpeaker(hangs_on="Goodbye.")
    played = scene(script, odd)
    assert played.posts(ev.UtteranceQueued)
    assert odd.closed == ["Goodbye.", "Hello."]


def test_a_bug_in_the_engine_fails_the_utterance_and_no_more() -> None:
    played = scene(saying("One.", "Two."), OddSpeaker(breaks_at="One."))
    assert failed(played) == [(1, "failed")]
    assert len(played.posts(ev.UtteranceQueued)) == 1


def test_a_bug_while_preparing_is_no_failure_of_the_call() -> None:
    async def script(played: Scene) -> None:
        played.mouth.prepare(["Bad."])
        await asyncio.sleep(1)
        played.mouth.say(1, "Good.")
        await asyncio.sleep(1)

    assert [type(event) for event in scene(script, OddSpeaker(breaks_at="Bad.")).posted] == [
        ev.AudioQueued,
        ev.UtteranceQueued,
    ]


def test_while_the_engine_cannot_be_opened_each_utterance_fails_and_it_is_tried_again() -> None:
    odd = OddSpeaker(shut=2)
    played = scene(saying("One.", "Two.", "Three."), odd)
    assert failed(played) == [(1, "failed"), (2, "failed")]
    assert odd.opened == 3
    assert len(played.posts(ev.UtteranceQueued)) == 1


def test_an_engine_that_cannot_be_opened_is_not_asked_again_until_something_is_to_be_said() -> None:
    odd = OddSpeaker(shut=100)

    async def script(played: Scene) -> None:
        played.mouth.prepare(["Hello."])
        await asyncio.sleep(3_600)

    scene(script, odd)
    assert odd.opened == 1


def test_a_rendered_phrase_is_spoken_also_by_an_engine_that_cannot_be_opened() -> None:
    clips = Clips()
    clips.put("odd", "nora", "Goodbye.", b"\x10" * 4_000)
    played = scene(saying("Hello.", "Goodbye."), OddSpeaker(shut=100), clips=clips)
    assert failed(played) == [(1, "failed")]
    assert played.wire.sound == b"\x10" * 4_000


def test_a_line_that_breaks_fails_the_utterance() -> None:
    class Broken(Wire):
        def play(self, chunk: int, mulaw: bytes) -> None:
            raise EngineError("no") if chunk > 1 else ConnectionError("gone")

    async def script(played: Scene) -> None:
        played.mouth.attach(Broken(played.wire.clock))
        played.mouth.say(1, "Hello.")
        await asyncio.sleep(1)

    assert failed(scene(script)) == [(1, "failed")]
