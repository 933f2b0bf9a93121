"""Searching everything that was said on my calls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.errors import invalid
from server.routing import AnyOp, Ask, Op, PageQuery, Text, View, When
from server.searching import MOST_WORDS, snippet, terms
from storage import search
from storage.search import Found, Term


class SearchQuery(PageQuery):
    """All words have to be in one line; `"in a row"` follow each other, `inter*` begins a word."""

    q: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=200,
            description=f'Words that all have to be said in one line, {MOST_WORDS} at most; "in a row", or begin*.',
        ),
    ]


class HitRange(View):
    """From the character `start` up to `end` of the snippet, counted in Unicode code points."""

    start: int
    end: int


class FoundView(View):
    call_id: str
    persona_id: str
    index: int = Field(description="Which line of the call's transcript it is.")
    role: Literal["caller", "agent"]
    started_ms: int
    called_at: When
    snippet: str = Field(description="Plain text: mark the hits by their ranges.")
    hits: list[HitRange]


class FoundList(View):
    items: list[FoundView]
    next_cursor: str | None


def view(found: Found, wanted: list[Term]) -> FoundView:
    shown = snippet(found.text, wanted)
    return FoundView(
        call_id=found.call_id,
        persona_id=found.persona_id,
        index=found.index,
        role=found.role,
        started_ms=found.started_ms,
        called_at=found.called_at,
        snippet=shown.text,
        hits=[HitRange(start=start, end=end) for start, end in shown.hits],
    )


async def find(ask: Ask[None, SearchQuery]) -> FoundList:
    wanted = terms(ask.query.q)
    if not wanted:
        raise invalid("query.q", "has no word in it")
    async with ask.parts.database.read() as tx:
        page = await search.turns(tx, ask.user.id, wanted, ask.query.cursor, ask.query.limit)
    return FoundList(items=[view(found, wanted) for found in page.items], next_cursor=page.next_cursor)


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/transcripts", find, "What was said, by its words", query=SearchQuery, reply=FoundList),
)
