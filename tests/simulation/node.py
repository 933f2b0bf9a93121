"""One process of the server: the real application, opened as `callmeback serve` does, and what befalls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from pipeline.clock import Clock
from pipeline.core.effects import Message
from pipeline.engines.scripted import (
    Answer,
    LoudnessActivity,
    ScriptedSpeaker,
    ScriptedThinker,
    ScriptedTranscriber,
)
from pipeline.ports import Engines
from server.app import build
from server.calls.live import open_desk
from server.parts import Account, Parts
from server.passwords import Passwords
from server.settings import Settings
from tests.simulation.files import Fault, SimulatedDatabase, Turn
from tests.simulation.loop import Gate, SimulatedLoop
from tests.simulation.neighbourhood import Home, Neighbourhood
from tests.simulation.telephone import Network, NodeLine
from tests.simulation.wire import Door

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
"""Local noon in New York as every simulation begins."""
ACCOUNT = Account("AC" + "0" * 32, "0123456789abcdef0123456789abcdef", "+12025550100")
PUBLIC_URL = "http://127.0.0.1:8000"
AMONG_OTHERS = {
    "twilio_account_sid": ACCOUNT.sid, "twilio_auth_token": ACCOUNT.auth_token,
    "twilio_phone_number": ACCOUNT.sender, "twilio_api_url": "http://127.0.0.1:1",
    "local_prices": "list", "resume_pause_seconds": 0,
}  # fmt: skip
"""Settings of one node of several: its carrier goes on without it, and is answered by another at once."""
SECRET = "0123456789abcdef0123456789abcdef-simulated"


class WallClock(Clock):
    """Follows the loop, wrong by `skew` seconds about the time of day."""

    def __init__(self, skew: float) -> None:
        super().__init__(NOON)
        self.skew = skew

    def utc(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds() + self.skew)

    def boot_seconds(self) -> float:
        """Without the real machine's sleep, which is measured with a jitter that no seed repeats."""
        return self.seconds()


class Weather:
    """How the database treats one node. Nothing happens while it is `calm`."""

    def __init__(self, draw: Random, die: Callable[[], None]) -> None:
        self._draw = draw
        self._die = die
        self.calm = True
        self.down = False
        self.rough = 0.0
        """Probability that a transaction meets trouble."""

    def transaction(self, *, writes: bool) -> tuple[float, Fault]:
        if self.calm:
            return 0.0, Fault.NONE
        if self.down:
            return 0.0, Fault.REFUSED
        if self._draw.random() >= self.rough:
            return 0.0, Fault.NONE
        delay = self._draw.choice((0.0, 0.0, 0.02, 0.3, 2.5, 9.0))
        kinds = [Fault.NONE, Fault.REFUSED]
        if writes:
            kinds += [Fault.BEFORE_COMMIT, Fault.AFTER_COMMIT, Fault.KILLED_BEFORE, Fault.KILLED_AFTER]
        return delay, self._draw.choices(kinds, weights=(4, 2, 3, 3, 1, 1)[: len(kinds)])[0]

    def die(self) -> None:
        self._die()


HEARD = ("hello there", "tell me more", "really")
"""What people say, again and again."""


def engines(draw: Random, hears: Sequence[str]) -> Engines:
    """Scripted ones that take their time and fail now and then."""

    def think(_messages: Sequence[Message]) -> Answer:
        length = draw.randint(1, 25)
        fails = draw.randint(0, 3) if draw.random() < 0.03 else None
        return Answer(" ".join(["well"] * length) + ".", draw.randint(50, 900), draw.randint(5, 60), fails)

    return Engines(
        LoudnessActivity(),
        ScriptedTranscriber(hears, delay_ms=120, repeat=True),
        ScriptedThinker(think),
        ScriptedSpeaker(first_ms=150, piece_ms=40, fails_on=lambda _text: draw.random() < 0.01),
    )


class Node:
    """`start` it, then `kill`, `freeze`, `thaw` it; `parts` are those of the running server."""

    def __init__(
        self,
        name: str,
        *,
        machine: int,
        folder: Path,
        street: Neighbourhood | None,
        database: Path,
        turn: Turn,
        utc: Callable[[], datetime],
        network: Network,
        draw: Random,
        loop: SimulatedLoop,
        note: Callable[[str], None],
        hears: Sequence[str] = HEARD,
    ) -> None:
        self.name = name
        self.gate = Gate(name)
        self.clock = WallClock(draw.uniform(-3.0, 3.0))
        self.weather = Weather(draw, self.kill)
        self.home = None if street is None else Home(street, self.gate, draw, lambda: self.door)
        lives = None if street is None else street.lives
        self.database = SimulatedDatabase(database, turn, utc, self.weather, lives)
        self.line = NodeLine(network, name, draw, self.kill)
        self.door: Door | None = None
        self.dead = False
        self.frozen = False
        self.frozen_at = 0.0
        self.machine = machine
        self._engines = engines(draw, hears)
        self._settings = Settings.model_validate(
            {
                "data_dir": folder / f"machine{machine}", "jwt_secret": SECRET, "public_url": PUBLIC_URL,
                "bcrypt_cost": 10, "stt_engine": "scripted", "llm_engine": "scripted", "tts_engine": "scripted",
                "login_failures": 100, "registrations_per_ip": 10_000, "drain_seconds": 60,
                **({} if street is None else AMONG_OTHERS),
                "node_url": f"http://{name}.example.com",
            }
        )  # fmt: skip
        if street is not None and self.home is not None:
            street.origins[self._settings.node_url] = self.home
        self._loop = loop
        self._note = note
        self._stop = asyncio.Event()
        self._up = asyncio.Event()

    @property
    def serves(self) -> bool:
        return self.door is not None and not self.dead

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start it in a task of its own, and of its own context."""
        tasks.create_task(self._run(), context=self.gate.context())

    async def up(self, patience_s: float = 120.0) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                await self._up.wait()
        except TimeoutError:
            return False
        return self.serves

    def kill(self) -> None:
        """kill -9: nothing of it runs any more, its transaction is rolled back, its sockets break."""
        if self.dead:
            return
        self._note(f"killed: {self.name}")
        self.dead = self.gate.shut = True
        self.database.sever()
        self._gone()

    def _gone(self) -> None:
        if self.home is not None:
            self.home.leave()
        if self.door is not None:
            self.door.shut()

    def freeze(self) -> None:
        """SIGSTOP. The database gives up on what it had begun, as after `idle_in_transaction_session_timeout`."""
        self._note(f"frozen: {self.name}")
        self.frozen = self.gate.shut = True
        self.frozen_at = self._loop.time()
        self.database.sever()

    @property
    def live_calls(self) -> int:
        return self.parts.desk.live_calls

    def cut_off(self) -> None:
        """The machine of a frozen one loses its network: whoever is at the other end notices, and nobody asks it."""
        self.frozen_at = float("-inf")
        for socket in () if self.door is None else self.door.sockets:
            socket.close(1006)

    def thaw(self) -> None:
        if self.frozen and not self.dead:
            self._note(f"thawed: {self.name}")
            self.frozen = False
            self.gate.open(self._loop)

    def bury(self) -> None:
        """After everything was looked at: let what is left of it run, so that its tasks can end."""
        self.database.sever()
        self.weather.calm, self.weather.down = False, True
        self.line.gone = True
        if self.home is not None:
            self.home.calm = True
        self._stop.set()
        self.gate.open(self._loop)

    async def _run(self) -> None:
        passwords = Passwords(cost=4)
        try:
            app = build(
                self._settings,
                clock=self.clock,
                account=ACCOUNT,
                carrier=self.line,
                engines=self._engines,
                database=self.database,
                passwords=passwords,
                neighbours=self.home,
                open_desk=open_desk,
            )
            async with app.router.lifespan_context(app), asyncio.TaskGroup() as requests:
                self.parts: Parts = app.state.parts
                self.door = Door(app, self.gate, requests)
                self._note(f"up: {self.name}")
                self._up.set()
                await self._stop.wait()
                requests.create_task(_cancelling())
        except* _Over:
            pass
        except* Exception as group:  # it could not start, or stopped badly; said, as a supervisor would
            self._note(f"down: {self.name}: {group.exceptions[0]!r}")
            self.dead = True
            self._gone()
        finally:
            self._up.set()
            passwords.close()
            await self.database.aclose()


class _Over(Exception):
    """Ends the requests a node still has."""


async def _cancelling() -> None:
    raise _Over
