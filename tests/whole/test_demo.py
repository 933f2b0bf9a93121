"""The demo as `make demo` plays it, faster: local engines, recorded speech, and a recording that says it all."""

from __future__ import annotations

import asyncio
import socket
import wave
from pathlib import Path

import numpy as np
from rich.console import Console

from pipeline.audio import mulaw
from pipeline.clock import ScaledLoop
from server.demo import Outcome, play
from server.demo_show import Show
from server.settings import Settings
from tests.transcribing import transcribed

SPEED = 4.0


def agent_side(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return mulaw.encode(samples[:, 1].astype(np.int16))


def test_the_demo_holds_and_its_recording_says_the_answer_the_warning_and_the_goodbye(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(port=port, data_dir=tmp_path, record_calls=True)

    async def main() -> Outcome:
        return await play(settings, Show())

    with asyncio.Runner(loop_factory=lambda: ScaledLoop(SPEED)) as runner:
        outcome = runner.run(main())
    assert outcome.problems == ()
    assert outcome.call["end_reason"] == "budget"
    assert outcome.call["memory"] == "kept"
    assert any("interview" in memory["text"] for memory in outcome.memories), outcome.memories
    assert 108 <= outcome.call["duration_seconds"] <= 120

    console = Console(record=True, width=200)
    Show(console).outcome(outcome)
    assert f"replay: level 2 exact, {outcome.again.replay.steps:,} steps" in console.export_text()
    assert outcome.again.frames > 50

    said = asyncio.run(transcribed(agent_side(outcome.wav)))
    for words in ("automated", "interview on tuesday", "about a minute left", "goodbye"):
        assert words in said, said
