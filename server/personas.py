"""A persona as the operator writes it down: which fields it has, what they may be, how a file of them is read.

A file is JSON or TOML: a list of sheets, in TOML under `[[persona]]`. Importing puts each in the place of the one
with its id; personas that the file does not name stay as they are.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pipeline.core.errors import CallMeBackError
from server.errors import field_errors
from server.money.prices import language_models
from server.routing import Body, Text, Words
from server.settings import Settings
from server.voices import voices
from storage.records import Persona

PersonaId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
ShortWords = Annotated[Words, Field(max_length=40)]
Tagline = Annotated[Text, Field(max_length=120)]
Identity = Annotated[
    Words, Field(max_length=4000, description="Who it is: the first words of every prompt, the same for all.")
]
Greeting = Annotated[Words, Field(max_length=200, description="First words; {name} is the person's name.")]
Voicemail = Annotated[
    Text, Field(max_length=200, description="What it leaves on a voicemail; empty for a plain message.")
]
Temperature = Annotated[int, Field(ge=0, le=200, description="Of the language model, in hundredths.")]
ReplyTokens = Annotated[int, Field(ge=16, le=1000, description="The longest reply, in tokens.")]
Minutes = Annotated[int, Field(ge=1, le=240)]


class BadSheet(CallMeBackError):
    """A file of personas that cannot be imported; says where and why."""


class PersonaSheet(Body):
    """Everything a persona is."""

    id: PersonaId
    name: ShortWords
    tagline: Tagline = ""
    identity: Identity
    greeting: Greeting
    voicemail: Voicemail = ""
    voice: ShortWords
    model: Annotated[
        str, Field(max_length=100, description="One of the configured language models; empty for the first.")
    ] = ""
    temperature_pct: Temperature = 70
    reply_max_tokens: ReplyTokens = 120
    max_minutes: Minutes = 15
    position: Annotated[int, Field(ge=0, le=10_000, description="Its place in lists.")] = 0

    @classmethod
    def of(cls, persona: Persona) -> PersonaSheet:
        """As it is kept, whatever else would be allowed now."""
        return cls.model_construct(**asdict(persona))

    def persona(self) -> Persona:
        return Persona(**self.model_dump())


def faults(sheet: PersonaSheet, settings: Settings) -> Iterator[tuple[str, str]]:
    """Fields that this server cannot follow, each with what would do."""
    if sheet.voice.casefold() not in voices(settings):
        yield "voice", f"no such voice; there are {', '.join(voices(settings))}"
    known = language_models(settings)
    if sheet.model and sheet.model not in known:
        yield "model", f"no such model is configured; there are {', '.join(known)}"


def read(file: Path, settings: Settings) -> list[Persona]:
    """The personas of a file, all of them right. Raises `BadSheet`, or `OSError`."""
    personas: list[Persona] = []
    for number, raw in enumerate(_sheets(file), 1):
        try:
            sheet = PersonaSheet.model_validate(raw)
        except ValidationError as error:
            wrong = "; ".join(f"{each.field}: {each.message}" for each in field_errors(error))
            raise BadSheet(f"{file}, persona {number}: {wrong}") from None
        for field, message in faults(sheet, settings):
            raise BadSheet(f"{file}, persona {number}: {field}: {message}")
        if any(sheet.id == earlier.id for earlier in personas):
            raise BadSheet(f"{file}, persona {number}: id: {sheet.id} is there twice")
        personas.append(sheet.persona())
    return personas


def _sheets(file: Path) -> list[Any]:
    try:
        text = file.read_text(encoding="utf-8")
        found = tomllib.loads(text).get("persona") if file.suffix == ".toml" else json.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise BadSheet(f"{file}: {error}") from None
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or not found:
        raise BadSheet(f"{file}: holds no personas; give a JSON list of them, or TOML with [[persona]]")
    return found


def written(personas: list[Persona]) -> str:
    """A file of them, as `read` takes it."""
    return json.dumps([asdict(persona) for persona in personas], ensure_ascii=False, indent=2) + "\n"
