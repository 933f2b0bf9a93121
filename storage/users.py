"""Accounts and who owns a number. Passwords, codes and tokens arrive hashed; nothing here judges them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import and_, case, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as change

from storage import schedules
from storage.columns import UtcNow
from storage.db import Tx, insert
from storage.defaults import SCENARIOS
from storage.ids import new_id
from storage.records import EmailTaken, NoSuchUser, User
from storage.rows import columns, first, record
from storage.tables import call_scenario_templates, user_budget_settings, user_credits, users


async def add(
    tx: Tx, *, email: str, password_hash: str, name: str, phone: str | None, timezone: str, now: datetime
) -> User:
    """A new account with empty credit, default budget and the default scenarios. Raises `EmailTaken`.

    The address is kept in lower case. `phone` is what was typed; `set_phone` records the number it means.
    """
    values = {
        "id": new_id(), "email": email.lower(), "password_hash": password_hash, "name": name, "phone": phone,
        "timezone": timezone, "created_at": now, "updated_at": now,
    }  # fmt: skip
    added = insert(tx, users).values(values).on_conflict_do_nothing(index_elements=["email"])
    row = (await tx.execute(added.returning(*columns(users, User)))).first()
    if row is None:
        raise EmailTaken(email)
    user = record(User, row)
    await tx.execute(insert(tx, user_credits).values(user_id=user.id, updated_at=now))
    await tx.execute(insert(tx, user_budget_settings).values(user_id=user.id, updated_at=now))
    scenarios = [
        {
            "id": new_id(), "user_id": user.id, "title": template.title, "prompt": template.prompt,
            "opening": template.opening, "created_at": now, "updated_at": now,
        }
        for template in SCENARIOS
    ]  # fmt: skip
    await tx.execute(insert(tx, call_scenario_templates), scenarios)
    return user


async def by_email(tx: Tx, email: str) -> User | None:
    """The account with this address, whatever its case."""
    query = select(*columns(users, User)).where(users.c.email.in_({email, email.lower()}))
    return await first(tx, User, query.order_by(users.c.email == email.lower()).limit(1))


async def by_id(tx: Tx, user_id: str) -> User | None:
    return await first(tx, User, select(*columns(users, User)).where(users.c.id == user_id))


async def locked(tx: Tx, user_id: str) -> User | None:
    """The user, whose row nobody else changes until the transaction ends. Money is locked before it, by
    `storage.accounts.lock_account`.
    """
    query = select(*columns(users, User)).where(users.c.id == user_id)
    return await first(tx, User, query.with_for_update(key_share=True))


async def by_number(tx: Tx, e164: str) -> User | None:
    """Whoever proved last that the number is theirs."""
    theirs = (users.c.phone_e164 == e164, users.c.phone_verified_at.is_not(None))
    return await first(tx, User, select(*columns(users, User)).where(*theirs))


async def update(
    tx: Tx,
    user_id: str,
    *,
    name: str | None = None,
    timezone: str | None = None,
    password_hash: str | None = None,
    role: str | None = None,
    end_sessions: bool = False,
) -> User:
    """Changes what is given; `end_sessions` makes every token issued so far invalid. Raises `NoSuchUser`."""
    given = {
        "name": name, "timezone": timezone, "password_hash": password_hash, "role": role,
    }  # fmt: skip
    values: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if end_sessions:
        values["token_version"] = users.c.token_version + 1
    return await _changed(tx, user_id, {**values, "updated_at": UtcNow()})


async def set_phone(tx: Tx, user_id: str, e164: str) -> User:
    """Records a number nobody has proved yet. Raises `NoSuchUser`."""
    values = {"phone": e164, "phone_e164": e164, "phone_verified_at": None, "updated_at": UtcNow()}
    return await _changed(tx, user_id, values)


async def mark_verified(tx: Tx, user_id: str, e164: str, at: datetime, *, end_sessions: bool = False) -> User:
    """The user proved to own the number; whoever proved it before loses it, and both are told so by their row.

    Quiet hours of one's own are for the number they were asked for. `end_sessions` makes every token issued so far
    invalid. Raises `NoSuchUser`.
    """
    if tx.dialect.name == "postgresql":
        # Two users proving one number at once go one after the other, so that the later one wins.
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(e164, 0))))
    others = (users.c.phone_e164 == e164, users.c.id != user_id, users.c.phone_verified_at.is_not(None))
    # People before their schedules, and all in one order: a call that is being placed locks its user first, and two
    # proofs may be of each other's numbers.
    concerned = select(users.c.id).where(and_(*others) | (users.c.id == user_id)).order_by(users.c.id)
    await tx.execute(concerned.with_for_update(key_share=True))
    await schedules.pause_to(tx, e164, "number_lost", but_of=user_id)
    lost = {"phone_verified_at": None, "phone_notice": "lost", "quiet_hours": None, "updated_at": at}
    taken = (await tx.execute(change(users).where(*others).values(lost))).rowcount
    values: dict[str, object] = {
        "phone": e164, "phone_e164": e164, "phone_verified_at": at, "updated_at": at,
        "phone_notice": "taken_over" if taken else "",
        "quiet_hours": case((users.c.phone_e164 == e164, users.c.quiet_hours), else_=None),
    }  # fmt: skip
    if end_sessions:
        values["token_version"] = users.c.token_version + 1
    return await _changed(tx, user_id, values)


async def set_quiet_hours(tx: Tx, user_id: str, span: str | None) -> User:
    """Hours of one's own, as "23:00-06:00"; None for the operator's. Raises `NoSuchUser`."""
    return await _changed(tx, user_id, {"quiet_hours": span, "updated_at": UtcNow()})


async def set_inbound_pin(tx: Tx, user_id: str, pin_hash: str | None) -> User:
    """What proves who rings, hashed; None: nothing does. Raises `NoSuchUser`."""
    return await _changed(tx, user_id, {"inbound_pin_hash": pin_hash, "updated_at": UtcNow()})


async def note_call_back(tx: Tx, user_id: str, missed: str, at: datetime | None) -> None:
    """They are not rung back, for the problem of this code; "" and None: they are, or have seen why not."""
    values = {"missed_call_back": missed, "missed_call_back_at": at}
    await tx.execute(change(users).where(users.c.id == user_id).values(values))


async def delete(tx: Tx, user_id: str) -> bool:
    """Removes the account and all that hangs on it, calls and ledger included. False when there was none."""
    return (await tx.execute(delete_from(users).where(users.c.id == user_id))).rowcount == 1


async def _changed(tx: Tx, user_id: str, values: Mapping[str, object]) -> User:
    changed = change(users).where(users.c.id == user_id).values(values).returning(*columns(users, User))
    row = (await tx.execute(changed)).first()
    if row is None:
        raise NoSuchUser(user_id)
    return record(User, row)
