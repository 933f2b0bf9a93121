"""The agent's voice: in order, ahead of playback but not far, silent at once when hushed."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clips import Clips
from pipeline.core import events as ev
from pipeline.core.money import Millis
from pipeline.engines.scripted import ScriptedSpeaker
from pipeline.outgoing import BYTES_PER_S, CHUNK_BYTES
from pipeline.pacer import AHEAD_S
from tests.pipeline.scene import Scene, rendered, saying, scene

LONG = "This sentence goes on for a good while, " * 6

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
        bought, audible, *chunks, last = played.of(number)
        assert bought == ev.SpeechBought(bought.at, number, "scripted")
        assert isinstance(audible, ev.Audible)
        assert last == ev.UtteranceQueued(last.at, number, len(rendered(text)) // 8)
        assert all(isinstance(event, ev.AudioQueued) for event in chunks)
        assert (
            sum(event.ms for event in chunks if isinstance(event, ev.AudioQueued)) == len(rendered(text)) // 8
        )


def test_an_utterance_without_sound_is_over_at_once() -> None:
    played = scene(saying("..."), ScriptedSpeaker(silent=True))
    assert played.posted == [
        ev.SpeechBought(Millis(0), 1, "scripted"),
        ev.UtteranceQueued(Millis(0), 1, 0),
    ]


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
    assert (played.posted, played.wire.cleared) == ([ev.SpeechSkipped(Millis(0), 1)], [])


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
