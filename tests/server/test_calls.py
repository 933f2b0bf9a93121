"""Calls over HTTP: what is stored is shown, to its owner only; placing one is handed to the desk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from pipeline.core.effects import Charge
from pipeline.core.errors import Refused
from pipeline.core.money import Nanos, parse_usd
from pipeline.ports import Engines
from pipeline.recorder import HEADER, RATE, Recorder
from server.app import NoDesk
from server.parts import Parts, PlaceCall, Placing
from storage import calls, charges, ledger, notes, turns
from storage.charges import CallCharges
from storage.ids import new_id
from storage.records import CallRow, NewCall, User
from tests.server.rig import NOON, PHONE, Person, Rig, running, settings

BOOK = ("carrier:twilio:second", "stt:whisper-tiny.en:second")


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


async def stored_call(rig: Rig, person: Person, *, minutes_ago: int = 0) -> CallRow:
    """A call that was answered, cost 0.018 + 0.005 dollars, and is over but for its final account."""
    at = NOON - timedelta(minutes=minutes_ago)
    new = NewCall(
        id=new_id(), user_id=person.id, persona_id="brad", channel="phone", created_at=at, price_ids=(), owner="n1",
        phone_e164=PHONE, context="about the run",
    )  # fmt: skip
    async with rig.parts.database.write() as tx:
        await ledger.grant(
            tx, user_id=person.id, amount=Nanos(1_000_000_000), kind="grant", idem_key=new.id, note="", now=at
        )
        await calls.create(tx, new)
        await ledger.hold(
            tx, user_id=person.id, call_id=new.id, epoch=1, at_least=Nanos(1), wanted=Nanos(200_000_000),
            budget_limit=None,
        )  # fmt: skip
        await calls.advance(tx, new.id, "in-progress", at=at + timedelta(seconds=5))
        carrier = Charge(1, BOOK[0], 0, 60, Nanos(18_000_000), 0)
        speech = Charge(2, BOOK[1], 0, 10, Nanos(5_000_000), 3)
        await charges.flush(tx, [CallCharges(new.id, 1, (carrier, speech), 3)])
        await turns.add(tx, new.id, 0, "agent", "Hello Ann", 0, 900, False)
        await notes.write(tx, new.id, [notes.Unheard(0, "how are you?")], at)
        await turns.add(tx, new.id, 1, "caller", "Hi, 'Brad'", 1000, 1500, True)
        await calls.advance(
            tx,
            new.id,
            "completed",
            at=at + timedelta(seconds=25),
            end_reason="caller_hung_up",
            carrier_seconds=20,
        )
        row = await calls.get(tx, new.id)
    assert row is not None
    return row


async def close(rig: Rig, call: CallRow) -> None:
    async with rig.parts.database.write() as tx:
        await ledger.finalise(tx, call_id=call.id, epoch=1, now=NOON)


async def test_a_call_its_costs_and_its_words(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    shown = (await ann.get(f"/api/calls/{call.id}")).json()
    assert shown == {
        "id": call.id, "status": "completed", "end_reason": "caller_hung_up", "persona_id": "brad",
        "scenario_id": None, "channel": "phone", "phone_last2": "42", "context": "about the run",
        "variables": {}, "max_minutes": 15,
        "created_at": "2026-11-23T12:00:00Z", "answered_at": "2026-11-23T12:00:05Z",
        "ended_at": "2026-11-23T12:00:25Z", "duration_seconds": 20, "total_usd": "0.023", "scheduled_call_id": None,
            "memory": None, "direction": "outbound", "latency": None,
        "eager": {"begun": 0, "used": 0, "dropped_usd": "0.00"}, "files": None,
    }  # fmt: skip
    listed = {name: value for name, value in shown.items() if name not in {"eager", "files"}}
    assert (await ann.get("/api/calls")).json() == {
        "items": [listed],
        "next_cursor": None,
    }
    costs = (await ann.get(f"/api/calls/{call.id}/costs")).json()
    assert (costs["total_usd"], costs["held_usd"]) == ("0.023", "0.20")
    assert {(line["service"], line["quantity"], line["usd"]) for line in costs["lines"]} == {
        ("carrier", 60, "0.018"), ("stt", 10, "0.005"),
    }  # fmt: skip
    assert costs["per_second"] == [
        {"second": 0, "usd": "0.018", "services": {"carrier": "0.018"}},
        {"second": 3, "usd": "0.005", "services": {"stt": "0.005"}},
    ]
    transcript = (await ann.get(f"/api/calls/{call.id}/transcript")).json()
    assert [(turn["role"], turn["text"], turn["unheard"]) for turn in transcript["items"]] == [
        ("agent", "Hello Ann", "how are you?"), ("caller", "Hi, 'Brad'", ""),
    ]  # fmt: skip
    assert (await ann.get("/api/credits")).json()["held_usd"] == "0.20"
    await close(rig, call)
    assert (await ann.get(f"/api/calls/{call.id}/costs")).json()["held_usd"] == "0.00"
    kinds = [item["kind"] for item in (await ann.get("/api/credits/transactions")).json()["items"]]
    assert kinds == ["usage", "grant"]


async def test_the_ledger_rows_of_an_old_call_are_found_by_its_id(rig: Rig, ann: Person) -> None:
    made = [await stored_call(rig, ann, minutes_ago=ago) for ago in (2, 1, 0)]
    for call in made:
        await close(rig, call)
    own = (await ann.get(f"/api/credits/transactions?call_id={made[0].id}&limit=1")).json()
    assert [(item["kind"], item["call_id"]) for item in own["items"]] == [("usage", made[0].id)]
    assert own["next_cursor"] is None
    bob = await rig.register("bob@example.com")
    foreign = await bob.get(f"/api/credits/transactions?call_id={made[0].id}")
    assert foreign.json()["items"] == []
    assert (await ann.get("/api/credits/transactions?call_id=%00")).status_code == 422


async def test_what_a_call_may_come_to_is_told_while_it_goes_on(rig: Rig, ann: Person) -> None:
    """Its hold and what is free beside it, by the narrowest limit; the warning a minute before, or by percentage."""
    call = await stored_call(rig, ann)
    path = f"/api/calls/{call.id}/costs"
    free = parse_usd((await ann.get("/api/credits")).json()["available_usd"])
    limit = (await ann.get(path)).json()["limit"]
    assert (limit["by"], parse_usd(limit["usd"])) == ("credit", free + parse_usd("0.20"))
    assert 0 < parse_usd(limit["usd"]) - parse_usd(limit["warn_usd"]) < parse_usd("0.10"), "a minute"
    await ann.ask("PUT", "/api/budget", {"daily_usd": "0.50", "warn_percent": 50})
    limit = (await ann.get(path)).json()["limit"]
    assert (limit["by"], limit["warn_usd"]) == ("day", "0.25")
    await close(rig, call)
    assert (await ann.get(path)).json()["limit"] is None


async def test_history_is_newest_first_page_by_page(rig: Rig, ann: Person) -> None:
    made = [(await stored_call(rig, ann, minutes_ago=ago)).id for ago in (0, 1, 2)]
    first = (await ann.get("/api/calls?limit=2")).json()
    rest = (await ann.get(f"/api/calls?limit=2&cursor={first['next_cursor']}")).json()
    assert [call["id"] for call in first["items"] + rest["items"]] == made
    assert rest["next_cursor"] is None


async def test_a21_a_call_of_somebody_else_is_no_call(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    await close(rig, call)
    (rig.parts.settings.calls_dir / f"{call.id}.journal").write_text("words")
    bob = await rig.register("bob@example.com")
    for tail in ("", "/costs", "/transcript", "/events", "/journal", "/audio"):
        foreign = await bob.get(f"/api/calls/{call.id}{tail}")
        unknown = await bob.get(f"/api/calls/{'0' * 32}{tail}")
        assert (foreign.status_code, foreign.content) == (404, unknown.content), tail
    assert (await bob.get("/api/calls")).json()["items"] == []


def recorded(path: Path, *, seconds: int) -> None:
    recorder = Recorder(path)
    recorder.caller(bytes([0x20 + seconds]) * (RATE * seconds))
    recorder.close()


async def test_files_are_given_once_the_books_are_closed(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    folder = rig.parts.settings.calls_dir
    (folder / f"{call.id}.journal").write_bytes(b"line 1\n")
    assert (await ann.get(f"/api/calls/{call.id}")).json()["files"] is None
    recorded(folder / f"{call.id}.wav", seconds=1)
    assert (await ann.get(f"/api/calls/{call.id}/journal")).status_code == 404, "still being written"
    await close(rig, call)
    journal = await ann.get(f"/api/calls/{call.id}/journal")
    assert (journal.content, journal.headers["content-type"]) == (b"line 1\n", "text/plain; charset=utf-8")
    assert f'filename="{call.id}.journal"' in journal.headers["content-disposition"]
    (folder / f"{call.id}.10.journal").write_bytes(b"line 3\n")
    (folder / f"{call.id}.2.journal").write_bytes(b"line 2\n")
    parts = [await ann.get(f"/api/calls/{call.id}/journal?part={part}") for part in range(5)]
    assert [part.status_code for part in parts] == [422, 200, 200, 200, 404]
    assert [part.content for part in parts[1:4]] == [b"line 1\n", b"line 2\n", b"line 3\n"]
    one = (folder / f"{call.id}.wav").read_bytes()
    assert (await ann.get(f"/api/calls/{call.id}/audio")).content == one
    recorded(folder / f"{call.id}.2.wav", seconds=2)
    both = await ann.get(f"/api/calls/{call.id}/audio")
    assert (
        both.content[HEADER.size :]
        == one[HEADER.size :] + (folder / f"{call.id}.2.wav").read_bytes()[HEADER.size :]
    )
    assert f'filename="{call.id}.wav"' in both.headers["content-disposition"]
    assert both.headers["content-length"] == str(len(both.content))
    await ranges(ann, f"/api/calls/{call.id}/audio", both.content)
    assert (await ann.get(f"/api/calls/{call.id}/audio?part=1")).content == one
    assert (await ann.get(f"/api/calls/{call.id}/audio?part=3")).status_code == 404
    assert (await ann.get(f"/api/calls/{call.id}")).json()["files"] == {
        "journal_parts": 3, "recording_parts": 2, "recording_starts_ms": None,
    }  # fmt: skip
    (folder / f"{call.id}.2.wav").unlink()
    (folder / f"{call.id}.wav").unlink()
    assert (await ann.get(f"/api/calls/{call.id}/audio")).status_code == 404
    for ident in ("..%2f..%2fcallmeback", "%2e%2e", call.id + "%00"):
        assert (await ann.get(f"/api/calls/{ident}/journal")).status_code == 404


async def ranges(ann: Person, path: str, whole: bytes) -> None:
    """Of a recording in parts, as of one in a file, a range of bytes is had: a player seeks by it."""
    size = len(whole)
    good = {"0-43": (0, 44), "44-": (44, size), "-1000": (size - 1000, size), f"10-{size * 2}": (10, size)}
    for asked, (start, end) in good.items():
        found = await ann.ask("GET", path, headers={"range": f"bytes={asked}"})
        assert (found.status_code, found.content) == (206, whole[start:end]), asked
        assert found.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in (f"{size}-", "-0"):
        refused = await ann.ask("GET", path, headers={"range": f"bytes={asked}"})
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}"), asked
    for headers in (
        {"range": "bytes=0-1,4-5"},
        {"range": "bytes=-"},
        {"range": "bytes=5-4"},
        {"range": "bytes=0-1", "if-range": "x"},
    ):
        assert (await ann.ask("GET", path, headers=headers)).content == whole


def parsed(stream: str) -> list[dict[str, str]]:
    """The events of a stream, comments left out."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append(fields)
    return found


async def test_the_events_of_a_call_that_is_over_come_from_its_rows(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    answer = await ann.get(f"/api/calls/{call.id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parsed(answer.text)
    assert [(event["id"], event["event"]) for event in events] == [
        ("1", "turn"), ("2", "turn"), ("3", "cost"), ("4", "ended"),
    ]  # fmt: skip
    assert json.loads(events[2]["data"]) == {
        "second": 20, "total_usd": "0.023", "services": {"carrier": "0.018", "stt": "0.005"},
    }  # fmt: skip
    assert json.loads(events[3]["data"]) == {
        "status": "completed", "end_reason": "caller_hung_up", "duration_seconds": 20, "total_usd": "0.023",
    }  # fmt: skip
    resumed = await ann.ask("GET", f"/api/calls/{call.id}/events", headers={"last-event-id": "40"})
    assert [event["id"] for event in parsed(resumed.text)] == ["41", "42", "43", "44"], "ids never go back"


async def test_the_events_of_a_live_call_come_as_they_happen(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    news = rig.parts.news
    news.publish(call.id, "status", {"status": "ringing"})
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(ann.get(f"/api/calls/{call.id}/events"))
        await asyncio.sleep(0)
        news.publish(call.id, "turn", {"text": "two\nlines"})
        news.close(call.id)
    events = parsed(reading.result().text)
    assert [(event["id"], event["event"]) for event in events] == [("1", "status"), ("2", "turn")]
    assert events[1]["data"] == r'{"text":"two\nlines"}'
    resumed = await ann.ask("GET", f"/api/calls/{call.id}/events", headers={"last-event-id": "1"})
    assert [event["id"] for event in parsed(resumed.text)] == ["2"]
    for strange in ("x", "-1", "9" * 40):
        again = await ann.ask("GET", f"/api/calls/{call.id}/events", headers={"last-event-id": strange})
        assert [event["id"] for event in parsed(again.text)] == ["1", "2"]


async def listened(rig: Rig, call_id: str) -> None:
    """Until somebody has read all there is of this call and waits for more."""
    for _ in range(100_000):
        if rig.parts.news.listeners(call_id):
            return
        await asyncio.sleep(0)
    raise AssertionError("nobody listens")


async def test_a13_an_event_stream_ends_with_its_token(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    rig.parts.news.publish(call.id, "status", {"status": "ringing"})
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(ann.get(f"/api/calls/{call.id}/events"))
        await listened(rig, call.id)
        await ann.post("/api/auth/logout")
        # The stream looks at its token every five seconds; the next event after that is its last.
        rig.clock.move(5.1)
        rig.parts.news.publish(call.id, "status", {"status": "in-progress"})
    assert len(parsed(reading.result().text)) == 2
    rig.parts.news.publish(call.id, "turn", {"text": "unheard"})
    assert "unheard" not in reading.result().text


@dataclass
class OneCallDesk(NoDesk):
    """Remembers orders and answers each with the same stored call, or with a refusal."""

    call: CallRow | None = None
    orders: list[tuple[str, PlaceCall, tuple[str, str] | None]] = field(default_factory=list)
    refusal: Refused | None = None

    async def place(self, user: User, order: PlaceCall, idem: tuple[str, str] | None) -> CallRow:
        self.orders.append((user.id, order, idem))
        if self.refusal is not None:
            raise self.refusal
        assert self.call is not None
        return self.call

    async def hang_up(self, user_id: str, call_id: str) -> CallRow:
        if self.call is None or (self.call.user_id, self.call.id) != (user_id, call_id):
            raise Refused("not_found", "There is nothing here.", status=404)
        return replace(self.call, end_reason="user_hung_up")

    async def opt_out(self, e164: str, how: str) -> None: ...

    def follow(self, call: CallRow) -> AbstractContextManager[bool]:
        return nullcontext(False)

    @property
    def live_calls(self) -> int:
        return 0

    async def drain(self, patience_s: float) -> None: ...

    def hurry(self) -> None: ...


async def test_placing_a_call_hands_the_desk_a_checked_order(tmp_path: Path) -> None:
    desk = OneCallDesk()

    @asynccontextmanager
    async def open_desk(_parts: Parts, _engines: Engines | None) -> AsyncIterator[Placing]:
        yield desk

    async with running(settings(tmp_path), open_desk) as rig:
        ann = await rig.register()
        desk.call = await stored_call(rig, ann)
        placed = await ann.post("/api/calls", {"persona_id": "brad"})
        assert placed.status_code == 202
        assert placed.json()["id"] == desk.call.id
        assert desk.orders == [(ann.id, PlaceCall("brad", None, "", None, "phone"), None)]
        body = {"persona_id": "brad", "context": "x", "max_minutes": 3, "channel": "phone"}
        hashes = set()
        for key, sent in (
            ("k1", body),
            ("k1", dict(reversed(body.items()))),
            ("k1", {**body, "max_minutes": 4}),
        ):
            await ann.post("/api/calls", sent, {"idempotency-key": key})
            idem = desk.orders[-1][2]
            assert idem is not None
            assert idem[0] == key
            hashes.add(idem[1])
        assert len(hashes) == 2, "the same body in another order is the same body"
        await refusals(ann, desk)
        hung_up = await ann.post(f"/api/calls/{desk.call.id}/hangup")
        assert (hung_up.status_code, hung_up.json()["end_reason"]) == (202, "user_hung_up")
        assert (await ann.post(f"/api/calls/{'0' * 32}/hangup")).status_code == 404


async def refusals(ann: Person, desk: OneCallDesk) -> None:
    """What the desk never hears of, and what it says itself."""
    before = len(desk.orders)
    bad: list[httpx.Response] = [
        await ann.post("/api/calls", {"persona_id": "brad"}, {"idempotency-key": key})
        for key in ("", "a b", "x" * 256)
    ]
    bodies: list[dict[str, object]] = [
        {}, {"persona_id": "../x"}, {"persona_id": "brad", "max_minutes": 0},
        {"persona_id": "brad", "max_minutes": 2**63}, {"persona_id": "brad", "max_minutes": 1.5},
        {"persona_id": "brad", "channel": "fax"}, {"persona_id": "brad", "phone": PHONE},
        {"persona_id": "brad", "context": "x" * 2001},
    ]  # fmt: skip
    bad += [await ann.post("/api/calls", body) for body in bodies]
    assert [answer.status_code for answer in bad] == [422] * len(bad)
    assert len(desk.orders) == before
    desk.refusal = Refused("insufficient_credit", "Not enough.", status=402)
    answer = await ann.post("/api/calls", {"persona_id": "brad"})
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (
        402, "insufficient_credit", "Not enough.",
    )  # fmt: skip
