"""The local models, loaded once a session, and the committed callers' lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.audio.wav import read_wav
from pipeline.engines.local.hibari import HibariModel
from pipeline.engines.local.pool import Worker
from pipeline.engines.local.silero import SileroModel
from pipeline.engines.local.whisper import WhisperModel

CALLERS = Path(__file__).parent.parent.parent / "server" / "callers"


@pytest.fixture(scope="session")
def lines() -> dict[str, str]:
    """What each committed line says, "" for the ones that are no speech."""
    found: dict[str, str] = json.loads((CALLERS / "lines.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="session")
def sounds(lines: dict[str, str]) -> dict[str, bytes]:
    return {name: read_wav(CALLERS / f"{name}.wav") for name in lines}


@pytest.fixture(scope="session")
def silero() -> SileroModel:
    return SileroModel.load()


@pytest.fixture(scope="session")
def whisper() -> WhisperModel:
    return WhisperModel.load()


@pytest.fixture(scope="session")
def hibari() -> HibariModel:
    return HibariModel.load()


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test", limit=64)
    yield worker
    worker.close()
