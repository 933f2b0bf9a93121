"""What a run of chaos came to, and the ledger held to the carrier's own count, call by call."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pipeline.carriers.exchange import Exchange
from pipeline.carriers.phonecall import PhoneCall
from pipeline.core.money import Nanos, usd
from storage.db import Tx

STEP_S = 60
"""A started minute is billed as a whole."""


@dataclass
class Outcome:
    """Seconds are the carrier's, of calls that were answered; money is in nanodollars."""

    seed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """Of the servers to people, by route and status."""
    took_s: float = 0.0
    audits: int = 0
    breaches: int = 0
    calls: int = 0
    answered: int = 0
    taken_over: int = 0
    resumed: int = 0
    """Of those taken over, the ones that went on to an end of their own."""
    carrier_s: int = 0
    lost_s: int = 0
    """Started minutes that the carrier counts, nobody was billed for, and no rule explains."""
    doubled_s: int = 0
    """Seconds billed that the carrier does not count."""
    unbilled_s: int = 0
    """Of started minutes in which a call was answered while its server was dead, and nobody took it: the operator's."""
    unconfirmed_nano: int = 0
    """What dying servers had asked engines for and nobody confirmed: the operator's."""
    over_hold_nano: int = 0
    problems: list[str] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    """What the servers said of calls with problems."""

    def line(self, faults: int) -> str:
        """How far it is."""
        return (
            f"{self.faults.total()}/{faults} faults in {self.took_s:.0f} s, {self.audits} audits, "
            f"{self.breaches} breaches, {self.answers['calls 202']} calls placed"
        )

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"chaos-{self.seed}.json"
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        return path


def read(path: Path) -> Outcome:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("faults", "answers"):
        found[name] = Counter(found[name])
    return Outcome(**found)


def table(outcomes: Iterable[Outcome]) -> str:
    """In Markdown: a row for each run, and their sum."""
    runs = list(outcomes)
    kinds = sorted({kind for run in runs for kind in run.faults})
    columns = ("calls", "answered", "taken_over", "resumed", "audits", "breaches", "carrier_s",
               "lost_s", "doubled_s", "unbilled_s")  # fmt: skip
    assert set(columns) <= {each.name for each in fields(Outcome)}
    heads = ["seed", *kinds, *(name.replace("_", " ").replace(" s", " (s)") for name in columns),
             "unconfirmed", "beyond holds", "problems", "took (s)"]  # fmt: skip
    rows = [heads, ["---"] * len(heads)]
    for name, some in (*((str(run.seed), [run]) for run in runs), ("all", runs)):
        counts: list[int] = [sum(run.faults[kind] for run in some) for kind in kinds]
        counts += [sum(getattr(run, column) for run in some) for column in columns]
        money = [sum(getattr(run, each) for run in some) for each in ("unconfirmed_nano", "over_hold_nano")]
        rows.append(
            [name, *map(str, counts), *(f"${usd(Nanos(each))}" for each in money),
             str(sum(len(run.problems) for run in some)), f"{sum(run.took_s for run in some):.0f}"]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@dataclass
class Legs:
    """The exchange forgets all but its latest calls, so whoever compares keeps a list of their seconds."""

    live: dict[str, PhoneCall] = field(default_factory=dict)
    over: dict[str, tuple[str, int]] = field(default_factory=dict)

    def look(self, exchange: Exchange) -> None:
        for sid, call in exchange.calls.items():
            if sid not in self.over:
                self.live[sid] = call
        for sid, call in list(self.live.items()):
            if call.over.is_set():
                self.over[sid] = (call.order.status_url.rpartition("call=")[2], call.seconds)
                del self.live[sid]


async def compare(tx: Tx, outcome: Outcome, noted: Legs) -> None:
    """Fill in what became of the calls."""
    legs: dict[str, list[int]] = {}
    for call_id, counted in noted.over.values():
        legs.setdefault(call_id, []).append(counted)
    query = """SELECT c.id, c.epoch, c.final_at, c.end_reason, COALESCE(b.quantity, 0) AS billed FROM calls c
        LEFT JOIN call_cost_breakdowns b ON b.call_id = c.id AND b.service = 'carrier'"""
    for row in (await tx.execute(text(query))).all():
        seconds = legs.pop(row.id, [])
        missing = sum(STEP_S * math.ceil(each / STEP_S) for each in seconds) - row.billed
        # Nobody took it: it was answered while its server was dead, or just dying.
        explained = min(max(0, missing), STEP_S * (row.epoch - 1)) if row.billed == 0 else 0
        outcome.calls += 1
        outcome.answered += any(seconds)
        outcome.taken_over += row.epoch > 1
        outcome.resumed += row.epoch > 1 and row.end_reason not in (None, "server_lost")
        outcome.carrier_s += sum(seconds)
        outcome.unbilled_s += explained
        outcome.lost_s += max(0, missing) - explained
        outcome.doubled_s += max(0, -missing)
        if row.final_at is None:
            outcome.problems.append(f"{row.id} was never settled")
        elif len(seconds) > 1:
            outcome.problems.append(f"{row.id} was dialled {len(seconds)} times")
        elif missing != explained:
            outcome.problems.append(f"{row.id}: the carrier counts {seconds} s, billed are {row.billed}")
    outcome.problems += [f"{call_id}, of which no ledger knows, was dialled" for call_id in legs]
    outcome.problems += [f"the leg {sid} goes on" for sid in noted.live]
    query = "SELECT reason, SUM(amount_nano) AS nano FROM operator_losses GROUP BY reason"
    for loss in await tx.execute(text(query)):
        match loss.reason.partition(":")[0]:
            case "unconfirmed":
                outcome.unconfirmed_nano += int(loss.nano)
            case "over_hold":
                outcome.over_hold_nano += int(loss.nano)
    if outcome.over_hold_nano:
        outcome.problems.append(f"calls cost {outcome.over_hold_nano} nanodollars beyond their holds")
