"""The personas, and what each of them is to me."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from pipeline.audio.wav import wav_of
from pipeline.core.errors import EngineError
from server.errors import invalid, not_found, overloaded
from server.routing import AnyOp, Ask, Body, Op, Text, View, When, Words
from server.voices import voices
from storage import personas
from storage.records import Persona, Relationship


class PersonaView(View):
    id: str
    name: str
    tagline: str
    greeting: str
    voice: str
    max_minutes: int


class PersonaList(View):
    items: list[PersonaView]
    next_cursor: str | None


class RelationshipBody(Body):
    """What the persona is to me, and what it should know of me, in my words."""

    kind: Annotated[Words, Field(max_length=40)]
    notes: Annotated[Text, Field(max_length=2000)] = ""
    voice: Annotated[Text, Field(max_length=40, description="Another voice than its own.")] = ""
    manner: Annotated[
        Text, Field(max_length=100, description="How it is to speak with me: dry and brief.")
    ] = ""


class RelationshipView(View):
    persona_id: str
    kind: str
    notes: str
    voice: str
    manner: str
    calls: int
    last_call_at: When | None


def view(persona: Persona) -> PersonaView:
    return PersonaView(
        id=persona.id,
        name=persona.name,
        tagline=persona.tagline,
        greeting=persona.greeting,
        voice=persona.voice,
        max_minutes=persona.max_minutes,
    )


def relationship_view(relationship: Relationship) -> RelationshipView:
    return RelationshipView(
        persona_id=relationship.persona_id,
        kind=relationship.kind,
        notes=relationship.notes,
        voice=relationship.voice,
        manner=relationship.manner,
        calls=relationship.calls,
        last_call_at=relationship.last_call_at,
    )


async def listing(ask: Ask[None, None]) -> PersonaList:
    async with ask.parts.database.read() as tx:
        found = await personas.all(tx)
    return PersonaList(items=[view(persona) for persona in found], next_cursor=None)


async def show(ask: Ask[None, None]) -> PersonaView:
    async with ask.parts.database.read() as tx:
        persona = await personas.by_id(tx, ask.ident())
    if persona is None:
        raise not_found()
    return view(persona)


async def sample(ask: Ask[None, None]) -> Response:
    """Its voice, as on the telephone: 16-bit samples at 8 kHz, which every browser plays."""
    async with ask.parts.database.read() as tx:
        persona = await personas.by_id(tx, ask.ident())
    if persona is None:
        raise not_found()
    try:
        sound = await ask.parts.desk.samples.mulaw(
            persona.voice, f"Hi, I am {persona.name}. {persona.tagline}."
        )
    except (EngineError, TimeoutError):
        raise overloaded() from None
    headers = {"cache-control": "private, max-age=3600"}
    return Response(wav_of(sound), media_type="audio/wav", headers=headers)


async def relationship(ask: Ask[None, None]) -> RelationshipView:
    async with ask.parts.database.read() as tx:
        persona = await personas.by_id(tx, ask.ident())
        if persona is None:
            raise not_found()
        return relationship_view(await personas.relationship(tx, ask.user.id, persona.id))


async def put_relationship(ask: Ask[RelationshipBody, None]) -> RelationshipView:
    body = ask.body
    known = voices(ask.parts.settings)
    if body.voice and body.voice.casefold() not in known:
        raise invalid("voice", f"no such voice; there are {', '.join(known)}")
    async with ask.parts.database.write() as tx:
        persona = await personas.by_id(tx, ask.ident())
        if persona is None:
            raise not_found()
        return relationship_view(
            await personas.put_relationship(
                tx, ask.user.id, persona.id,
                kind=body.kind, notes=body.notes, voice=body.voice, manner=body.manner,
            )
        )  # fmt: skip


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/personas", listing, "Who can ring me", reply=PersonaList),
    Op("GET", "/api/personas/{id}", show, "One of them", reply=PersonaView),
    Op("GET", "/api/personas/{id}/sample", sample, "Hear its voice", media="audio/wav"),
    Op("GET", "/api/personas/{id}/relationship", relationship, "What it is to me", reply=RelationshipView),
    Op(
        "PUT", "/api/personas/{id}/relationship", put_relationship, "Say what it is to me",
        body=RelationshipBody, reply=RelationshipView,
    ),
)  # fmt: skip
