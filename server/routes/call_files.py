"""The files of a call that is over, for download: its journal by parts, its recording in one piece."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response, StreamingResponse

from pipeline.journal_file import SUFFIX, parts
from pipeline.recording import WAV, Recording, recording
from server.errors import not_found
from server.routing import AnyOp, Ask, Op, Query, View
from storage import calls
from storage.records import CallRow

SOUND = "audio/wav"
_ONE_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII | re.IGNORECASE)


class FilesView(View):
    """What this server has of the call. Each process that had it has written a part; of most calls there is one.

    `recording_starts_ms` is on the clock of the transcript, null where that is not known.
    """

    journal_parts: int
    recording_parts: int
    recording_starts_ms: int | None


def kept_files(folder: Path, call_id: str) -> FilesView:
    """Blocking."""
    whole = recording(folder, call_id)
    return FilesView(
        journal_parts=len(parts(folder, call_id)),
        recording_parts=0 if whole is None else len(whole.pieces),
        recording_starts_ms=None if whole is None else whole.starts,
    )


class PartQuery(Query):
    """Each process that had the call has written a part; most calls have one."""

    part: int = Field(1, ge=1, le=1_000)


class SoundQuery(Query):
    """Without `part`, all parts in one file, each at its time."""

    part: Annotated[int, Field(ge=1, le=1_000)] | None = None


async def journal(ask: Ask[None, PartQuery]) -> Response:
    return await _part(ask, await _closed(ask), ask.query.part, SUFFIX, "text/plain; charset=utf-8")


async def audio(ask: Ask[None, SoundQuery]) -> Response:
    call = await _closed(ask)
    if ask.query.part is not None:
        return await _part(ask, call, ask.query.part, WAV, SOUND)
    whole = await asyncio.to_thread(recording, ask.parts.settings.calls_dir, call.id)
    if whole is None:
        raise not_found()
    if len(whole.pieces) == 1:
        return FileResponse(whole.pieces[0].path, media_type=SOUND, filename=f"{call.id}{WAV}")
    return _joined(whole, f"{call.id}{WAV}", ask.request.headers)


def _joined(whole: Recording, name: str, asked: Headers) -> Response:
    """All of it, or the range of bytes that was asked for (RFC 9110, section 14)."""
    headers = {"accept-ranges": "bytes", "content-disposition": f'attachment; filename="{name}"'}
    # Whether the rest of a copy begun before fits is not known here, so such a one is sent anew.
    span = None if "if-range" in asked else _span(asked.get("range", ""), whole.size)
    start, end = span or (0, whole.size)
    if start >= end:
        return Response(status_code=416, headers={"content-range": f"bytes */{whole.size}"})
    headers["content-length"] = str(end - start)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{whole.size}"
    status = 200 if span is None else 206
    return StreamingResponse(whole.read(start, end), status, media_type=SOUND, headers=headers)


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """From where up to where; None where all is sent, as for several ranges at once or one without sense."""
    found = _ONE_RANGE.fullmatch(asked.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


async def _closed(ask: Ask[None, Any]) -> CallRow:
    """The call, if its ledger is closed: nothing is written to its files any more."""
    async with ask.parts.database.read() as tx:
        call = await calls.get_for(tx, ask.user.id, ask.ident())
    if call is None or call.final_at is None:
        raise not_found()
    return call


async def _part(ask: Ask[None, Any], call: CallRow, part: int, suffix: str, media_type: str) -> Response:
    written: list[Path] = await asyncio.to_thread(parts, ask.parts.settings.calls_dir, call.id, suffix)
    if len(written) < part:
        raise not_found()
    path = written[part - 1]
    return FileResponse(path, media_type=media_type, filename=path.name)


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/calls/{id}/journal", journal, "Its journal, for replay", query=PartQuery, media="text/plain"),
    Op("GET", "/api/calls/{id}/audio", audio, "Its recording, where there is one", query=SoundQuery, media=SOUND),
)  # fmt: skip
