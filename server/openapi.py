"""`/openapi.json`, version 3.1, made from the same declarations the routes run by. Nothing is written twice."""

from __future__ import annotations

import http
import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.errors import MEDIA_TYPE, Problem
from server.routing import AnyOp

Json = dict[str, Any]
Mode = Literal["validation", "serialization"]

REF = "#/components/schemas/{model}"
TITLE = "Call Me Back"
VERSION = "0.1.0"


@cache
def document() -> str:
    """All routes described, as it is sent. Made once: it takes long enough to be heard in every call."""
    # Imported when asked for: the table of all routes has the one that sends this.
    from server.routes import OPS

    return json.dumps(describe(OPS))


def describe(ops: Sequence[AnyOp]) -> Json:
    """The whole document, as JSON values."""
    wanted: dict[tuple[type[BaseModel], Mode], None] = {(Problem, "serialization"): None}
    for op in ops:
        for model, mode in _models(op):
            wanted[model, mode] = None
    refs, definitions = models_json_schema(list(wanted), ref_template=REF)
    named = {(model, mode): ref for (model, mode), ref in refs.items() if issubclass(model, BaseModel)}
    paths: dict[str, Json] = {}
    for op in ops:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


Refs = dict[tuple[type[BaseModel], Mode], Json]


def _models(op: AnyOp) -> list[tuple[type[BaseModel], Mode]]:
    found: list[tuple[type[BaseModel], Mode]] = []
    if op.body is not None:
        found.append((op.body, "validation"))
    if op.reply is not None:
        found.append((op.reply, "serialization"))
    return found


def _operation(op: AnyOp, refs: Refs) -> Json:
    operation: Json = {
        "operationId": _operation_id(op),
        "summary": op.summary,
        "tags": [op.path.split("/")[2] if op.path.startswith("/api/") else "operations"],
        "responses": {
            **_refusals(op, refs),
            **{str(status): _success(op, status, refs) for status in (op.status, *op.also)},
        },
    }
    if parameters := _parameters(op):
        operation["parameters"] = parameters
    if op.body is not None:
        content = {"application/json": {"schema": refs[op.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    if not op.public:
        operation["security"] = [{"token": []}]
    return operation


def _operation_id(op: AnyOp) -> str:
    words = op.path.replace("{", "").replace("}", "").replace(".", "_").strip("/").split("/")
    return "_".join([op.method.lower(), *words]) if op.path != "/" else "get_index"


def _success(op: AnyOp, status: int, refs: Refs) -> Json:
    answer: Json = {"description": http.HTTPStatus(status).phrase}
    if op.reply is not None:
        answer["content"] = {"application/json": {"schema": refs[op.reply, "serialization"]}}
    elif status != http.HTTPStatus.NO_CONTENT:
        answer["content"] = {op.media: {"schema": {"type": "object" if "json" in op.media else "string"}}}
    return answer


def _refusals(op: AnyOp, refs: Refs) -> dict[str, Json]:
    codes: dict[int, list[str]] = {}
    for status, code in op.refusals():
        codes.setdefault(status, []).append(code)
    schema = refs[Problem, "serialization"]
    return {
        str(status): {"description": " or ".join(names), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, names in codes.items()
    }


def _parameters(op: AnyOp) -> list[Json]:
    found: list[Json] = []
    for part in op.path.split("/"):
        if part.startswith("{"):
            schema = {"type": "string", "maxLength": 64}
            found.append({"name": part.strip("{}"), "in": "path", "required": True, "schema": schema})
    if op.query is not None:
        schema = op.query.model_json_schema()
        required = schema.get("required", [])
        for name, field in schema["properties"].items():
            found.append({"name": name, "in": "query", "required": name in required, "schema": field})
    for name, meaning in op.headers:
        header = {"name": name, "in": "header", "required": False, "description": meaning}
        found.append({**header, "schema": {"type": "string", "maxLength": 255}})
    return found
