"""What the ledger promises, in plain Python: accounts, budgets and calls as numbers, without a database."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

Limits = tuple[int | None, int | None, int | None]


@dataclass
class AccountModel:
    balance: int = 0
    held: int = 0
    zone: str = "America/New_York"
    limits: Limits = (None, None, None)
    """Of a call, a day, a month."""
    hard: bool = True
    spent: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    reserved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    granted: int = 0

    def keys(self, call_id: str, now: datetime) -> tuple[str, str, str]:
        local = now.astimezone(ZoneInfo(self.zone)).date().isoformat()
        return f"call:{call_id}", f"day:{local}", f"month:{local[:7]}"


@dataclass
class CallModel:
    id: str
    account: AccountModel
    hold: int = 0
    """0 once it is closed."""
    was_held: int = 0
    parts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    paid: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    total: int = 0
    settled: int = 0
    operator: int = 0
    final: bool = False

    def room(self, now: datetime) -> list[int | None]:
        """What the budgets of the call, its day and its month still have; None for no limit."""
        account, left = self.account, list[int | None]()
        for key, limit in zip(account.keys(self.id, now), account.limits, strict=True):
            free = None if limit is None else max(0, limit - account.spent[key] - account.reserved[key])
            left.append(free if account.hard else None)
        return left

    def free(self, now: datetime, sharing: int = 1) -> int:
        """What it may take, where so many calls share."""
        credit = (self.account.balance - self.account.held) // sharing
        own, *shared = self.room(now)
        bounds = [] if own is None else [own]
        return min([credit, *bounds, *(room // sharing for room in shared if room is not None)])

    def take(self, amount: int, now: datetime) -> None:
        self.hold, self.was_held = self.hold + amount, self.was_held + amount
        self.account.held += amount
        for key in self.account.keys(self.id, now):
            self.parts[key] += amount
            self.account.reserved[key] += amount

    def settle(self) -> None:
        """The user pays up to the hold, of the earliest day and month first; the rest is free again."""
        self.settled = min(self.total, self.hold)
        self.operator = self.total - self.settled
        self.account.balance -= self.settled
        self.account.held -= self.hold
        for kind in ("call", "day", "month"):
            left = self.settled
            for key in sorted(key for key in self.parts if key.startswith(kind)):
                self.paid[key] = min(left, self.parts[key])
                left -= self.paid[key]
                self.account.spent[key] += self.paid[key]
                self.account.reserved[key] -= self.parts[key]
        self.hold, self.final = 0, True

    def correct(self, total: int) -> None:
        """A late word of the carrier's: less goes back to the user, more is the operator's."""
        back = self.settled - min(self.settled, total)
        self.total, self.settled, self.operator = total, self.settled - back, total - (self.settled - back)
        self.account.balance += back
        for kind in ("call", "day", "month"):
            left = back
            for key in sorted((key for key in self.paid if key.startswith(kind)), reverse=True):
                gone = min(left, self.paid[key])
                left -= gone
                self.paid[key] -= gone
                self.account.spent[key] -= gone
