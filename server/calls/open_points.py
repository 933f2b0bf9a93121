"""What a scenario leaves open and a call has to say: how it is given, and what is refused.

Shared by everything that places calls: at once, or later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.core.scenario import LONGEST_VALUE, MOST_VARIABLES, Variable, variables
from server.errors import FieldError, InvalidFields
from server.routing import View, Words
from storage.records import Scenario

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Value = Annotated[Words, Field(max_length=LONGEST_VALUE)]


def _in_order(given: dict[str, str]) -> dict[str, str]:
    """The order in which values are given makes no other request of it."""
    return dict(sorted(given.items()))


Variables = Annotated[
    dict[Name, Value],
    Field(max_length=MOST_VARIABLES, description='What the scenario leaves open: {"place": "the café"}.'),
    AfterValidator(_in_order),
]


class VariableView(View):
    """`default` null: a call with this scenario has to say it."""

    name: str
    default: str | None


def few(template: str) -> str:
    """A validator: a template leaves open as much as a call may say, and its defaults are no longer than values."""
    found = variables(template)
    if len(found) > MOST_VARIABLES:
        raise ValueError(f"may leave open at most {MOST_VARIABLES} things")
    if any(len(variable.default or "") > LONGEST_VALUE for variable in found):
        raise ValueError(f"a default may have at most {LONGEST_VALUE} characters")
    return template


def kept(stored: str) -> dict[str, str]:
    """What was stored as JSON. A row that was written by hand and makes no sense says nothing."""
    try:
        found = json.loads(stored)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def checked(scenario: Scenario | None, given: Mapping[str, str]) -> tuple[Variable, ...]:
    """What the scenario leaves open, all of it said. Raises `InvalidFields`, naming each that is missing or unknown."""
    known = () if scenario is None else variables(scenario.prompt, scenario.opening)
    names = {variable.name for variable in known}
    wrong = [
        FieldError(
            field=f"variables.{variable.name}", message="the scenario leaves this open: give it a value"
        )
        for variable in known
        if variable.default is None and variable.name not in given
    ]
    wrong += [
        FieldError(field=f"variables.{name}", message="the scenario has no such variable")
        for name in given
        if name not in names
    ]
    if wrong:
        raise InvalidFields(wrong)
    return known
