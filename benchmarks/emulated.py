"""The vendors' stand-ins in a process of their own: their work is none of the server's.

python -m benchmarks.emulated CORE END_MS EAGER_MS TOKEN_MS SOUND_MS
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

from benchmarks.machine import pin
from tests.emulators.chat import ChatEmulator
from tests.emulators.elevenlabs import ElevenLabs
from tests.emulators.flux import FluxEmulator

TEXT = "Do you have any hobbies?"
ANSWER = "I do. Yes."
WORD_MS = 2


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def main(end_ms: int, eager_ms: int, token_ms: int, sound_ms: int) -> None:
    """Until the pipe says anything, or is closed."""
    async with (
        FluxEmulator((TEXT,), eot_ms=end_ms, eager_ms=eager_ms, repeat=True, continues=False) as ear,
        ChatEmulator((ANSWER,), first_ms=token_ms, piece_ms=WORD_MS) as mind,
        ElevenLabs(first_ms=sound_ms, piece_ms=20) as voice,
    ):
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        say(ear=ear.url, mind=mind.url, voice=voice.url)
        await reader.readline()


if __name__ == "__main__":
    core, *times = map(int, sys.argv[1:])
    pin(core)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*times))
