"""The proof that a telephone is mine.

A code is six digits from a strong random source, valid ten minutes and five guesses, kept only as a keyed hash bound
to the user and the number; or Twilio Verify makes and checks it. The last proved number stays until another is
proved. How often codes are sent is `server/code_limits.py`'s.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from pydantic import AfterValidator, Field

from pipeline.carriers.verify import TOO_MANY_SENDS
from pipeline.core.errors import CarrierError, Refused
from server import code_limits, numbers, permits
from server.errors import invalid, overloaded
from server.limits import neighbourhood, take_all, too_often
from server.metrics import CODES
from server.parts import Parts
from server.privacy import consent
from server.routes.auth import Phone, UserView, view
from server.routing import AnyOp, Ask, Body, Op, View, When
from storage import consents, opt_outs, users, verification
from storage.db import Tx
from storage.records import User, Verification

log = structlog.get_logger(__name__)

CODE_LIFE = timedelta(minutes=10)


class NewPhone(Body):
    phone: Phone


class CodeSent(View):
    """Entering the code agrees to `consent`, a text that is on record with its version."""

    phone_last2: str
    expires_at: When
    consent: str


def _six_digits(code: str) -> str:
    if not (len(code) == 6 and code.isascii() and code.isdigit()):
        raise ValueError("has to be the six digits that were sent")
    return code


class Code(Body):
    code: Annotated[
        str,
        AfterValidator(_six_digits),
        Field(json_schema_extra={"pattern": "^[0-9]{6}$"}, description="Six digits."),
    ]


async def send_code(ask: Ask[NewPhone, None]) -> CodeSent:
    """The code is on record before it is sent, so that a lost answer cannot send without limit."""
    parts, user = ask.parts, ask.user
    try:
        number = numbers.facts(ask.body.phone)
    except ValueError as error:
        raise invalid("phone", str(error)) from None
    permits.check_number(parts.settings, number)
    # Also in memory, since requests at the same moment do not see each other's rows yet.
    take_all([(parts.limiters.code_user, user.id), (parts.limiters.code_number, number.e164)])
    now = parts.clock.utc()
    code = f"{secrets.randbelow(1_000_000):06d}"
    asker = neighbourhood(ask.client)
    async with parts.database.write() as tx:
        await code_limits.check(tx, parts.settings, user.id, number, asker, now)
        hashed = "" if parts.codes else code_hash(parts.code_key, user.id, number.e164, code)
        sent = await verification.start(
            tx, user.id, number.e164, hashed, now + CODE_LIFE, now, region=number.region, network=asker
        )
        if user.phone_verified_at is None:
            await users.set_phone(tx, user.id, number.e164)
    await _send(parts, sent, code)
    CODES.labels("sent").inc()
    return CodeSent(
        phone_last2=number.last2, expires_at=sent.expires_at, consent=consent.TEXTS[consent.VERSION]
    )


async def _send(parts: Parts, sent: Verification, code: str) -> None:
    try:
        if parts.codes is None:
            await parts.carrier.send_sms(sent.e164, f"{code} is your {parts.settings.operator_name} code.")
        else:
            sid = await parts.codes.send(sent.e164)
            async with parts.database.write() as tx:
                await verification.name(tx, sent.id, sid)
    except CarrierError as error:
        CODES.labels("not sent").inc()
        log.warning("code_not_sent", user=sent.user_id, carrier_code=error.code)
        if error.code == TOO_MANY_SENDS:
            raise too_often(int(CODE_LIFE.total_seconds())) from None
        raise overloaded() from None


class Proved(UserView):
    """My account. Where the number takes another's place every session ends, this one too: `token` begins one."""

    token: str | None
    expires_at: When | None


async def verify(ask: Ask[Code, None]) -> Proved:
    """The guess is counted and committed whatever comes of it.

    A stolen token does not outlive a change of the number, and who makes that change with it does not stay unnoticed.
    """
    parts, user, now = ask.parts, ask.user, ask.parts.clock.utc()
    async with parts.database.write() as tx:
        sent = await _guessing(tx, user, now)
    if sent is None or not await _right(parts, user, sent, ask.body.code):
        CODES.labels("wrong").inc()
        raise Refused("wrong_code", "The code is wrong, used up or too old.")
    moves = user.phone_verified_at is not None and user.phone_e164 != sent.e164
    async with parts.database.write() as tx:
        if not await verification.finish(tx, sent.id):
            raise Refused("wrong_code", "The code is wrong, used up or too old.")
        proved = await users.mark_verified(tx, user.id, sent.e164, now, end_sessions=moves)
        await opt_outs.lift(tx, sent.e164)
        await consents.add(
            tx, user.id, sent.e164, text_version=consent.VERSION, ip=ask.client, method="code", now=now
        )
    CODES.labels("right").inc()
    issued = parts.tokens.issue(proved) if moves else None
    return Proved(
        **view(proved).model_dump(),
        token=issued and issued.token,
        expires_at=issued and issued.expires_at,
    )


async def _guessing(tx: Tx, user: User, now: datetime) -> Verification | None:
    """The code that is guessed, the guess counted; None when there is none, or none left to make."""
    sent = await verification.latest(tx, user.id)
    if sent is None or sent.finished_at is not None or sent.expires_at <= now:
        return None
    return sent if await verification.guess(tx, sent.id) >= 0 else None


async def _right(parts: Parts, user: User, sent: Verification, code: str) -> bool:
    if parts.codes is None or sent.sid is None:
        expected = code_hash(parts.code_key, user.id, sent.e164, code)
        return bool(sent.code_hash) and hmac.compare_digest(expected, sent.code_hash)
    try:
        return await parts.codes.check(sent.sid, code)
    except CarrierError as error:
        log.warning("code_not_checked", user=user.id, carrier_code=error.code)
        raise overloaded() from None


def code_hash(key: bytes, user_id: str, e164: str, code: str) -> str:
    """What is kept of a code. Keyed, since a million codes are quickly tried."""
    return hmac.digest(key, f"{user_id} {e164} {code}".encode(), "sha256").hex()


OPS: tuple[AnyOp, ...] = (
    Op(
        "POST", "/api/me/phone", send_code, "Send a code to my telephone", body=NewPhone, reply=CodeSent, status=202,
        refuses=((403, "not_allowed_number"), (429, "rate_limited")),
    ),
    Op(
        "POST", "/api/me/phone/verify", verify, "Prove that it is mine", body=Code, reply=Proved,
        refuses=((422, "wrong_code"),),
    ),
)  # fmt: skip
