"""The voices a person may choose from: those that the engine which speaks first has by name."""

from __future__ import annotations

from pipeline.engines.deepgram.aura import AuraSettings
from pipeline.engines.elevenlabs import ElevenLabsSettings
from pipeline.engines.local.hibari import TIMBRES
from server.engines import chosen
from server.settings import Settings


def voices(settings: Settings) -> tuple[str, ...]:
    """Their names, sorted. Engines behind the first have a voice for every name."""
    match chosen(settings).tts[0]:
        case AuraSettings() | ElevenLabsSettings() as hosted:
            return tuple(sorted(name.casefold() for name in hosted.voices))
        case _:
            return tuple(sorted(TIMBRES))
