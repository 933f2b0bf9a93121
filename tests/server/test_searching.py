"""Searching transcripts over REST: what is typed, what is shown, and that nothing typed is an error of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.searching import MOST_WORDS, snippet, terms
from storage import calls, ids, turns
from storage.records import NewCall
from storage.search import Term
from tests.server.rig import Person, Rig, running, settings


def test_words_phrases_and_beginnings() -> None:
    assert terms('tuesday "job interview" inter*') == [
        Term(("tuesday",)), Term(("job", "interview")), Term(("inter",), prefix=True),
    ]  # fmt: skip
    assert terms("e-mail don't snake_case") == [
        Term(("e", "mail")),
        Term(("don", "t")),
        Term(("snake", "case")),
    ]
    assert terms('"open end') == [Term(("open", "end"))]
    assert terms("NOT (a OR b) : ^ & | ! <->") == [Term(("NOT",)), Term(("a",)), Term(("OR",)), Term(("b",))]
    assert terms('* "" \'; -- 🐢 ') == []
    assert sum(len(term.words) for term in terms("word " * 50)) == MOST_WORDS


def test_a_snippet_marks_each_hit_and_is_cut_at_words() -> None:
    assert snippet("A red car, red.", [Term(("red",))]).hits == ((2, 5), (11, 14))
    assert snippet("red apple red car", [Term(("red", "car"))]).hits == ((10, 17),)
    assert snippet("Interviews", [Term(("inter",), prefix=True)]).hits == ((0, 10),)
    long = snippet("begin " * 40 + "HIT " + "after " * 60, [Term(("hit",))])
    assert long.text.startswith("…begin ")
    assert long.text.endswith("after…")
    assert len(long.text) < 260
    assert [long.text[start:end] for start, end in long.hits] == ["HIT"]


@given(text=st.text(max_size=400), query=st.text(max_size=30))
def test_hits_lie_in_the_snippet_in_order_and_apart(text: str, query: str) -> None:
    shown = snippet(text, terms(query))
    last = -1
    for start, end in shown.hits:
        assert last < start < end <= len(shown.text)
        last = end
    assert shown.text.strip("…") in text


@pytest.fixture(params=["sqlite", "postgresql"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    more = {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}
    async with running(settings(tmp_path, **more)) as rig:
        yield rig


async def said(rig: Rig, person: Person, *lines: str) -> str:
    async with rig.parts.database.write() as tx:
        new = NewCall(
            id=ids.new_id(), user_id=person.id, persona_id="sarah", channel="phone",
            created_at=rig.clock.utc(), price_ids=(), owner="node",
        )  # fmt: skip
        call = await calls.create(tx, new)
        for index, line in enumerate(lines):
            await turns.add(tx, call.id, index, "caller", line, 0, 1, False)
    return call.id


ODD = [
    '"', '""', "*", "a*", '"a*', "a AND", "NEAR(a", "text:a", "a:*", "&", "a & !", "'", "\\", "%", "_", "a\tb", "(",
    "-a", "^a", "<->", "é" * 200, "\ud7ff", "' OR 1=1 --", "{a b}", "a" * 200, "漢字", "🐢 a", "+a", "a\u0301",
]  # fmt: skip


async def test_i_find_what_was_said_and_nobody_else_does(served: Rig) -> None:
    ann, bob = await served.register(), await served.register("bob@example.com")
    call = await said(served, ann, "Hello", "My interview is on <b>Tuesday</b>.")
    answer = await ann.get("/api/transcripts?q=TUESDAY+inter*")
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["items"]
    assert (item["call_id"], item["index"], item["persona_id"]) == (call, 1, "sarah")
    assert item["snippet"] == "My interview is on <b>Tuesday</b>."
    assert [item["snippet"][hit["start"] : hit["end"]] for hit in item["hits"]] == ["interview", "Tuesday"]
    assert (await bob.get("/api/transcripts?q=tuesday")).json() == {"items": [], "next_cursor": None}
    for query in ODD:
        found = await ann.rig.http.get(
            "/api/transcripts", params={"q": query}, headers={"authorization": f"Bearer {ann.token}"}
        )
        assert found.status_code in {200, 422}, query
    for query in ("", "q=", "q=%00", "q=***", f"q={'a' * 201}", "q=a&cursor=!", "q=a&limit=0", "q=a&x=1"):
        refused = await ann.get(f"/api/transcripts?{query}")
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request"), query


async def test_search_is_read_page_by_page(served: Rig) -> None:
    ann = await served.register()
    for number in range(5):
        served.clock.move(60)
        await said(served, ann, f"day {number}")
    first = (await ann.get("/api/transcripts?q=day&limit=3")).json()
    second = (await ann.get(f"/api/transcripts?q=day&limit=3&cursor={first['next_cursor']}")).json()
    shown = [item["snippet"] for item in first["items"] + second["items"]]
    assert shown == [f"day {number}" for number in reversed(range(5))]
    assert second["next_cursor"] is None
