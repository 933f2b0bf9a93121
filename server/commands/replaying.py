"""`callmeback replay FILE`: a journal is re-derived exactly; a WAV is heard again by today's engines.

A journal replays byte for byte (level 1), and with the traffic that was recorded beside it the
sound does too (level 2). A WAV does not: it goes through the whole pipeline with live engines
(level 3), faster than real time, and what comes out is new.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tempfile
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.audio.intake import caller_sound
from pipeline.clock import Clock, VirtualLoop, real_seconds
from pipeline.conducted import replay_call
from pipeline.core.errors import EngineError, JournalError
from pipeline.core.events import CallStarted
from pipeline.core.money import usd
from pipeline.core.terms import Allowance, EndReason
from pipeline.engines.loading import Chosen, EngineLoader
from pipeline.journal_file import SUFFIX, read_lines
from pipeline.offline import Aside, run_call
from pipeline.ports import Engines
from pipeline.replay import Difference, replay
from pipeline.timeline import entries
from pipeline.traffic import SUFFIX as TRAFFIC
from pipeline.traffic import complete
from pipeline.traffic import read as read_traffic
from server.calls import casting
from server.settings import Settings
from storage import personas, pricing
from storage.db import Database
from storage.migrate import migrate
from storage.records import Persona, PriceRow

EngineSet = Literal["local", "scripted"]
MINUTES = 60


def main(file: Path, *, timeline: bool, persona: str, engines: EngineSet, out: Path | None) -> int:
    """0 for an exact replay or a WAV that ran through; 1 with the reason on the screen."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        if file.suffix == SUFFIX:
            wav = None if out is None else out / f"{file.stem}-replayed.wav"
            return _journal(console, file, timeline=timeline, wav=wav)
        return _wav(console, file, persona, engines, out or file.parent)
    except (JournalError, EngineError, ValueError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 1


def _journal(console: Console, file: Path, *, timeline: bool, wav: Path | None) -> int:
    lines = read_lines(file)
    if timeline:
        show_timeline(console, lines)
    begun = real_seconds()
    result = replay(lines)
    took = max(real_seconds() - begun, 1e-6)
    seconds = result.millis / 1000
    if result.difference is not None:
        return _differs(console, result.difference)
    console.print(f"exact: {result.steps} steps, {seconds:.1f} s of call, {seconds / took:,.0f} × real time")
    traffic = file.with_suffix(TRAFFIC)
    return _with_sound(console, lines, traffic, wav) if traffic.exists() else 0


def _with_sound(console: Console, lines: list[str], traffic: Path, wav: Path | None) -> int:
    """Level 2: the sound as well, from what engines and caller gave then, if all of it was kept."""
    begun = real_seconds()
    facts = read_traffic(traffic)
    if not complete(facts):
        console.print("the engines' traffic is incomplete: replay ends at level 1")
        return 0
    result = replay_call(lines, facts, wav=wav)
    took = max(real_seconds() - begun, 1e-6)
    if result.replay.difference is not None:
        return _differs(console, result.replay.difference)
    seconds = result.replay.millis / 1000
    digest = hashlib.blake2b(result.sound, digest_size=8).hexdigest()
    console.print(
        f"exact with sound, offline: {result.frames} chunks, {len(result.sound) / 8000:.1f} s of speech "
        f"(digest {digest}), {seconds / took:,.0f} × real time"
    )
    return 0


def _differs(console: Console, difference: Difference) -> int:
    console.print(f"differs at line {difference.line}; everything after it is stale")
    console.print(f"  recorded: {difference.recorded or 'nothing'}", markup=False)
    console.print(f"  replayed: {difference.replayed or 'nothing'}", markup=False)
    return 1


def show_timeline(console: Console, lines: list[str]) -> None:
    table = Table("time", "who", "what", box=None, pad_edge=False)
    colours = {"caller": "cyan", "agent": "magenta", "money": "yellow", "carrier": "dim"}
    for entry in entries(lines):
        minutes, millis = divmod(entry.at, 60_000)
        colour = colours.get(entry.actor, "")
        table.add_row(f"{minutes}:{millis / 1000:06.3f}", f"[{colour}]{entry.actor}[/]", escape(entry.text))
    console.print(table)


def _wav(console: Console, file: Path, persona: str, engines: EngineSet, out: Path) -> int:
    caller = caller_sound(file)
    who, prices = asyncio.run(_seeded(persona))
    stem = f"{file.stem}-replayed"
    journal, wav = out / f"{stem}{SUFFIX}", out / f"{stem}.wav"
    journal.unlink(missing_ok=True)
    begun = real_seconds()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        aside = runner.run(_hear_again(console, caller, who, prices, engines, journal, wav))
    took = real_seconds() - begun
    for turn in aside.turns:
        console.print(f"{turn.started / 1000:7.2f}  {turn.role:6}  {turn.text}", markup=False)
    ended = aside.ended
    if ended is None:
        raise ValueError("the call did not end")
    console.print(
        f"{ended.seconds} s of call in {took:.1f} s, {usd(ended.total)} USD at list prices, ended: {ended.reason}"
    )
    console.print(f"journal: {journal}\nrecording: {wav}")
    console.print(
        "A recording replayed with live engines is not exact; its journal is: callmeback replay JOURNAL"
    )
    return 0


async def _hear_again(
    console: Console,
    caller: bytes,
    persona: Persona,
    rows: list[PriceRow],
    engine_set: EngineSet,
    journal: Path,
    wav: Path,
) -> Aside:
    def loading(name: str, done: bool) -> None:
        if done:
            console.print(f"[green]✓[/] loaded {name}")

    async with EngineLoader(Chosen((engine_set,), (engine_set,), (engine_set,)), loading).open() as engines:
        started = _offline_call(persona, rows, engines)
        return await run_call(started, caller, engines, voice=persona.voice, journal=journal, wav=wav)


def _offline_call(persona: Persona, rows: list[PriceRow], engines: Engines) -> CallStarted:
    """A call of nobody's money: allowed as much as it could ever use."""
    settings = Settings(record_calls=True)
    part = casting.Part(persona, "")
    book = casting.pinned(rows, engines)
    bounds = casting.limits(settings, persona, MINUTES)
    greeting = casting.phrases(part, settings).greeting
    admitted = casting.admission(settings, book, bounds, casting.layers(part), greeting)
    money = Allowance(admitted.most, admitted.most, EndReason.CREDIT)
    return casting.started(secrets.token_hex(16), part, settings, engines, book, money, bounds, Clock().utc())


async def _seeded(persona: str) -> tuple[Persona, list[PriceRow]]:
    """A persona and the price list as a fresh server has them; nothing of the configured database is touched."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/seed.db"
        await migrate(url)
        database = Database.open(url)
        try:
            async with database.read() as tx:
                found = await personas.by_id(tx, persona)
                known = ", ".join(who.id for who in await personas.all(tx))
                rows = await pricing.current(tx, Clock().utc())
        finally:
            await database.aclose()
    if found is None:
        raise ValueError(f"there is no persona {persona!r}; there are {known}")
    return found, rows
