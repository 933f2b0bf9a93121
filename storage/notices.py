"""PostgreSQL's LISTEN and NOTIFY: short texts from one connection to all that listen on a channel.

A text is delivered when its transaction commits, to whoever listens at that moment, in the
order of commits. Nothing is kept: who was not connected never gets it. What does not fit in
a text goes into a parcel, a row that the text names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError

from storage.db import Database, DatabaseDown, Tx, insert, translated
from storage.ids import new_id
from storage.tables import bus_parcels

MAX_BYTES = 7_500
"""Of one text. PostgreSQL takes less than 8,000."""

PARCEL_LIFE = timedelta(minutes=2)
"""How long a parcel waits to be fetched; every listener may, so none of them removes it."""

_KEEP_ALIVE = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")


class Notices:
    """One connection that only listens. `heard` and `lost` are called on the event loop and must not raise."""

    def __init__(
        self,
        database: Database,
        channels: Iterable[str],
        heard: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        self._database = database
        self._channels = tuple(channels)
        self._heard = heard
        self._lost = lost
        self._connection: Tx | None = None

    async def open(self) -> None:
        """Listen from now on. Raises `DatabaseDown`."""
        opened = False
        try:
            with translated():
                connection = self._connection = await self._database.session()
                for setting in _KEEP_ALIVE:
                    await connection.execute(text(f"SET {setting}"))
                driver = await self._driver(connection)
                driver.add_termination_listener(self._ended)
                for channel in self._channels:
                    await driver.add_listener(channel, self._came)
            opened = True
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The database library does not see, and so does not translate, what is asked past it.
            raise DatabaseDown(type(error).__name__, retryable=True) from error
        finally:
            if not opened:
                await self.close()

    async def check(self) -> None:
        """Make sure that the connection lives. Raises `DatabaseDown`."""
        if self._connection is not None:
            with translated():
                await self._connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """The connection is really closed: a pooled one would go on listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                await connection.invalidate()
            await connection.close()

    async def _driver(self, connection: Tx) -> Any:
        return (await connection.get_raw_connection()).driver_connection

    def _came(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._heard(str(payload))

    def _ended(self, _connection: object) -> None:
        self._lost()


async def notify(tx: Tx, channel: str, payload: str) -> None:
    """Tell all that listen on the channel, once this transaction commits. At most `MAX_BYTES`."""
    if len(payload.encode()) > MAX_BYTES:
        raise ValueError("a notification is short")
    await tx.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})


async def post_parcel(tx: Tx, body: str, now: datetime) -> str:
    """Lay down what is too long for a notification; its id. Old ones are cleared away."""
    await tx.execute(delete(bus_parcels).where(bus_parcels.c.created_at < now - PARCEL_LIFE))
    parcel = new_id()
    await tx.execute(insert(tx, bus_parcels).values(id=parcel, body=body, created_at=now))
    return parcel


async def parcel(tx: Tx, ident: str) -> str | None:
    """What is in it; None when it is gone."""
    return (
        await tx.execute(select(bus_parcels.c.body).where(bus_parcels.c.id == ident))
    ).scalar_one_or_none()
