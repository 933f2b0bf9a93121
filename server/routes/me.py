"""My profile and the proof that a telephone is mine.

A code is six digits from a strong random source, valid ten minutes and five guesses, kept
only as a keyed hash bound to the user and the number. The last proved number stays until
another is proved.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from pydantic import Field
from starlette.responses import Response

from pipeline.core.errors import CarrierError, Refused
from server import erasure, numbers
from server.errors import invalid, overloaded
from server.limits import take_all, too_often
from server.metrics import CODES
from server.parts import Parts
from server.routes.auth import PersonName, Phone, UserView, Zone, view
from server.routing import AnyOp, Ask, Body, Op, View, When, no_content
from storage import opt_outs, users, verification
from storage.db import Tx
from storage.records import User

log = structlog.get_logger(__name__)

CODE_LIFE = timedelta(minutes=10)


class Profile(Body):
    name: PersonName | None = None
    timezone: Zone | None = None


class NewPhone(Body):
    phone: Phone


class CodeSent(View):
    phone_last2: str
    expires_at: When


class Code(Body):
    code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]


async def show(ask: Ask[None, None]) -> UserView:
    return view(ask.user)


async def change(ask: Ask[Profile, None]) -> UserView:
    async with ask.parts.database.write() as tx:
        user = await users.update(tx, ask.user.id, name=ask.body.name, timezone=ask.body.timezone)
    return view(user)


async def erase(ask: Ask[None, None]) -> Response:
    """Nothing of it is left in what this server keeps, except sums without a name."""
    await erasure.erase(ask.parts, ask.user)
    return no_content()


async def send_code(ask: Ask[NewPhone, None]) -> CodeSent:
    """The code is on record before it is sent, so that a lost answer cannot send without limit."""
    parts, user, settings = ask.parts, ask.user, ask.parts.settings
    try:
        number = numbers.facts(ask.body.phone)
    except ValueError as error:
        raise invalid("phone", str(error)) from None
    numbers.check_allowed(number, settings.operator_country, simulated=not settings.rings_real_phones)
    # Also in memory, since requests at the same moment do not see each other's rows yet.
    take_all([(parts.limiters.code_user, user.id), (parts.limiters.code_number, number.e164)])
    now = parts.clock.utc()
    code = f"{secrets.randbelow(1_000_000):06d}"
    async with parts.database.write() as tx:
        wait = await _too_many(tx, parts, user.id, number.e164, now)
        if wait is None:
            hashed = code_hash(parts.code_key, user.id, number.e164, code)
            await verification.start(tx, user.id, number.e164, hashed, now + CODE_LIFE, now)
            if user.phone_verified_at is None:
                await users.set_phone(tx, user.id, number.e164)
    if wait is not None:
        raise too_often(wait)
    try:
        await parts.carrier.send_sms(number.e164, f"{code} is your {settings.operator_name} code.")
    except CarrierError as error:
        CODES.labels("not sent").inc()
        log.warning("code_not_sent", user=user.id, carrier_code=error.code)
        raise overloaded() from None
    CODES.labels("sent").inc()
    return CodeSent(phone_last2=number.last2, expires_at=now + CODE_LIFE)


async def _too_many(tx: Tx, parts: Parts, user_id: str, e164: str, now: datetime) -> int | None:
    """Seconds to wait before another code, None when one may go out."""
    settings = parts.settings
    windows = (
        (timedelta(minutes=10), settings.codes_per_number, await _sent(tx, now, minutes=10, e164=e164)),
        (timedelta(days=1), settings.codes_per_number_daily, await _sent(tx, now, minutes=1440, e164=e164)),
        (timedelta(hours=1), settings.codes_per_user, await _sent(tx, now, minutes=60, user_id=user_id)),
    )
    full = [window for window, limit, sent in windows if sent >= limit]
    return int(max(full).total_seconds()) if full else None


async def _sent(
    tx: Tx, now: datetime, *, minutes: int, user_id: str | None = None, e164: str | None = None
) -> int:
    since = now - timedelta(minutes=minutes)
    return await verification.sends_since(tx, since=since, user_id=user_id, e164=e164)


async def verify(ask: Ask[Code, None]) -> UserView:
    """The guess is counted and committed whatever comes of it."""
    now = ask.parts.clock.utc()
    async with ask.parts.database.write() as tx:
        user = await _proved(tx, ask.parts, ask.user, ask.body.code, now)
    if user is None:
        CODES.labels("wrong").inc()
        raise Refused("wrong_code", "The code is wrong, used up or too old.")
    CODES.labels("right").inc()
    return view(user)


async def _proved(tx: Tx, parts: Parts, user: User, code: str, now: datetime) -> User | None:
    sent = await verification.latest(tx, user.id)
    if sent is None or sent.finished_at is not None or sent.expires_at <= now:
        return None
    if await verification.guess(tx, sent.id) < 0:
        return None
    expected = code_hash(parts.code_key, user.id, sent.e164, code)
    if not hmac.compare_digest(expected, sent.code_hash) or not await verification.finish(tx, sent.id):
        return None
    await opt_outs.lift(tx, sent.e164)
    return await users.mark_verified(tx, user.id, sent.e164, now)


def code_hash(key: bytes, user_id: str, e164: str, code: str) -> str:
    """What is kept of a code. Keyed, since a million codes are quickly tried."""
    return hmac.digest(key, f"{user_id} {e164} {code}".encode(), "sha256").hex()


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/me", show, "My profile", reply=UserView),
    Op(
        "DELETE", "/api/me", erase, "Delete my account with all its calls", status=204,
        refuses=((409, "call_in_progress"),),
    ),
    Op("PATCH", "/api/me", change, "Change my profile", body=Profile, reply=UserView),
    Op(
        "POST", "/api/me/phone", send_code, "Send a code to my telephone", body=NewPhone, reply=CodeSent, status=202,
        refuses=((403, "not_allowed_number"), (429, "rate_limited")),
    ),
    Op(
        "POST", "/api/me/phone/verify", verify, "Prove that it is mine", body=Code, reply=UserView,
        refuses=((422, "wrong_code"),),
    ),
)  # fmt: skip
