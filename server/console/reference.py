"""The API reference at `/docs`: a page made from the table of routes, the same that `/openapi.json` is made from.

Nothing in it is written twice: paths, fields and refusals come from the declarations, the
examples from `server/console/examples.py`, which a test runs against a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a body, a query or an answer, in words."""

    name: str
    kind: str
    required: bool
    note: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One route."""

    method: str
    path: str
    summary: str
    public: bool
    body: tuple[Member, ...]
    query: tuple[Member, ...]
    answers: tuple[tuple[str, str], ...]
    reply: tuple[Member, ...]

    @property
    def anchor(self) -> str:
        return f"{self.method}-{self.path}".lower().replace("/", "-").replace("{", "").replace("}", "")


@dataclass(frozen=True, slots=True)
class Chapter:
    """The routes of one tag."""

    name: str
    entries: tuple[Entry, ...]


def chapters(described: Schema) -> list[Chapter]:
    """The reference of an OpenAPI document of `server/openapi.py`, in its order."""
    found: dict[str, list[Entry]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append(_entry(described, method, path, operation))
    return [Chapter(name, tuple(entries)) for name, entries in found.items()]


def _entry(described: Schema, method: str, path: str, operation: Schema) -> Entry:
    body = _of_content(described, operation.get("requestBody", {}))
    replies = operation["responses"]
    good: Schema = next((reply for status, reply in replies.items() if status.startswith("2")), {})
    return Entry(
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        public="security" not in operation,
        body=_members(described, body),
        query=tuple(_parameter(described, one) for one in operation.get("parameters", ())),
        answers=tuple((status, str(reply.get("description", ""))) for status, reply in replies.items()),
        reply=_members(described, _of_content(described, good)),
    )


def _of_content(described: Schema, part: Schema) -> Schema:
    for content in part.get("content", {}).values():
        return _resolved(described, content.get("schema", {}))
    return {}


def _resolved(described: Schema, schema: Schema) -> Schema:
    """A schema without its reference; references of references do not occur."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found: Any = described
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _members(described: Schema, schema: Schema) -> tuple[Member, ...]:
    required: Sequence[str] = schema.get("required", ())
    return tuple(
        Member(name, _kind(described, one), name in required, str(one.get("description", "")))
        for name, one in schema.get("properties", {}).items()
    )


def _parameter(described: Schema, parameter: Schema) -> Member:
    where = "header" if parameter["in"] == "header" else parameter["in"]
    kind = f"{_kind(described, parameter.get('schema', {}))} ({where})"
    return Member(
        parameter["name"], kind, bool(parameter.get("required")), str(parameter.get("description", ""))
    )


def _kind(described: Schema, schema: Schema) -> str:
    """A type in a word or two: `text`, `list of turn`, `"phone" or "browser"`."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(described, one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f'"{one}"' for one in schema["enum"])
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "$ref" in schema:
        found = _resolved(described, schema)
        return _kind(described, found) if "enum" in found else str(found.get("title", "object"))
    if schema.get("type") == "array":
        return f"list of {_kind(described, schema.get('items', {}))}"
    plain = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "null"}
    return plain.get(str(schema.get("type", "")), "object")
