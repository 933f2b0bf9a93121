"""A call without a network: recorded caller sound in, the agent's sound out, on the loop's time.

`Handset` is the telephone and the carrier in one, with the playback of `Media Streams`:
sound is played in order at 8000 bytes a second, a mark comes back when what is before it
was played, `clear` drops the rest and returns all marks at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pipeline.clips import Clips
from pipeline.clock import Clock
from pipeline.core.effects import Effect, Ended, TurnTaken
from pipeline.core.events import CallStarted, Event
from pipeline.core.terms import EndReason
from pipeline.journal_file import JournalFile
from pipeline.ports import Engines
from pipeline.recorder import Recorder
from pipeline.runner import LiveCall
from pipeline.traffic import SUFFIX, Tape

FRAME_BYTES = 160
FRAME_S = 0.02
SILENCE = b"\xff" * FRAME_BYTES
AFTER_S = 20.0
"""How long the caller stays on the line after the recording has ended."""


class Handset:
    """The line of one offline call, and what is heard at its other end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._playing: deque[tuple[float, int]] = deque()
        self._free_at = 0.0
        self.call: LiveCall | None = None
        self.closed = asyncio.Event()

    def play(self, chunk: int, mulaw: bytes) -> None:
        self._free_at = max(self._free_at, self._clock.seconds()) + len(mulaw) / 8000
        self._playing.append((self._free_at, chunk))

    def clear(self) -> None:
        self._free_at = 0.0
        self._echo(float("inf"))

    async def close(self) -> None:
        self.closed.set()

    def tick(self) -> None:
        """Return the marks of what has been played by now."""
        self._echo(self._clock.seconds())

    def _echo(self, until: float) -> None:
        while self._playing and self._playing[0][0] <= until:
            _, chunk = self._playing.popleft()
            if self.call is not None:
                self.call.played(chunk)


class Aside:
    """The surroundings of an offline call: keeps the transcript and lets the carrier hang up at once."""

    def __init__(self, handset: Handset) -> None:
        self._handset = handset
        self.turns: list[TurnTaken] = []
        self.ended: Ended | None = None

    def happened(self, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, TurnTaken):
                self.turns.append(effect)
            elif isinstance(effect, Ended):
                self.ended = effect

    async def hang_up(self) -> None:
        self._handset.closed.set()


async def run_call(
    started: CallStarted, caller: bytes, engines: Engines, *, voice: str, journal: Path, wav: Path
) -> Aside:
    """Play a recorded caller (mu-law, 8 kHz) through the whole pipeline.

    Writes the journal, a stereo WAV, and beside the journal the traffic of caller and engines.
    """
    clock = Clock()
    handset = Handset(clock)
    aside = Aside(handset)
    sink = JournalFile(journal)
    tape = Tape(journal.with_suffix(SUFFIX), clock)
    call = LiveCall(
        started,
        voice=voice,
        engines=engines,
        clips=Clips(),
        clock=clock,
        journal=sink,
        outside=aside,
        recorder=Recorder(wav),
        tape=tape,
    )
    handset.call = call
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call.run())
            tasks.create_task(_listen_in(call, handset, caller, clock))
    finally:
        sink.close()
        tape.close()
    return aside


async def _listen_in(call: LiveCall, handset: Handset, caller: bytes, clock: Clock) -> None:
    """The person's side: ring a moment, then 20 ms of sound every 20 ms until somebody hangs up."""
    await asyncio.sleep(2.0)
    if call.over:  # given up while it rang: an engine that cannot be opened
        return
    call.answered()
    call.attach(handset)
    begun = clock.seconds()
    frames = -(-len(caller) // FRAME_BYTES) + int(AFTER_S / FRAME_S)
    for number in range(frames):
        if handset.closed.is_set():
            break
        sound = caller[number * FRAME_BYTES : (number + 1) * FRAME_BYTES].ljust(FRAME_BYTES, b"\xff")
        call.hear(sound)
        handset.tick()
        await asyncio.sleep(max(0.0, begun + (number + 1) * FRAME_S - clock.seconds()))
    seconds = -int(-(clock.seconds() - begun) // 1)
    call.dropped(EndReason.CALLER_HUNG_UP)
    call.carrier_done("completed", seconds)
