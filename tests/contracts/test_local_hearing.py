"""The local ears together: Silero finds the speech, Whisper hears it, in a call's own time."""

from __future__ import annotations

import asyncio
import re

from pipeline.audio import mulaw
from pipeline.audio.vad import Detector, Held, Started, Stopped
from pipeline.clock import run_virtual
from pipeline.engines.base import Ear, Segment, VoiceTrack
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.silero import SileroActivity, SileroModel
from pipeline.engines.local.whisper import WhisperModel, WhisperTranscriber


async def play(track: VoiceTrack, ear: Ear, sound: bytes) -> None:
    """A carrier's frames, one every 20 ms."""
    for start in range(0, len(sound), mulaw.FRAME):
        track.feed(sound[start : start + mulaw.FRAME])
        ear.feed(sound[start : start + mulaw.FRAME])
        await asyncio.sleep(0.02)


def test_a_callers_lines_are_heard_one_by_one(
    silero: SileroModel,
    whisper: WhisperModel,
    worker: Worker,
    lines: dict[str, str],
    sounds: dict[str, bytes],
) -> None:
    said = [name for name, text in lines.items() if text and name not in {"mhm", "bye"}]
    heard: list[str] = []
    held = 0

    async def listen(ear: Ear) -> None:
        async for hearing in ear.heard():
            assert isinstance(hearing, Segment)
            heard.append(hearing.text)

    async def main() -> None:
        detector = Detector(barge_in_ms=250)

        def on_window(probability: float) -> None:
            nonlocal held
            for fact in detector.window(probability):
                match fact:
                    case Started():
                        ear.voice(True)
                    case Stopped():
                        ear.voice(False)
                    case Held():
                        held += 1

        async with (
            SileroActivity(silero, worker).running() as activity,
            asyncio.TaskGroup() as group,
            WhisperTranscriber(whisper, worker).open() as ear,
        ):
            group.create_task(listen(ear))
            with activity.open(on_window) as track:
                for name in said:
                    await play(track, ear, sounds[name] + mulaw.silence(600))
                    assert len(heard) == said.index(name) + 1, name
                await play(track, ear, sounds["cough"] + mulaw.silence(600))

    run_virtual(main())
    assert held == len(said)
    texts = [re.findall("[a-z']+", text.casefold()) for text in heard if text]
    assert texts == [re.findall("[a-z']+", lines[name].casefold()) for name in said]
