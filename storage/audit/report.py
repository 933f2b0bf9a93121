"""What an audit answers: which promises were checked on how many rows, which are broken, how much money is explained.

Holds no SQL of a check and decides nothing; the promises and what to do about a broken one are worded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text

from pipeline.core.money import Nanos
from storage.db import Tx

Invariant = Literal["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I11", "I12", "I13", "I14"]
Counted = Literal[
    "accounts", "postings", "holds", "calls", "closed calls", "open holds", "lines", "charges", "losses"
]


@dataclass(frozen=True, slots=True)
class Promise:
    """One invariant of the ledger in words. `over` names the rows it is checked on."""

    invariant: Invariant
    holds: str
    over: Counted
    advice: str


_STOP = "Take no new calls until it is explained; keep the journals of the calls named."

PROMISES: tuple[Promise, ...] = (
    Promise(
        "I1", "an account's postings add up to its balance", "postings",
        "A posting or a balance was changed by hand, or a backup was restored in part. Compare with the "
        "payment provider and correct by a posting of your own: callmeback credit.",
    ),
    Promise(
        "I2", "held money is the sum of the open holds, within balance and budgets", "accounts",
        "Money is set aside for nobody, or twice. " + _STOP,
    ),
    Promise("I3", "the charges of a line have no gap and no overlap", "charges", _STOP),
    Promise(
        "I4", "charges add up to lines, lines to calls, and both to the pinned prices", "lines",
        "A price row that calls had pinned was changed, or a charge was. Prices are added, never changed.",
    ),
    Promise(
        "I5", "a closed call was paid in full, an open one is covered by its hold", "calls",
        "Compare the call's postings and operator_losses with its total. " + _STOP,
    ),
    Promise("I6", "a closed call is over, holds nothing and was settled once", "closed calls", _STOP),
    Promise(
        "I7", "a closed call was charged for the carrier's seconds, no more and no less", "closed calls",
        "Compare the call with the carrier's log. Seconds nobody was charged for are the operator's: callmeback "
        "sql can note them in operator_losses.",
    ),
    Promise(
        "I8", "what was perhaps bought as a process died is one loss a crash, and no charge", "losses",
        "A loss was noted for a crash that was none, or by hand. Compare it with the log: purchases_unconfirmed.",
    ),
    Promise(
        "I11", "no process wrote charges of a call after another had taken it over", "charges",
        "Two processes wrote to one call: check that no two servers share a SQLite file. " + _STOP,
    ),
    Promise(
        "I12", "money that came in is what accounts have and calls were paid", "accounts",
        "Rows of an account or of closed calls are missing. Restore them from a backup.",
    ),
    Promise("I13", "the charges of a call are numbered without a hole, up to its last", "calls", _STOP),
    Promise(
        "I14", "no money is held for a call that nobody is on", "open holds",
        "The sweeper did not settle it: look for orphan_left_open in the log. A restart tries again.",
    ),
)  # fmt: skip
"""In the order they are printed. I9 and I10 are about how a state came to be and are held by tests alone."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken promise. `subject` is an id, `detail` figures in nanodollars or units."""

    invariant: Invariant
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, the number of rows it was checked on and of those that break it."""

    promise: Promise
    looked_at: int
    breaches: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the money comes to, in nanodollars.

    `volume` is all money moved: postings, and what open calls have used. `explained` is the part of it that no
    breach touches. `held` is set aside for open calls, `exposed` is what they cost beyond that. `unbilled_seconds`
    are the carrier's, of calls that no process took.
    """

    volume: Nanos
    explained: Nanos
    held: Nanos
    used_by_open_calls: Nanos
    exposed: Nanos
    unconfirmed: Nanos
    unbilled_seconds: int
    losses: Mapping[str, Nanos]
    """What the operator paid, by reason."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`explained_share` is the part of the money moved whose every nano is accounted for; 1.0 is right."""

    checks: tuple[Check, ...]
    breaches: list[Breach]
    calls: int
    events: int
    figures: Figures

    @property
    def explained_share(self) -> float:
        volume, explained = self.figures.volume, self.figures.explained
        if volume > 0:
            return explained / volume
        return 0.0 if self.breaches else 1.0


async def broken(tx: Tx, invariant: Invariant, query: str, **parameters: object) -> list[Breach]:
    """A query answers a subject and then the figures that do not agree, under telling names."""
    return [
        Breach(invariant, str(subject), ", ".join(f"{key} {value}" for key, value in figures.items()))
        for subject, figures in (
            (row["subject"], {key: value for key, value in row.items() if key != "subject"})
            for row in (await tx.execute(text(query), parameters)).mappings()
        )
    ]
