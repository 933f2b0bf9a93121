"""The price list and the engines must name the same models, or an estimate speaks of another call."""

from __future__ import annotations

from typing import Literal

import pytest

from pipeline.engines.loading import Chosen, EngineLoader
from server.money.prices import models
from server.settings import Settings


@pytest.mark.parametrize("name", ["local", "scripted"])
async def test_the_models_estimated_are_those_of_the_engines(name: Literal["local", "scripted"]) -> None:
    settings = Settings(stt_engine=(name,), llm_engine=(name,), tts_engine=(name,))
    named = models(settings)
    async with EngineLoader(Chosen((name,), (name,), (name,))).open() as engines:
        assert (engines.transcriber.models[0], engines.thinker.models[0], engines.speaker.models[0]) == (
            named["stt"],
            named["llm"],
            named["tts"],
        )
