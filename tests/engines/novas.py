"""A call of three stretches that Nova transcribes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace

from pipeline.audio.mulaw import silence
from pipeline.clock import run_virtual
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from tests.emulators.caller import Call
from tests.emulators.nova import KEY, NovaEmulator

TEXTS = ["Hi Sarah, this is Jordan.", "I have news.", "What do you think about it?"]
SETTINGS = NovaSettings(KEY, mute_s=1.5)
KEEP_ALIVE, FINALIZE, CLOSE = ('{"type":"KeepAlive"}', '{"type":"Finalize"}', '{"type":"CloseStream"}')


def run(check: Callable[[], Coroutine[object, object, None]]) -> None:
    run_virtual(check(), grace=0.001)


def engine(emulator: NovaEmulator, settings: NovaSettings = SETTINGS) -> NovaTranscriber:
    return NovaTranscriber(replace(settings, url=emulator.url))


async def talk(call: Call, reported_ms: int = 240, stretches: int = len(TEXTS)) -> None:
    """Stretches of speech, and a pause in which whatever is wrong shows."""
    for _ in range(stretches):
        await call.speak(1_200, reported_ms=reported_ms, step_ms=60)
    await call.say(silence(1_500), step_ms=60)
