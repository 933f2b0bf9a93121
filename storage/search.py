"""Searching what was said. The index is the database's own: FTS5 on SQLite, GIN on PostgreSQL.

Both cut text into words at everything that is no letter or digit, and keep accents, so that a search finds the
same on either. What ranks high matches well or is recent: a month counts as much as one good match, and since that
sum does not depend on the hour of the search, a list can be read on from where a page ended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, TextClause, bindparam, text

from storage.columns import Moment, Words
from storage.db import Tx
from storage.records import Page, Speaking
from storage.rows import cut, decode_cursor

RECENT_DAYS = 30.0
INDEX = "turn_search"


@dataclass(frozen=True, slots=True)
class Term:
    """Words that follow each other, letters and digits only; of a `prefix` the last one may go on."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A line of a transcript that has all the terms."""

    call_id: str
    persona_id: str
    index: int
    role: Speaking
    text: str
    started_ms: int
    called_at: datetime
    score: float


# The tables of SQLite are asked in this order by hand: first what matches, then whose it is.
_SQLITE = """
    WITH matching AS MATERIALIZED (
        SELECT rowid AS id, -bm25(turn_search) AS rank FROM turn_search WHERE turn_search MATCH :terms),
    found AS (
        SELECT t.call_id, c.persona_id, t.turn AS "index", t.role, t.text, t.started_ms, c.created_at AS called_at,
            m.rank + julianday(c.created_at) / :days AS score
        FROM matching m JOIN turn_words w ON w.id = m.id
        JOIN call_turns t ON t.call_id = w.call_id AND t.turn = w.turn
        JOIN calls c ON c.id = t.call_id WHERE c.user_id = :user_id)"""
# Word for word the expression of the index, or it is not used.
_DOCUMENT = r"""to_tsvector('simple',
        translate(t.text, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                '))"""
_POSTGRES = """
    WITH found AS (
        SELECT t.call_id, c.persona_id, t.turn AS "index", t.role, t.text, t.started_ms, c.created_at AS called_at,
            10 * ts_rank(<document>, to_tsquery('simple', :terms))
                + CAST(extract(epoch FROM c.created_at) / 86400 AS float8) / :days AS score
        FROM call_turns t JOIN calls c ON c.id = t.call_id
        WHERE c.user_id = :user_id AND <document> @@ to_tsquery('simple', :terms))""".replace(
    "<document>", _DOCUMENT
)
# Without an index: every turn of the user is looked at, and matches anywhere count, by recency alone.
_SCAN = """
    WITH found AS (
        SELECT t.call_id, c.persona_id, t.turn AS "index", t.role, t.text, t.started_ms, c.created_at AS called_at,
            julianday(c.created_at) / :days AS score
        FROM call_turns t JOIN calls c ON c.id = t.call_id WHERE c.user_id = :user_id AND {conditions})"""
_PAGE = """
    SELECT call_id, persona_id, "index", role, text, started_ms, called_at, score FROM found
    WHERE :from_start OR score < :score OR (score = :score
        AND (call_id < :call_id OR (call_id = :call_id AND "index" > :turn)))
    ORDER BY score DESC, call_id DESC, "index" LIMIT :rows"""


async def indexed(tx: Tx) -> bool:
    """Whether transcripts have an index in this database; without one, searching reads all of a user's."""
    if tx.dialect.name == "postgresql":
        return True
    query = text("SELECT count(*) FROM sqlite_master WHERE name = :index")
    return bool((await tx.execute(query, {"index": INDEX})).scalar_one())


async def turns(tx: Tx, user_id: str, terms: Sequence[Term], cursor: str | None, limit: int) -> Page[Found]:
    """The user's turns that have all the terms, best first. Raises `Refused` for a foreign cursor."""
    place = (0.0, "", 0) if cursor is None else decode_cursor(cursor, _place)
    given: dict[str, Any] = {"user_id": user_id, "days": RECENT_DAYS, "rows": limit + 1}
    given |= {"from_start": cursor is None, "score": place[0], "call_id": place[1], "turn": place[2]}
    if tx.dialect.name == "postgresql":
        found, given["terms"] = _POSTGRES, " & ".join(map(_tsquery, terms))
    elif await indexed(tx):
        found, given["terms"] = _SQLITE, " ".join(map(_fts5, terms))
    else:
        pieces = [word for term in terms for word in term.words]
        found = _SCAN.format(
            conditions=" AND ".join(f"instr(lower(t.text), :word{n})" for n in range(len(pieces)))
        )
        given |= {f"word{n}": word.lower() for n, word in enumerate(pieces)}
    rows = (await tx.execute(_typed(text(found + _PAGE)), given)).all()
    return cut(rows, limit, Found, _named)


async def forget(tx: Tx) -> None:
    """What was removed from the index goes from its file pages too. As long as the index is large."""
    if tx.dialect.name == "sqlite" and await indexed(tx):
        # A removed word stays readable in the index until its pieces are merged.
        await tx.execute(text("INSERT INTO turn_search (turn_search) VALUES ('optimize')"))


def _typed(query: TextClause) -> Any:
    return query.bindparams(bindparam("user_id", type_=Words()), bindparam("call_id", type_=Words())).columns(
        called_at=Moment()
    )


def _fts5(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")


def _tsquery(term: Term) -> str:
    lexemes = [f"'{word}'" for word in term.words]
    return "(" + " <-> ".join(lexemes) + (":*" if term.prefix else "") + ")"


def _named(row: Row[Any]) -> str:
    return f"{float(row.score)!r} {row.call_id} {row.index}"


def _place(place: str) -> tuple[float, str, int]:
    score, call_id, turn = place.split(" ")
    if not math.isfinite(float(score)) or "\0" in call_id or not turn.isdecimal() or len(turn) > 18:
        raise ValueError(place)
    return float(score), call_id, int(turn)
