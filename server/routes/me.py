"""My profile, my own quiet hours, and no more calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.responses import Response

from pipeline.core.guard import NotAllowed, Why
from server import permits
from server.privacy import consent, erasure
from server.routes.auth import PersonName, UserView, Zone, view
from server.routing import AnyOp, Ask, Body, Op, PageQuery, Text, View, When, no_content
from server.setting_kinds import quiet_span
from storage import consents, opt_outs, users
from storage.db import Tx
from storage.records import User

QuietHours = Annotated[Text, AfterValidator(quiet_span)]


class Profile(Body):
    """`quiet_hours` of one's own, such as 23:00-06:00 or off, hold for the verified number; null: the operator's.

    `missed_call_back: null` says that I have seen it.
    """

    name: PersonName | None = None
    timezone: Zone | None = None
    quiet_hours: QuietHours | None = None
    missed_call_back: None = None


class ConsentView(View):
    """What I said, about which of my numbers, and by what: `code` when it was verified, `schedule …`, `quiet hours …`,
    or `opted out …`, which takes all of it back for that number. `text` is what I said yes to."""

    phone: str
    method: str
    text: str
    at: When


class ConsentList(View):
    items: list[ConsentView]
    next_cursor: str | None


class MyView(UserView):
    opted_out: Annotated[
        bool, Field(description="Whether my number wants no calls, whoever said so; verifying it lifts that.")
    ]


async def _shown(tx: Tx, user: User) -> MyView:
    """Of a number that is not proved nothing is told: it may be somebody else's."""
    proved = user.phone_e164 if user.phone_verified_at is not None else None
    opted_out = proved is not None and await opt_outs.has(tx, proved)
    return MyView(**view(user).model_dump(), opted_out=opted_out)


async def show(ask: Ask[None, None]) -> MyView:
    async with ask.parts.database.read() as tx:
        return await _shown(tx, ask.user)


async def change(ask: Ask[Profile, None]) -> MyView:
    async with ask.parts.database.write() as tx:
        if "missed_call_back" in ask.body.model_fields_set:
            await users.note_call_back(tx, ask.user.id, "", None)
        user = await users.update(tx, ask.user.id, name=ask.body.name, timezone=ask.body.timezone)
        if "quiet_hours" in ask.body.model_fields_set:
            if user.phone_e164 is None or user.phone_verified_at is None:
                raise permits.refusal(NotAllowed(Why.UNVERIFIED))
            user = await users.set_quiet_hours(tx, user.id, ask.body.quiet_hours)
            # That a phone may ring at night is on record, like the consent to ring it at all.
            await consents.add(
                tx, user.id, user.phone_e164 or "", text_version=consent.VERSION, ip=ask.client,
                method=f"quiet hours {ask.body.quiet_hours or 'of the operator'}", now=ask.parts.clock.utc(),
            )  # fmt: skip
        return await _shown(tx, user)


async def erase(ask: Ask[None, None]) -> Response:
    """Nothing of it is left in what this server keeps, except sums without a name."""
    await erasure.erase(ask.parts, ask.user)
    return no_content()


async def opt_out(ask: Ask[None, None]) -> Response:
    """My number is rung no more, by nobody; a call to it ends. Only verifying it again lifts that."""
    if ask.user.phone_e164 is None or ask.user.phone_verified_at is None:
        raise permits.refusal(NotAllowed(Why.UNVERIFIED))
    await ask.parts.desk.opt_out(ask.user.phone_e164, "web")
    return no_content()


async def agreed(ask: Ask[None, PageQuery]) -> ConsentList:
    async with ask.parts.database.read() as tx:
        page = await consents.page(tx, ask.user.id, ask.query.cursor, ask.query.limit)
    items = [
        ConsentView(
            phone=item.phone_e164,
            method=item.method,
            text=consent.TEXTS.get(item.text_version, ""),
            at=item.created_at,
        )
        for item in page.items
    ]
    return ConsentList(items=items, next_cursor=page.next_cursor)


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/me", show, "My profile", reply=MyView),
    Op(
        "DELETE", "/api/me", erase, "Delete my account with all its calls", status=204,
        refuses=((409, "call_in_progress"),),
    ),
    Op("PATCH", "/api/me", change, "Change my profile", body=Profile, reply=MyView,
       refuses=((403, "phone_not_verified"),)),
    Op("GET", "/api/me/consents", agreed, "What I agreed to, newest first", query=PageQuery, reply=ConsentList),
    Op(
        "POST", "/api/opt-out", opt_out, "Never ring my telephone again", status=204,
        refuses=((403, "phone_not_verified"),),
    ),
)  # fmt: skip
