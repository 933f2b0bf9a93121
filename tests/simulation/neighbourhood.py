"""How the nodes of a simulation reach each other: words over a bus that delays and loses some, sound over sockets.

It knows which processes are there, as PostgreSQL does by their session locks: a frozen one is, a killed one is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random

from websockets.exceptions import ConnectionClosedError

from server.nodes.bus import Bus, Hearer, Word
from server.nodes.relay import OPEN_S, PATH
from tests.simulation.loop import Gate
from tests.simulation.wire import Door, Socket

UNDER_WAY_S = 0.01


@dataclass
class Neighbourhood:
    """Of all nodes of a world."""

    homes: dict[str, Home] = field(default_factory=dict)
    """By the names that the processes give themselves."""
    origins: dict[str, Home] = field(default_factory=dict)

    def lives(self, node: str) -> bool:
        return node in self.homes and not self.homes[node].gone


@dataclass
class Home:
    """One node's place in it: `server.nodes.neighbours.Neighbours`."""

    street: Neighbourhood
    gate: Gate
    draw: Random
    door: Callable[[], Door | None]
    calm: bool = True
    gone: bool = False
    hearer: Hearer | None = None
    inbox: deque[Word | None] = field(default_factory=deque)
    due: float = 0.0
    """When the latest word arrives, by the loop."""
    cables: list[Cable] = field(default_factory=list)

    def bus(self, node: str) -> Bus:
        self.street.homes[node] = self
        return SimulatedBus(node, self)

    async def connect(self, origin: str, authorization: str) -> Cable:
        """Raises `OSError` where nobody answers, and `TimeoutError` where a frozen node does not."""
        there = self.street.origins.get(origin)
        door = None if there is None or there.gone else there.door()
        if door is None:
            raise ConnectionRefusedError(origin)
        socket = door.open(origin + PATH, {"authorization": authorization})
        cable = Cable(socket)
        self.cables.append(cable)
        if not await socket.let_in(OPEN_S):
            socket.close(1006)
            if socket.refused or socket.gone:
                raise ConnectionResetError(origin)
            raise TimeoutError(origin)
        return cable

    def leave(self) -> None:
        """Its process was killed: its ends of all sockets are closed by the system."""
        self.gone = True
        for cable in self.cables:
            cable.socket.close(1006)

    def deliver(self, word: Word, delay: float, *, lost: bool) -> None:
        """In the order in which they were told; in place of a lost one the hearer is told to look."""
        loop = asyncio.get_running_loop()
        self.inbox.append(None if lost else word)
        self.due = max(self.due, loop.time() + delay)
        loop.call_at(self.due, self._hear, context=self.gate.context())

    def _hear(self) -> None:
        word = self.inbox.popleft()
        if self.hearer is not None and word is None:
            self.hearer.catch_up()
        elif self.hearer is not None and word is not None:
            self.hearer.heard(word)


class SimulatedBus:
    """Words arrive in the context of whoever hears them: a frozen node hears them when it is thawed."""

    def __init__(self, node: str, home: Home) -> None:
        self.node = node
        self._home = home

    async def tell(self, word: Word, to: str | None = None) -> None:
        said = Word(word.kind, word.about, word.data, self.node)
        for node, home in self._home.street.homes.items():
            if to in {None, node}:
                chance = 1.0 if self._home.calm else self._home.draw.random()
                late = self._home.draw.uniform(0.0, 3.0) if chance < 0.2 else UNDER_WAY_S
                home.deliver(said, late, lost=chance < 0.05)

    async def run(self, hearer: Hearer) -> None:
        self._home.hearer = hearer
        hearer.catch_up()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._home.hearer = None


class Cable:
    """A node's end of a socket to another node, with what the relay uses of a websocket client."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def send(self, message: bytes) -> None:
        if self.socket.gone:
            raise ConnectionClosedError(None, None)
        self.socket.send_bytes(message)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while (message := await self.socket.next()) is not None:
            yield message

    async def close(self) -> None:
        self.socket.close()
