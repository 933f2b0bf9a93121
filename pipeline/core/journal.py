"""Events and effects in one fixed spelling, so that a journal can be compared byte for byte.

A line is a tag (`E` event, `F` effect), a space and a JSON object whose first key names the
type and whose other keys are the fields in the order of their declaration. No floats, no
sets, no dates: there is exactly one way to write a line.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from pipeline.core import effects, events
from pipeline.core.effects import Effect
from pipeline.core.errors import JournalError
from pipeline.core.events import Event

VERSION = 1

_Reader = Callable[[Any], Any]


def _kinds(module: types.ModuleType, root: type) -> dict[str, type]:
    found = vars(module).values()
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, root) and kind is not root]
    return {kind.__name__: kind for kind in kinds}


_EVENTS = _kinds(events, Event)
_EFFECTS = _kinds(effects, Effect)
_TYPE = "type"


def event_line(event: Event) -> str:
    return "E " + _write(event)


def effect_line(effect: Effect) -> str:
    return "F " + _write(effect)


def parse_event(line: str) -> Event:
    """The event of an `E` line. Raises `JournalError` when it is not one of ours."""
    event = _parse(line, "E ", _EVENTS)
    assert isinstance(event, Event)  # narrows what the table of kinds guarantees
    return event


def parse_effect(line: str) -> Effect:
    """The effect of an `F` line. Raises `JournalError` when it is not one of ours."""
    effect = _parse(line, "F ", _EFFECTS)
    assert isinstance(effect, Effect)  # narrows what the table of kinds guarantees
    return effect


def is_event(line: str) -> bool:
    return line.startswith("E ")


def is_effect(line: str) -> bool:
    return line.startswith("F ")


def _parse(line: str, tag: str, kinds: dict[str, type]) -> object:
    if not line.startswith(tag):
        raise JournalError(f"expected a line tagged {tag.strip()!r}")
    name = "nothing known"
    try:
        data = json.loads(line[len(tag) :])
        kind = kinds[data.pop(_TYPE)]
        name = kind.__name__
        return _record(kind)(data)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        # Neither the line nor the error's text, which repeats values: a journal holds what was said.
        raise JournalError(f"this version cannot read the line of {name}: {type(error).__name__}") from None


def _write(record: Event | Effect) -> str:
    kind = type(record)
    return "".join((f'{{"{_TYPE}":"{kind.__name__}"', *_fields(record, kind), "}"))


def _fields(record: object, kind: type) -> list[str]:
    return [f',"{name}":{_text(getattr(record, name))}' for name in _names(kind)]


def _text(value: Any) -> str:
    """A value as JSON. Written out rather than handed to `json` as dictionaries: it is done several times a second
    and call."""
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is int:
        return str(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is tuple:
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Enum):
        return _text(value.value)
    if is_dataclass(value):
        return "{" + "".join(_fields(value, kind))[1:] + "}"
    raise JournalError(f"a {kind.__name__} has no place in a journal")


_quoted = json.JSONEncoder(ensure_ascii=False).encode

_NAMES: dict[type, tuple[str, ...]] = {}
_RECORDS: dict[type, _Reader] = {}


def _names(kind: type) -> tuple[str, ...]:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(field.name for field in fields(kind))
    return _NAMES[kind]


def _record(kind: type) -> _Reader:
    if kind not in _RECORDS:
        hints = get_type_hints(kind)
        readers = {name: _reader(hints[name]) for name in _names(kind)}
        needed = {field.name for field in fields(kind) if field.default is MISSING}

        def read(data: dict[str, Any]) -> Any:
            # A field with a default may have come with a later version than wrote the line.
            if not needed <= data.keys() <= readers.keys():
                raise ValueError(f"fields {sorted(data.keys() ^ readers.keys())}")
            return kind(**{name: reader(data[name]) for name, reader in readers.items() if name in data})

        _RECORDS[kind] = read
    return _RECORDS[kind]


def _reader(hint: Any) -> _Reader:
    """How to read a value of this type back; a value of another type is an error."""
    if isinstance(hint, NewType):
        return _reader(hint.__supertype__)
    origin = get_origin(hint)
    if origin is tuple:
        item, items = _reader(get_args(hint)[0]), _exactly(list)
        return lambda value: tuple(item(part) for part in items(value))
    if origin in (Union, types.UnionType):
        (inner,) = (_reader(arg) for arg in get_args(hint) if arg is not type(None))
        return lambda value: None if value is None else inner(value)
    if origin is Literal:
        return _one_of(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if is_dataclass(hint) and isinstance(hint, type):
        return _record(hint)
    return _exactly(hint)


def _one_of(choices: tuple[Any, ...]) -> _Reader:
    def read(value: Any) -> Any:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {choices}")
        return value

    return read


def _exactly(kind: type) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{value!r} is no {kind.__name__}")
        return value

    return read
