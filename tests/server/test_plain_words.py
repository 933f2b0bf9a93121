"""A fault in a field is told in words for people: never the validator's, never what was sent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, EmailStr, Field, ValidationError

from server.errors import field_errors
from server.plain_words import ADDRESS
from server.routes import OPS
from server.routing import Body, Words
from tests.server.rig import PASSWORD, Rig

WRONG: tuple[object, ...] = (None, [], "", 10**30, {"a": 1}, "x" * 5_000)


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    address: EmailStr = "a@example.com"
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    day: date = date(2026, 1, 1)
    minutes: Annotated[int, Field(ge=1, le=240)] = 1
    above: Annotated[int, Field(gt=0, lt=9)] = 1
    title: Annotated[str, Field(min_length=2, max_length=5)] = "title"
    channel: Literal["phone", "browser"] = "phone"
    blank: Words = "x"
    rules: Annotated[list[int], Field(max_length=1)] = []
    code: Annotated[str, Field(pattern="^[0-9]{6}$")] = "123456"
    wish: bool = True


def told(sent: str) -> str:
    with pytest.raises(ValidationError) as raised:
        Form.model_validate_json(sent)
    (error,) = field_errors(raised.value)
    return error.message


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ('{"address": "canary"}', ADDRESS),
        ('{"at": "T09:00"}', "needs a day and a time that exist, such as 2026-12-24T18:00"),
        ('{"at": "canary"}', "needs a day and a time that exist, such as 2026-12-24T18:00"),
        ('{"day": "2026-13-01"}', "has to be a date that exists, such as 2026-12-24"),
        ('{"minutes": 0}', "has to be 1 or more"),
        ('{"minutes": 241}', "may be at most 240"),
        ('{"minutes": 1.5}', "has to be a whole number, such as 5"),
        ('{"minutes": "canary"}', "has to be a whole number, such as 5"),
        ('{"above": 0}', "has to be more than 0"),
        ('{"above": 9}', "has to be less than 9"),
        ('{"title": "canary"}', "may have at most 5 characters: make it shorter"),
        ('{"title": "x"}', "needs at least 2 characters"),
        ('{"title": 7}', "has to be text"),
        ('{"channel": "canary"}', "has to be 'phone' or 'browser'"),
        ('{"blank": "  "}', "may not be blank: write something"),
        ('{"rules": [1, 2]}', "may have at most 1 entry"),
        ('{"code": "canary"}', "has characters or a form that is not allowed here"),
        ('{"wish": "canary"}', "has to be true or false"),
        ('{"canary": 1}', "is not known here: leave it out"),
    ],
)  # fmt: skip
def test_each_kind_of_fault_has_its_sentence(sent: str, words: str) -> None:
    assert told(sent) == words
    assert "canary" not in words


async def test_no_route_speaks_the_validators_language(rig: Rig) -> None:
    """Every field of every body, given what cannot be right."""
    ann = await rig.register()
    asked = 0
    for op in OPS:
        if op.body is None or not issubclass(op.body, Body):
            continue
        for wrong in WRONG:
            body = dict.fromkeys(op.body.model_fields, wrong)
            answer = await ann.ask(op.method, op.path.replace("{id}", "brad"), body)
            for error in answer.json().get("errors") or [] if answer.status_code == 422 else []:
                asked += 1
                said = error["message"]
                assert not said.startswith(("Input", "String", "Value", "value", "List", "Extra", "Field")), (
                    op.path, error,
                )  # fmt: skip
    assert asked > 100


async def test_a_password_that_is_too_short_or_long_says_by_what(rig: Rig) -> None:
    body = {"email": "eve@example.com", "name": "Eve"}
    short = await rig.http.post("/api/auth/register", json={**body, "password": PASSWORD[:7]})
    assert short.json()["errors"] == [{"field": "password", "message": "needs at least 8 characters"}]
    long = await rig.http.post("/api/auth/register", json={**body, "password": "x1" * 600})
    assert long.json()["errors"][0]["message"].startswith("is too long: 1024 letters")
