"""Scenario templates: their variables are declared by using them, and filled in once, when a call is placed.

`{place}` needs a value, `{place|the café}` has one of its own; `{name}` is the person's name and always known. A
filled-in value is never read as a template again. Braces around anything else are just text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PERSON = "name"
"""The variable the server fills in itself."""
MOST_VARIABLES = 20
LONGEST_VALUE = 200

_PLACE = re.compile(r"\{(?P<name>[a-z][a-z0-9_]{0,31})(?:\|(?P<default>[^{}]*))?\}")
_UNSPOKEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Variable:
    """One thing a template leaves open. `default` None: a call has to say it."""

    name: str
    default: str | None


def variables(*texts: str) -> tuple[Variable, ...]:
    """What the texts of one template leave open, in the order of their first use.

    A default given at any use counts for all of them, the first one where there are several.
    """
    found: dict[str, str | None] = {}
    for text in texts:
        for place in _PLACE.finditer(text):
            name, default = place["name"], place["default"]
            if name != PERSON and found.get(name) is None:
                found[name] = default
    return tuple(Variable(name, default) for name, default in found.items())


def settled(known: tuple[Variable, ...], given: Mapping[str, str]) -> dict[str, str]:
    """The value of each variable, from what was given and the defaults. `KeyError` for one that has none."""
    return {
        variable.name: given[variable.name] if variable.default is None else given.get(variable.name, variable.default)
        for variable in known
    }  # fmt: skip


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in. `KeyError` for one without a value."""
    return _PLACE.sub(lambda place: values[place["name"]], text)


def plain(value: str) -> str:
    """A value on one line, with nothing in it that cannot be said."""
    return " ".join(_UNSPOKEN.sub(" ", value).split())
