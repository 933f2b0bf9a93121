"""Orders to the mouth in any order, against a simple model of what a listener is owed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips import Clips
from pipeline.core import events as ev
from pipeline.engines.scripted import ScriptedSpeaker
from pipeline.outgoing import BYTES_PER_MS, BYTES_PER_S, CHUNK_BYTES
from pipeline.pacer import AHEAD_S
from tests.pipeline.scene import Murmur, Scene, carrier, murmured, scene

TEXTS = ("Oh.", "Sixteen letters", "A story that goes on " * 4)
WAITS_S = (0.0, 0.013, 0.1, 0.401, 1.1, 2.7)

Move = tuple[str, str | float]
moves = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from(TEXTS)),
        st.tuples(st.just("wait"), st.sampled_from(WAITS_S)),
        st.tuples(st.sampled_from(["pause", "resume", "hush"]), st.just("")),
    ),
    max_size=20,
)


@dataclass
class Listener:
    """At the other end of the line: what was said, and where in what was heard it was hushed."""

    back_s: float
    said: dict[int, str] = field(default_factory=dict)
    hushes: list[tuple[int, int]] = field(default_factory=list)
    """How many parts had been heard, and how many utterances had been said."""
    lost: set[int] = field(default_factory=set)
    """Hushed before they were heard to their end."""

    async def go_along(self, played: Scene, script: list[Move]) -> None:
        for what, how in script:
            match what, how:
                case "say", str(text):
                    number = len(self.said) + 1
                    self.said[number] = text + "!" * number  # no two alike
                    played.mouth.say(number, self.said[number])
                case "wait", float(seconds):
                    await asyncio.sleep(seconds)
                case "pause", _:
                    played.mouth.pause()
                case "resume", _:
                    played.mouth.resume()
                case _:
                    self._hush(played)
            # Just gone on, what is heard again comes on top.
            again_s = CHUNK_BYTES / BYTES_PER_S + self.back_s
            assert played.carrier.ahead_s < AHEAD_S + again_s

    def _hush(self, played: Scene) -> None:
        played.mouth.hush()
        self.hushes.append((len(played.heard), len(self.said)))
        self.lost |= set(self.said) - self.whole(played)

    def reached(self, played: Scene) -> dict[int, int]:
        """How far each utterance was heard: in order, without a gap, hardly any of it twice."""
        reached, latest = dict.fromkeys(self.said, 0), 0
        for number, part in played.heard:
            assert number >= latest, "an utterance after the next one"
            latest, sound = number, murmured(self.said[number])
            start = sound.index(part)
            assert start <= reached[number], "a gap"
            assert reached[number] - start < CHUNK_BYTES + self.back_s * BYTES_PER_S, (
                "more than a chunk again"
            )
            reached[number] = max(reached[number], start + len(part))
        return reached

    def whole(self, played: Scene) -> set[int]:
        """The utterances that were heard to their end."""
        reached = self.reached(played)
        return {number for number, text in self.said.items() if reached[number] == len(murmured(text))}


@given(
    moves,
    st.sampled_from([Murmur(), Murmur(first_ms=90, piece_ms=130), Murmur(piece_ms=210, piece_bytes=1_500)]),
    st.sampled_from([0.0, 0.07, 0.35]),
)
def test_every_byte_is_heard_in_its_place_and_nothing_after_a_hush(
    script: list[Move], engine: Murmur, back_s: float
) -> None:
    listener = Listener(back_s)

    async def main(played: Scene) -> None:
        await listener.go_along(played, script)
        played.mouth.resume()
        await asyncio.sleep(120)

    played = scene(main, engine, line=carrier(back_s))
    assert listener.whole(played) == set(listener.said) - listener.lost
    for parts, said in listener.hushes:
        assert all(number > said for number, _ in played.heard[parts:])
    last_hush = listener.hushes[-1][1] if listener.hushes else 0
    ends = {event.utterance: event.ms for event in played.posts(ev.UtteranceQueued)}
    assert set(range(last_hush + 1, len(listener.said) + 1)) <= set(ends)
    for number, ms in ends.items():
        assert ms == len(murmured(listener.said[number])) // BYTES_PER_MS


@given(moves, st.sampled_from([(), TEXTS[:1], TEXTS]), st.sampled_from([None, 0, 1, 3]), st.booleans())
def test_each_utterance_is_bought_or_skipped_or_has_failed_once(
    script: list[Move], clipped: tuple[str, ...], breaks_after: int | None, ends_with_a_hush: bool
) -> None:
    listener, clips = Listener(0.0), Clips()
    for text in clipped:
        for number in range(1, 21):
            clips.put("scripted", "nora", text + "!" * number, b"\x10\x90" * 2_000)

    async def main(played: Scene) -> None:
        for what, how in script:
            if what == "say":
                number = len(listener.said) + 1
                listener.said[number] = f"{how}{'!' * number}"
                played.mouth.say(number, listener.said[number])
            elif what == "wait":
                await asyncio.sleep(float(how))
            else:
                {"pause": played.mouth.pause, "resume": played.mouth.resume, "hush": played.mouth.hush}[
                    what
                ]()
        if ends_with_a_hush:
            played.mouth.hush()
        played.mouth.resume()
        await asyncio.sleep(120)

    speaker = ScriptedSpeaker(
        first_ms=100,
        piece_ms=50,
        fails_on=lambda text: breaks_after is not None and text.count("!") % 2 == 0,
        fails_after=breaks_after or 0,
    )
    played = scene(main, speaker, clips=clips)
    bought = [event.utterance for event in played.posts(ev.SpeechBought)]
    skipped = [event.utterance for event in played.posts(ev.SpeechSkipped)]
    failed = [event.ref for event in played.posts(ev.EngineFailed)]
    assert len({*bought, *skipped}) == len(bought) + len(skipped), "told twice"
    assert len(set(failed)) == len(failed)
    assert {*bought, *skipped, *failed} == set(listener.said)
    assert not {*skipped} & {*failed}
    heard = {event.utterance for event in played.posts(ev.AudioQueued)}
    assert heard <= {*bought}, "what is heard is paid"
    audible = [event.utterance for event in played.posts(ev.Audible)]
    assert len(set(audible)) == len(audible)
    assert set(audible) == heard
