"""What a relay adds to a frame on its way: from the node with the carrier's socket to the call's, and back.

Both nodes are in this process, on one core and over loopback, with 50 frames a second and call
each way, so that what is measured is the relay's own work and queueing, not a network:

    python -m benchmarks.relaying --calls 50 --seconds 10
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from dataclasses import dataclass, field

import uvicorn
import uvloop
from starlette.applications import Starlette

from benchmarks.figures import percentile
from pipeline.clock import Clock, real_seconds
from pipeline.core.terms import EndReason
from pipeline.ports import Line
from server.nodes.passes import Passes
from server.nodes.relay import Relays
from server.routes.relay import relay_routes

RING = (b"benchmark benchmark benchmark benchmark",)
FRAME_S = 0.02
FRAME = bytes(160)


@dataclass
class Echo:
    """A call that plays back each frame at once, and the line it is played on; both note how long it took."""

    line: Line | None = None
    sent: dict[int, float] = field(default_factory=dict)
    there: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    heard: int = 0

    def hear(self, mulaw: bytes) -> None:
        self.heard += 1
        self.there.append(real_seconds() - self.sent[self.heard])
        if self.line is not None:
            self.line.play(self.heard, mulaw)

    def play(self, chunk: int, mulaw: bytes) -> None:
        self.back.append(real_seconds() - self.sent.pop(chunk))

    def played(self, chunk: int) -> None: ...

    def pressed(self, digit: str) -> None: ...

    def dropped(self, reason: EndReason) -> None: ...

    def ask_hang_up(self, reason: EndReason) -> None: ...

    def clear(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class Node:
    """The node that conducts the calls."""

    passes: Passes
    calls: dict[str, Echo]

    def join(self, call_id: str, line: Line) -> Echo:
        self.calls[call_id].line = line
        return self.calls[call_id]


@dataclass
class _Parts:
    desk: Node


async def measure(calls: int, seconds: int) -> list[Echo]:
    clock = Clock()
    echoes = {f"call-{number}": Echo() for number in range(calls)}
    app = Starlette(routes=relay_routes())
    app.state.parts = _Parts(Node(Passes(RING, "a", clock), echoes))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            app, lifespan="off", log_config=None, ws="websockets-sansio", ws_per_message_deflate=False
        )
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve([listening]))
        relays = Relays(Passes(RING, "b", clock), tasks)
        open_calls = [(await relays.open(url, "a", name, name, echo), echo) for name, echo in echoes.items()]
        for frame in range(1, round(seconds / FRAME_S) + 1):
            due = clock.seconds() + FRAME_S
            for relayed, echo in open_calls:
                echo.sent[frame] = real_seconds()
                relayed.hear(FRAME)
            await asyncio.sleep(max(0.0, due - clock.seconds()))
        for relayed, _ in open_calls:
            relayed.dropped(EndReason.CALLER_HUNG_UP)
        server.should_exit = True
    return list(echoes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="What a relay adds to a frame on its way.")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=10)
    asked = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        echoes = runner.run(measure(asked.calls, asked.seconds))
    for name, took in (
        ("there", [ms for echo in echoes for ms in echo.there]),
        ("there and back", [ms for echo in echoes for ms in echo.back]),
    ):
        figures = ", ".join(f"p{share} {percentile(took, share) * 1000:.2f}" for share in (50, 95, 99))
        print(f"{name}: {len(took)} frames, ms: {figures}")


if __name__ == "__main__":
    main()
