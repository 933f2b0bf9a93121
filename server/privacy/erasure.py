"""An account goes without a trace in anything this server writes, before the answer says so."""

from __future__ import annotations

import asyncio

import structlog

from pipeline.core.errors import Refused
from server.parts import Parts
from server.privacy.erasing import unlink
from storage import calls, closing, erasures, ledger
from storage.db import DatabaseDown
from storage.records import User

log = structlog.get_logger(__name__)


async def erase(parts: Parts, user: User) -> None:
    """Rows, then files, then what the database keeps of removed rows. Raises `Refused` while a call is on."""
    folder = parts.settings.calls_dir
    async with parts.database.write() as tx:
        # Calls before their account, as who adjusts one does.
        await calls.lock_all(tx, user.id)
        # A call that is being placed is waited for: unseen, it would go with the account and ring all the same.
        await ledger.lock_account(tx, user.id)
        mine = await calls.of_user(tx, user.id)
        if any(call.final_at is None for call in mine):
            raise Refused("call_in_progress", "A call of yours is still on; hang up first.", status=409)
        await closing.close(tx, user.id, parts.clock.utc())
        # Before the commit: files that cannot be unlinked keep the account, so that it can be tried again.
        erased = [call.id for call in mine]
        await asyncio.to_thread(unlink, folder, erased)
        if parts.database.dialect == "postgresql":  # for files on other machines
            await erasures.note(tx, erased, parts.clock.utc())
    log.info("account_deleted", user=user.id, calls=len(mine))
    try:
        await parts.database.scrub()
    except DatabaseDown as error:
        # The rows are gone. Their remains are overwritten already (secure_delete), and the log is folded in later.
        log.warning("file_not_packed", detail=str(error))
