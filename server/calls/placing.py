"""An order becomes a call: once for each key, its money set aside and its journal open before anything rings.

Orders of one user that come while another of theirs is decided are decided together (`group_commit.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from pipeline.clock import Clock
from pipeline.core.errors import Refused
from server.calls.files import Files, open_files
from server.money.admission import Admissions, Admitted, Asked, overloaded
from server.money.group_commit import GroupCommit
from server.parts import PlaceCall
from server.settings import Settings
from storage import calls
from storage.db import Database
from storage.records import CallRow, IdemTaken, User


@dataclass(frozen=True, slots=True)
class _Order:
    user: User
    asked: Asked


class Placing:
    """`room` says how many more calls this process takes, `begin` conducts one that was let in.

    A drain waits for what goes on in a block of `deciding`.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Database,
        admissions: Admissions,
        *,
        room: Callable[[], int],
        begin: Callable[[Admitted, Files], None],
        deciding: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._admissions = admissions
        self._room = room
        self._begin = begin
        self._orders = GroupCommit(self._place)
        self._deciding = deciding

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        """Raises `Refused`; then nothing has happened."""
        if idem is not None and (earlier := await self._earlier(user, idem)) is not None:
            return earlier
        with self._deciding():
            if self._room() < 1:
                raise overloaded()
            try:
                return await self._orders.join(user.id, _Order(user, Asked(order, idem)))
            except IdemTaken as taken:
                return _same(taken.existing, idem)

    async def _place(self, orders: Sequence[_Order]) -> list[CallRow | Exception]:
        with ExitStack() as opened:
            async with self._database.write() as tx:
                # Others came in while these waited for their turn.
                outcomes = await self._admissions.admit_all(
                    tx, orders[0].user, [order.asked for order in orders], self._room()
                )
                # A call whose journal cannot be opened is not placed: its money is not set aside either.
                files = {
                    outcome.row.id: open_files(self._settings, self._clock, outcome.row, opened)
                    for outcome in outcomes
                    if isinstance(outcome, Admitted)
                }
            opened.pop_all()
        return [
            self._begun(outcome, files) if isinstance(outcome, Admitted) else outcome for outcome in outcomes
        ]

    def _begun(self, admitted: Admitted, files: dict[str, Files]) -> CallRow:
        """Here, and not where it is waited for: a call is conducted also when nobody waits for the answer any more."""
        self._begin(admitted, files[admitted.row.id])
        return admitted.row

    async def _earlier(self, user: User, idem: tuple[str, str]) -> CallRow | None:
        async with self._database.read() as tx:
            row = await calls.by_idem(tx, user.id, idem[0])
        return None if row is None else _same(row, idem)


def _same(row: CallRow, idem: tuple[str, str] | None) -> CallRow:
    if idem is not None and row.idem_hash != idem[1]:
        raise Refused(
            "idempotency_conflict", "This Idempotency-Key was used with another request.", status=409
        )
    return row
