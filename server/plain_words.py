"""What is wrong with a field of a request, in words for whoever filled it in: what it is, and what to do about it.

One place for all fields of all routes: the validator tells kinds of faults, and here each kind has its sentence. What
our own validators say is kept, since it is written for people. Nothing here repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

OURS = "Value error, "
"""What the validator puts before the text of a validator of ours."""

_SAID: Mapping[str, str] = {
    "missing": "is missing: fill it in",
    "none_required": "can only be null",
    "extra_forbidden": "is not known here: leave it out",
    "string_type": "has to be text",
    "string_pattern_mismatch": "has characters or a form that is not allowed here",
    "int_type": "has to be a whole number, such as 5",
    "int_parsing": "has to be a whole number, such as 5",
    "int_from_float": "has to be a whole number, such as 5",
    "int_parsing_size": "is a number with too many digits",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "date_type": "has to be a date, such as 2026-12-24",
    "date_parsing": "has to be a date that exists, such as 2026-12-24",
    "date_from_datetime_parsing": "has to be a date that exists, such as 2026-12-24",
    "date_from_datetime_inexact": "has to be a date without a time, such as 2026-12-24",
    "datetime_type": "needs a day and a time, such as 2026-12-24T18:00",
    "datetime_parsing": "needs a day and a time that exist, such as 2026-12-24T18:00",
    "datetime_from_date_parsing": "needs a day and a time that exist, such as 2026-12-24T18:00",
    "datetime_object_invalid": "needs a day and a time that exist, such as 2026-12-24T18:00",
    "list_type": "has to be a list",
    "dict_type": "has to be an object",
    "model_type": "has to be an object",
    "model_attributes_type": "has to be an object",
}
_COUNTED: Mapping[str, tuple[str, str]] = {
    "string_too_short": ("min_length", "needs at least {} {characters}"),
    "string_too_long": ("max_length", "may have at most {} {characters}: make it shorter"),
    "too_short": ("min_length", "needs at least {} {entries}"),
    "too_long": ("max_length", "may have at most {} {entries}"),
    "greater_than": ("gt", "has to be more than {}"),
    "greater_than_equal": ("ge", "has to be {} or more"),
    "less_than": ("lt", "has to be less than {}"),
    "less_than_equal": ("le", "may be at most {}"),
}
ADDRESS = "is no e-mail address, such as name@example.com: look for a missing @ or a mistyped end"


def said(error: ErrorDetails) -> str:
    """The sentence for one finding of the validator, without its subject, which is the field."""
    kind, facts = error["type"], error.get("ctx") or {}
    if kind in _SAID:
        return _SAID[kind]
    if kind in _COUNTED:
        name, words = _COUNTED[kind]
        return _counted(words, facts.get(name))
    if kind in {"literal_error", "enum"}:
        return f"has to be {facts['expected']}"  # what we expect, by our own declaration
    if kind == "value_error":
        # The validator of addresses explains itself in terms of mail servers; every other text is ours.
        return error["msg"].removeprefix(OURS) if error["msg"].startswith(OURS) else ADDRESS
    return error["msg"]


def _counted(words: str, figure: Any) -> str:
    one = figure == 1
    return words.format(
        figure,
        characters="character" if one else "characters",
        entries="entry" if one else "entries",
    )
