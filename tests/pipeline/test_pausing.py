"""Stopped and gone on: what was not heard is taken back, and comes again from the last mark on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipeline.clips import Clips
from pipeline.core import events as ev
from pipeline.outgoing import BYTES_PER_S, CHUNK_BYTES
from pipeline.pacer import AHEAD_S
from tests.pipeline.scene import Murmur, Scene, carrier, murmured, scene

STORY = "There was a house by the sea, and in it lived a man who had three clocks. "
SHORT = "One. Two. Three."

Script = Callable[[Scene], Awaitable[None]]

AT_ONCE = Murmur()
SLOWLY = Murmur(first_ms=150, piece_ms=187)
"""Hardly faster than it plays: an utterance is still being rendered when it is paused."""


def act(script: Script, engine: Murmur = AT_ONCE, *, back_s: float = 0.0) -> Scene:
    return scene(script, engine, line=carrier(back_s))


def resent(played: Scene, since: float) -> bytes:
    return b"".join(sound for at, _, sound in played.wire.sent if at >= since)


def heard(played: Scene, utterance: int) -> bytes:
    return b"".join(sound for number, sound in played.heard if number == utterance)


def repeated(first: bytes, second: bytes, whole: bytes) -> int:
    """How much of the first is heard again in the second, which together are the whole."""
    again = len(first) + len(second) - len(whole)
    assert whole[: len(first)] == first
    assert second == whole[len(first) - again :]
    return again


# -- one pause ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [AT_ONCE, SLOWLY])
@pytest.mark.parametrize("at_ms", [403, 557, 1_003, 1_990, 2_400, 3_333, 4_199])
def test_the_rest_comes_again_from_the_last_mark(engine: Murmur, at_ms: int) -> None:
    before = b""

    async def script(played: Scene) -> None:
        nonlocal before
        played.mouth.say(1, STORY)
        await asyncio.sleep(at_ms / 1000)
        played.mouth.pause()
        before = heard(played, 1)
        await asyncio.sleep(1.9)
        assert heard(played, 1) == before, "nothing plays meanwhile"
        played.mouth.resume()
        await asyncio.sleep(10)

    played = act(script, engine)
    whole = murmured(STORY)
    again = resent(played, at_ms / 1000 + 1)
    assert 0 < len(before) < len(whole)
    assert 0 <= repeated(before, again, whole) < CHUNK_BYTES
    assert heard(played, 1) == before + again


def test_with_marks_a_way_off_a_little_more_is_heard_again() -> None:
    """What was played and not proven to have been: the way back and less than a chunk."""
    before = b""

    async def script(played: Scene) -> None:
        nonlocal before
        played.mouth.say(1, STORY)
        await asyncio.sleep(1.3)
        played.mouth.pause()
        before = heard(played, 1)
        await asyncio.sleep(1)
        played.mouth.resume()
        await asyncio.sleep(10)

    played = act(script, back_s=0.3)
    again = resent(played, 1.8)
    assert 0.3 * BYTES_PER_S <= repeated(before, again, murmured(STORY)) < 0.3 * BYTES_PER_S + CHUNK_BYTES


def test_what_the_engine_renders_meanwhile_is_not_sent() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        played.mouth.say(2, SHORT)
        await asyncio.sleep(1)
        played.mouth.pause()
        sent = len(played.wire.sent)
        await asyncio.sleep(20)
        assert len(played.wire.sent) == sent
        assert not played.posts(ev.UtteranceQueued)
        assert not played.posts(ev.EngineFailed), "an engine that is not asked for more is not late"

    act(script, SLOWLY)


@pytest.mark.parametrize("at_ms", [300, 900, 1_007, 1_500, 1_950, 2_500])
def test_several_utterances_go_on_in_their_order(at_ms: int) -> None:
    """At the carrier are the rest of one, all of another and its end, and the beginning of a third."""
    texts = {1: SHORT, 2: "Twelve words.", 3: STORY, 4: SHORT + SHORT}

    async def script(played: Scene) -> None:
        for number, text in texts.items():
            played.mouth.say(number, text)
        await asyncio.sleep(at_ms / 1000)
        played.mouth.pause()
        await asyncio.sleep(1)
        played.mouth.resume()
        await asyncio.sleep(20)

    played = act(script)
    numbers = [number for number, _ in played.heard]
    assert numbers == sorted(numbers)
    extra = 0
    for number, text in texts.items():
        assert in_order(played, number, text) == len(murmured(text))
        extra += len(heard(played, number)) - len(murmured(text))
    assert 0 <= extra < CHUNK_BYTES


def test_paused_before_anything_was_sent_it_waits() -> None:
    async def script(played: Scene) -> None:
        played.mouth.pause()
        played.mouth.say(1, SHORT)
        await asyncio.sleep(5)
        assert not played.wire.sent
        played.mouth.resume()
        await asyncio.sleep(5)

    assert heard(act(script), 1) == murmured(SHORT)


def test_paused_when_all_was_heard_there_is_nothing_to_say_again() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, SHORT)
        await asyncio.sleep(5)
        played.mouth.pause()
        played.mouth.resume()
        await asyncio.sleep(5)

    played = act(script)
    assert played.wire.sound == murmured(SHORT)
    assert len(played.posts(ev.UtteranceQueued)) == 1


def test_an_end_that_comes_after_all_was_heard_survives_a_pause_in_the_same_moment() -> None:
    """The engine says late that it is done; whoever is told of it may have paused just before."""

    async def script(played: Scene) -> None:
        played.mouth.say(1, SHORT)
        await asyncio.sleep(1.6)
        for _ in range(2):
            played.mouth.pause()
            played.mouth.resume()
        assert [event.utterance for event in played.posts(ev.UtteranceQueued)] == [1, 1, 1]
        played.mouth.say(2, STORY)
        await asyncio.sleep(1)  # from the next mark on it is old news
        played.mouth.pause()
        played.mouth.resume()
        await asyncio.sleep(10)

    played = act(script, Murmur(end_ms=1_500))
    assert [event.utterance for event in played.posts(ev.UtteranceQueued)] == [1, 1, 1, 2]
    assert played.wire.sound.startswith(murmured(SHORT) + murmured(STORY)[:1_600])


# -- again and again ---------------------------------------------------------------------


def test_a_second_pause_changes_nothing() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        await asyncio.sleep(1)
        for _ in range(3):
            played.mouth.pause()
            await asyncio.sleep(0.3)
        before = heard(played, 1)
        played.mouth.resume()
        again = len(played.wire.sent)
        played.mouth.resume()
        assert len(played.wire.sent) == again, "nor does a second resume"
        await asyncio.sleep(10)
        assert repeated(before, heard(played, 1)[len(before) :], murmured(STORY)) < CHUNK_BYTES

    act(script)


@pytest.mark.parametrize("engine", [AT_ONCE, SLOWLY])
def test_paused_every_so_often_all_of_it_is_heard(engine: Murmur) -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        played.mouth.say(2, SHORT)
        for _ in range(9):
            await asyncio.sleep(0.731)
            played.mouth.pause()
            await asyncio.sleep(0.25)
            played.mouth.resume()
        await asyncio.sleep(10)

    played = act(script, engine)
    for number, text in ((1, STORY), (2, SHORT)):
        assert in_order(played, number, text) == len(murmured(text))


def in_order(played: Scene, utterance: int, text: str, back_s: float = 0.0) -> int:
    """How far an utterance was heard, each stretch beginning within what was heard before, near its end."""
    whole, reached = murmured(text), 0
    for number, sound in played.heard:
        if number != utterance:
            continue
        start = whole.index(sound)
        assert start <= reached, "a gap"
        assert reached - start < CHUNK_BYTES + back_s * BYTES_PER_S, "more than a chunk again"
        reached = start + len(sound)
    return reached


def test_hushed_while_paused_nothing_is_left() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        played.mouth.say(2, SHORT)
        await asyncio.sleep(1)
        played.mouth.pause()
        played.mouth.hush()
        sent = len(played.wire.sent)
        played.mouth.resume()
        await asyncio.sleep(10)
        assert len(played.wire.sent) == sent
        played.mouth.say(3, SHORT)
        await asyncio.sleep(5)

    played = act(script)
    assert heard(played, 3) == murmured(SHORT)
    assert [event.utterance for event in played.posts(ev.UtteranceQueued)] == [3]


def test_a_hush_ends_the_pause_by_itself() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        await asyncio.sleep(1)
        played.mouth.pause()
        await asyncio.sleep(1)
        played.mouth.hush()
        played.mouth.say(2, SHORT)
        await asyncio.sleep(5)

    played = act(script)
    assert heard(played, 2) == murmured(SHORT)
    assert next(at for at, _, _ in played.wire.sent if at > 1.5) == 2.0


def test_marks_of_what_was_taken_back_prove_nothing() -> None:
    """They come back while the same sound, under new numbers, plays for the first time."""

    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        await asyncio.sleep(1.1)
        played.mouth.pause()
        await asyncio.sleep(0.1)
        played.mouth.resume()  # 300 ms later the carrier echoes what the pause dropped
        await asyncio.sleep(0.5)
        played.mouth.pause()
        await asyncio.sleep(0.1)
        played.mouth.resume()
        await asyncio.sleep(10)

    assert in_order(act(script, back_s=0.3), 1, STORY, 0.3) == len(murmured(STORY))


def test_numbers_of_chunks_are_never_used_again() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        for _ in range(3):
            await asyncio.sleep(1)
            played.mouth.pause()
            played.mouth.resume()

    played = act(script)
    numbers = [chunk for _, chunk, _ in played.wire.sent]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers == [event.chunk for event in played.posts(ev.AudioQueued)]


# -- pace --------------------------------------------------------------------------------


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("pauses_ms", [(500,), (1_999, 2_001), (100, 90, 80, 3_000), (410, 5_000, 20)])
def test_it_never_runs_more_than_two_seconds_ahead(pauses_ms: tuple[int, ...], clipped: bool) -> None:
    """Right after it went on, that and the chunk which is heard again."""
    clips, most = Clips(), 0.0
    if clipped:
        clips.put("murmur", "nora", STORY, murmured(STORY))

    async def watch(played: Scene) -> None:
        nonlocal most
        while True:
            most = max(most, played.carrier.ahead_s)
            await asyncio.sleep(0.01)

    async def script(played: Scene) -> None:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(played))
            for number in (1, 2, 3):
                played.mouth.say(number, STORY)
            for ms in pauses_ms:
                await asyncio.sleep(ms / 1000)
                played.mouth.pause()
                await asyncio.sleep(0.017)
                played.mouth.resume()
            await asyncio.sleep(20)
            watching.cancel()

    played = scene(script, AT_ONCE, line=carrier(), clips=clips)
    assert AHEAD_S - 0.4 < most < AHEAD_S + CHUNK_BYTES / BYTES_PER_S
    assert heard(played, 3).endswith(murmured(STORY)[-CHUNK_BYTES:])


def test_a_pause_while_it_waits_for_room_does_not_make_room() -> None:
    """The wait began before the pause and ends after it, in another state of the line."""

    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY * 2)
        await asyncio.sleep(0.01)
        played.mouth.pause()
        await asyncio.sleep(0.1)
        played.mouth.resume()  # and the wait for room, until 0.2 s, still goes on
        for _ in range(200):
            await asyncio.sleep(0.01)
            assert played.carrier.ahead_s <= AHEAD_S + 1e-6  # five chunks, hardly begun

    act(script)


# -- what is told of it ------------------------------------------------------------------


@pytest.mark.parametrize("engine", [AT_ONCE, SLOWLY])
def test_the_end_of_an_utterance_follows_its_last_chunk_and_says_all_its_length(engine: Murmur) -> None:
    """Told once, and once more where the end itself was taken back and sent again."""

    async def script(played: Scene) -> None:
        played.mouth.say(1, SHORT)
        played.mouth.say(2, STORY)
        for _ in range(3):
            await asyncio.sleep(0.83)
            played.mouth.pause()
            played.mouth.resume()
        await asyncio.sleep(10)

    played = act(script, engine)
    for number, text in ((1, SHORT), (2, STORY)):
        told = [event for event in played.of(number) if isinstance(event, ev.UtteranceQueued)]
        assert {event.ms for event in told} == {len(murmured(text)) // 8}
        assert played.of(number)[-1] is told[-1]
        assert len(told) <= 1 + 3
    first, second = ([one for one in played.posts(ev.UtteranceQueued) if one.utterance == n] for n in (1, 2))
    assert len(second) == 1, "paused while it was still on its way"
    if engine is AT_ONCE:
        assert len(first) == 2, "paused at 0.83 s of 0.96 s; at 1.66 s it had been heard"


def test_what_is_sent_again_is_neither_bought_nor_audible_again() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, SHORT)
        played.mouth.say(2, SHORT)
        for _ in range(4):
            await asyncio.sleep(0.2)
            played.mouth.pause()
            await asyncio.sleep(0.3)
            played.mouth.resume()
        await asyncio.sleep(5)

    played = act(script)
    assert [event.utterance for event in played.posts(ev.SpeechBought)] == [1, 2]
    assert [event.utterance for event in played.posts(ev.Audible)] == [1, 2]


def test_a_pause_that_lasts_costs_the_engine_no_patience() -> None:
    async def script(played: Scene) -> None:
        played.mouth.say(1, STORY)
        await asyncio.sleep(0.5)
        played.mouth.pause()
        await asyncio.sleep(60)
        played.mouth.resume()
        await asyncio.sleep(10)

    played = act(script, SLOWLY)
    assert not played.posts(ev.EngineFailed)
    assert heard(played, 1).endswith(murmured(STORY)[CHUNK_BYTES:])
