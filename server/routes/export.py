"""Everything the server keeps of me, as one JSON document, read from the database while it is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from server.parts import Parts
from server.routing import AnyOp, Ask, Op
from storage import export


async def take_along(ask: Ask[None, None]) -> Response:
    return StreamingResponse(
        _document(ask.parts, ask.user.id),
        media_type="application/json",
        headers={"content-disposition": 'attachment; filename="callmeback-export.json"'},
    )


async def _document(parts: Parts, user_id: str) -> AsyncIterator[str]:
    """`{"exported_at": …, "profile": {…}, "calls": […], …}`, one row a line."""
    yield "{" + f'"exported_at": {json.dumps(parts.clock.utc().isoformat())}'
    for section, table in export.tables():
        single = section == "profile"
        yield f",\n{json.dumps(section)}: " + ("" if single else "[")
        between = ""
        async for row in export.rows(parts.database, table, user_id):
            yield between + json.dumps(row, ensure_ascii=False)
            between = ",\n"
        if not between and single:  # deleted meanwhile
            yield "null"
        yield "" if single else "]"
    yield "}\n"


OPS: tuple[AnyOp, ...] = (Op("GET", "/api/me/export", take_along, "Everything that is kept of me"),)
