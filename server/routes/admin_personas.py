"""The personas, for the operator: users with the role admin. To everybody else there is nothing here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator
from starlette.responses import Response

from pipeline.core.errors import Refused
from server.errors import invalid, not_found
from server.operators import noted, operator
from server.personas import (
    Greeting,
    Identity,
    Minutes,
    PersonaId,
    PersonaSheet,
    ReplyTokens,
    ShortWords,
    Tagline,
    Temperature,
    Voicemail,
    faults,
)
from server.routing import AnyOp, Ask, Body, Op, View, no_content
from storage import personas
from storage.records import Persona


class PersonaChange(Body):
    """Only what is given changes."""

    name: ShortWords | None = None
    tagline: Tagline | None = None
    identity: Identity | None = None
    greeting: Greeting | None = None
    voicemail: Voicemail | None = None
    voice: ShortWords | None = None
    model: Annotated[str, Field(max_length=100)] | None = None
    temperature_pct: Temperature | None = None
    reply_max_tokens: ReplyTokens | None = None
    max_minutes: Minutes | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None

    @model_validator(mode="after")
    def _something(self) -> PersonaChange:
        if not self.model_fields_set:
            raise ValueError("nothing to change")
        return self


class WholePersona(View):
    id: PersonaId
    name: str
    tagline: str
    identity: str
    greeting: str
    voicemail: str
    voice: str
    model: Annotated[str, Field(description="One of the configured language models; empty for the first.")]
    temperature_pct: int
    reply_max_tokens: int
    max_minutes: int
    position: int


class WholePersonaList(View):
    items: list[WholePersona]
    next_cursor: str | None


def view(persona: Persona) -> WholePersona:
    return WholePersona.model_validate(PersonaSheet.of(persona).model_dump())


async def listing(ask: Ask[None, None]) -> WholePersonaList:
    operator(ask)
    async with ask.parts.database.read() as tx:
        found = await personas.all(tx)
    return WholePersonaList(items=[view(persona) for persona in found], next_cursor=None)


async def create(ask: Ask[PersonaSheet, None]) -> WholePersona:
    operator(ask)
    persona = _checked(ask, ask.body)
    async with ask.parts.database.write() as tx:
        if await personas.by_id(tx, persona.id) is not None:
            raise invalid("id", "another persona has this id; change that one")
        await noted(tx, ask, "persona.added", persona.id)
        return view(await personas.put(tx, persona))


async def change(ask: Ask[PersonaChange, None]) -> WholePersona:
    operator(ask)
    given = {
        name: value for name, value in ask.body.model_dump(exclude_unset=True).items() if value is not None
    }
    async with ask.parts.database.write() as tx:
        persona = await personas.by_id(tx, ask.ident())
        if persona is None:
            raise not_found()
        await noted(tx, ask, "persona.changed", persona.id, ", ".join(sorted(given)))
        sheet = PersonaSheet.of(persona).model_copy(update=given)
        return view(await personas.put(tx, _checked(ask, sheet)))


async def remove(ask: Ask[None, None]) -> Response:
    operator(ask)
    async with ask.parts.database.write() as tx:
        if await personas.by_id(tx, ask.ident()) is None:
            raise not_found()
        if not await personas.delete(tx, ask.ident()):
            raise Refused(
                "invalid_request", "People have calls or memories with this persona; it can be changed, not removed.",
                status=409,
            )  # fmt: skip
        await noted(tx, ask, "persona.removed", ask.ident())
    return no_content()


def _checked(ask: Ask[Any, Any], sheet: PersonaSheet) -> Persona:
    for field, message in faults(sheet, ask.parts.settings):
        raise invalid(field, message)
    return sheet.persona()


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/admin/personas", listing, "All personas, whole", reply=WholePersonaList,
       refuses=((404, "not_found"),)),
    Op("POST", "/api/admin/personas", create, "Add one", body=PersonaSheet, reply=WholePersona, status=201,
       refuses=((404, "not_found"),)),
    Op("PATCH", "/api/admin/personas/{id}", change, "Change one", body=PersonaChange, reply=WholePersona),
    Op("DELETE", "/api/admin/personas/{id}", remove, "Remove one nobody has called with", status=204,
       refuses=((409, "invalid_request"),)),
)  # fmt: skip
