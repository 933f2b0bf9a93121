"""Placing calls over HTTP with the real desk and a carrier that does not get through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.carriers.base import DialOrder, Leg
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Permit
from pipeline.core.money import Nanos, parse_usd
from server.calls.live import open_desk
from server.nodes.anywhere import Anywhere
from storage import calls, ledger, mailbox
from storage.audit import audit
from storage.db import Database, DatabaseDown, Tx, database_url
from storage.ids import new_id
from storage.records import CallRow, NewCall
from tests.server.rig import LoopClock, Person, RecordingCarrier, Rig, running, settings
from tests.storage.world import migrated

SCRIPTED = {"stt_engine": "scripted", "llm_engine": "scripted", "tts_engine": "scripted"}


@dataclass
class NoRoute(RecordingCarrier):
    """Takes its time over each dial, then cannot place the call."""

    decided: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        permit.spend(order.to, permit.given_at)
        self.dialled.append(order)
        await self.decided.wait()
        raise CarrierError("no route")


@asynccontextmanager
async def ringing(data_dir: Path) -> AsyncIterator[tuple[Rig, NoRoute]]:
    """A server whose calls all hang in dialling until the end of the test."""
    carrier = NoRoute()
    async with running(settings(data_dir, **SCRIPTED), open_desk, carrier, LoopClock()) as rig:
        yield rig, carrier
        carrier.decided.set()
        await rig.parts.desk.drain(5)


async def ready(
    rig: Rig, credit: str = "5", email: str = "ann@example.com", phone: str = "+12025550142"
) -> Person:
    """Somebody with a proved phone and this much credit."""
    person = await rig.register(email)
    await person.verify_phone(phone)
    await grant(rig, person, parse_usd(credit))
    return person


async def grant(rig: Rig, person: Person, amount: Nanos) -> None:
    async with rig.parts.database.write() as tx:
        now = rig.clock.utc()
        await ledger.grant(
            tx, user_id=person.id, amount=amount, kind="grant", idem_key=new_id(), note="", now=now
        )


async def test_a42_the_same_key_twenty_times_at_once_is_one_call(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, carrier):
        ann = await ready(rig)
        answers = await asyncio.gather(
            *(ann.post("/api/calls", {"persona_id": "brad"}, {"idempotency-key": "k"}) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        other = await ann.post("/api/calls", {"persona_id": "sarah"}, {"idempotency-key": "k"})
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
        assert len((await ann.get("/api/calls")).json()["items"]) == 1
    assert len(carrier.dialled) == 1


async def test_a42_credit_for_one_call_dials_once(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, carrier):
        ann = await ready(rig, credit="0.10")
        answers = await asyncio.gather(*(ann.post("/api/calls", {"persona_id": "brad"}) for _ in range(20)))
        codes = sorted(answer.json().get("code", "placed") for answer in answers)
        assert codes.count("placed") == 1
        assert set(codes) <= {"placed", "insufficient_credit", "call_in_progress"}
    assert len(carrier.dialled) == 1


async def test_every_start_of_the_server_is_a_process_of_its_own(tmp_path: Path) -> None:
    """Named alike, what a dead one left would look alive, and its own calls would look like its predecessor's."""
    owners = set()
    for number in range(2):
        async with ringing(tmp_path) as (rig, _carrier):
            ann = await ready(rig, email=f"ann{number}@example.com", phone=f"+1202555014{number}")
            placed = (await ann.post("/api/calls", {"persona_id": "brad"})).json()
            async with rig.parts.database.read() as tx:
                row = await calls.get(tx, placed["id"])
            assert row is not None
            owners.add(row.owner)
    assert len(owners) == 2


async def test_metrics_tell_how_the_books_stand(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, _carrier):
        ann = await ready(rig)
        assert (await ann.post("/api/calls", {"persona_id": "brad"})).status_code == 202
        told = (await rig.http.get("/metrics")).text.splitlines()
        assert {"callmeback_ledger_answers 1.0", "callmeback_holds_open 1.0"} <= set(told)
        assert "callmeback_overspend_nanodollars 0.0" in told
        held = next(line.split()[1] for line in told if line.startswith("callmeback_held_nanodollars "))
        assert float(held) == parse_usd((await ann.get("/api/credits")).json()["held_usd"])


async def test_a_call_that_could_not_be_dialled_costs_nothing(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, carrier):
        ann = await ready(rig)
        placed = (await ann.post("/api/calls", {"persona_id": "brad", "max_minutes": 2})).json()
        assert placed["status"] == "queued"
        assert float((await ann.get("/api/credits")).json()["held_usd"]) > 0
        carrier.decided.set()
        await rig.parts.desk.drain(5)
        shown = (await ann.get(f"/api/calls/{placed['id']}")).json()
        assert (shown["status"], shown["end_reason"], shown["total_usd"]) == ("failed", None, "0.00")
        assert (await ann.get("/api/credits")).json()["available_usd"] == "5.00"
        async with rig.parts.database.read() as tx:
            assert (await audit(tx)).breaches == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"persona_id": "nobody"}, 404, "not_found"),
        ({"persona_id": "brad", "scenario_id": "0" * 32}, 404, "not_found"),
    ],
)
async def test_orders_the_desk_refuses(
    tmp_path: Path, body: dict[str, object], status: int, code: str
) -> None:
    async with ringing(tmp_path) as (rig, carrier):
        ann = await ready(rig)
        answer = await ann.post("/api/calls", body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await ann.get("/api/credits")).json()["held_usd"] == "0.00"
    assert carrier.dialled == []


async def test_the_answer_says_whose_limit_makes_the_call_shorter(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, _carrier):
        orders: list[tuple[dict[str, object], int, str]] = [
            ({"max_minutes": 5}, 5, "order"), ({"max_minutes": 60}, 15, "persona"), ({}, 15, "persona"),
            ({"max_minutes": 60, "scenario_id": "brief"}, 4, "scenario"),
        ]  # fmt: skip
        for number, (order, minutes, by) in enumerate(orders):
            ann = await ready(rig, email=f"ann{number}@example.com", phone=f"+1202555014{number}")
            if "scenario_id" in order:
                brief = {"title": "Brief", "prompt": "Be brief.", "max_minutes": 4}
                order["scenario_id"] = (await ann.post("/api/scenarios", brief)).json()["id"]
            answer = await ann.post("/api/calls", {"persona_id": "brad", **order})
            assert answer.status_code == 202, answer.text
            assert (answer.json()["max_minutes"], answer.json()["limited_by"]) == (minutes, by)


async def test_a_refusal_for_money_says_how_much_is_missing(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, _carrier):
        ann = await ready(rig, credit="0.001")
        poor = (await ann.post("/api/calls", {"persona_id": "brad"})).json()
        assert poor["available_usd"] == "0.001"
        await grant(rig, ann, Nanos(parse_usd(poor["needed_usd"]) - parse_usd("0.001") - 1))
        assert (await ann.post("/api/calls", {"persona_id": "brad"})).status_code == 402
        await ann.ask("PUT", "/api/budget", {"per_call_usd": "0.02"})
        frugal = (await ann.post("/api/calls", {"persona_id": "brad"})).json()
        assert frugal["code"] == "budget_exhausted"
        assert (frugal["needed_usd"], frugal["available_usd"]) == (poor["needed_usd"], "0.02")
        assert poor["needed_usd"].startswith("0.05"), (
            "in words up to the next cent, what there is down to the last"
        )
        assert poor["detail"] == "The first minute may cost $0.06, and your available credit is $0.00."
        assert frugal["detail"] == "The first minute may cost $0.06, and your budget per call is $0.02."
        await ann.ask("PUT", "/api/budget", {"per_call_usd": frugal["needed_usd"]})
        await grant(rig, ann, Nanos(1))
        placed = await ann.post("/api/calls", {"persona_id": "brad"})
        assert placed.status_code == 202, "exactly what was said to be needed is enough"
        busy = (await ann.post("/api/calls", {"persona_id": "brad"})).json()
        assert (busy["status"], busy["code"]) == (409, "call_in_progress")
        assert "needed_usd" not in busy


async def test_a23_no_proof_no_credit_no_call_and_nothing_is_dialled(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, carrier):
        ann = await rig.register(phone="+12025550142")
        answer = await ann.post("/api/calls", {"persona_id": "brad"})
        assert (answer.status_code, answer.json()["code"]) == (403, "phone_not_verified")
        await ann.verify_phone()
        answer = await ann.post("/api/calls", {"persona_id": "brad"})
        assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_credit")
        await grant(rig, ann, parse_usd("5"))
        await ann.ask("PUT", "/api/budget", {"per_call_usd": "0.000001"})
        answer = await ann.post("/api/calls", {"persona_id": "brad"})
        assert (answer.status_code, answer.json()["code"]) == (402, "budget_exhausted")
        bob = await ready(rig, email="bob@example.com", phone="+12025550142")
        answer = await ann.post("/api/calls", {"persona_id": "brad"})
        assert (answer.status_code, answer.json()["code"]) == (403, "phone_not_verified"), (
            "the number is Bob's now"
        )
        foreign = (await bob.get("/api/scenarios")).json()["items"][0]["id"]
        await ann.verify_phone("+12025550143")
        await ann.ask("PUT", "/api/budget", {"per_call_usd": None})
        answer = await ann.post("/api/calls", {"persona_id": "brad", "scenario_id": foreign})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert carrier.dialled == []


@pytest.mark.parametrize("first", ["webhook", "callback"])
async def test_a_persona_has_met_whoever_answered_and_once_a_call(tmp_path: Path, first: str) -> None:
    async def met(person: Person) -> tuple[int, bool]:
        known = (await person.get("/api/personas/brad/relationship")).json()
        return known["calls"], known["last_call_at"] is not None

    async with running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock()) as rig:
        ann, bob = await ready(rig), await ready(rig, email="bob@example.com", phone="+12025550143")
        desk = rig.parts.desk
        assert isinstance(desk, Anywhere)
        for number, person in enumerate((ann, bob), start=1):
            call = (await person.post("/api/calls", {"persona_id": "brad"})).json()["id"]
            sid = f"CA{number:032x}"
            assert await met(person) == (0, False), "ordering is not meeting"
            if person is bob:
                if first == "callback":
                    await desk.status(sid, call, "in-progress", None, 1)
                assert await desk.answered(call, sid) is not None
                assert await desk.answered(call, sid) is not None
                await desk.status(sid, call, "in-progress", None, 1)
            await desk.status(sid, call, "completed" if person is bob else "no-answer", 1, 2)
        await desk.drain(5)
        assert (await met(ann), await met(bob)) == ((0, False), (1, True))


async def left_behind(rig: Rig, ann: Person) -> CallRow:
    """A call of hers that nobody conducts: its node is gone."""
    async with rig.parts.database.write() as tx:
        return await calls.create(
            tx, NewCall(new_id(), ann.id, "brad", "phone", rig.clock.utc(), (), "a node that is gone")
        )


async def test_the_late_end_of_a_call_that_nobody_conducts_leaves_nothing_in_memory(tmp_path: Path) -> None:
    """Else readers of its events would wait for ever: what is in memory counts as a call that goes on."""
    async with running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock()) as rig:
        ann = await ready(rig)
        row = await left_behind(rig, ann)
        await rig.parts.desk.status("CA1", row.id, "ringing", None, 1)  # type: ignore[attr-defined]
        await rig.parts.desk.status("CA1", row.id, "failed", 0, 2)  # type: ignore[attr-defined]
        assert (await ann.get(f"/api/calls/{row.id}")).json()["status"] == "failed"
        assert not rig.parts.news.knows(row.id)
        async with asyncio.timeout(60):
            told = await ann.get(f"/api/calls/{row.id}/events")
        assert "event: ended" in told.text


@dataclass
class TakenOver(RecordingCarrier):
    """While it dials, another process takes the call over, as after a freeze; the phone rings all the same."""

    database: Database | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, order: DialOrder, permit: Permit) -> Leg:
        assert self.database is not None
        async with self.database.write() as tx:
            (row,) = await calls.live(tx)
            assert await calls.claim(tx, row.id, row.epoch, "another") is not None
        return await super().dial(order, permit)

    async def hang_up(self, sid: str) -> None:
        self.ended.set()


async def test_a_call_that_was_lost_while_it_was_dialled_does_not_ring_on(tmp_path: Path) -> None:
    carrier = TakenOver()
    async with running(settings(tmp_path, **SCRIPTED), open_desk, carrier, LoopClock()) as rig:
        ann = await ready(rig)
        carrier.database = rig.parts.database
        assert (await ann.post("/api/calls", {"persona_id": "brad"})).status_code == 202
        async with asyncio.timeout(60):
            await carrier.ended.wait()
        await rig.parts.desk.drain(10)
        async with rig.parts.database.read() as tx:
            (row,) = await calls.live(tx)
        assert (row.owner, row.epoch) == ("another", 2), "and closes no books"


class Stumbling(Database):
    """A real database that does not answer the task of a call the first time it wants to read."""

    stumbled = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        task = asyncio.current_task()
        if not self.stumbled and task is not None and "_conduct" in repr(task.get_coro()):
            self.stumbled = True
            raise DatabaseDown("away", retryable=True)
        async with super().read() as tx:
            yield tx


async def test_listeners_hear_of_the_end_though_the_database_is_away_as_the_books_are_closed(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)
    database, carrier = Stumbling(database_url(url), checkpoint=True), NoRoute()
    configured = settings(tmp_path, **SCRIPTED)
    async with (
        aclosing(database),
        running(configured, open_desk, carrier, LoopClock(), database) as rig,
        asyncio.timeout(60),
    ):
        ann = await ready(rig)
        call = (await ann.post("/api/calls", {"persona_id": "brad"})).json()["id"]
        carrier.decided.set()
        heard = [item.kind async for item in rig.parts.news.listen(call)]
        assert database.stumbled
        assert heard[-1] == "ended"


class Committing(Database):
    """A real database whose next COMMIT with a call in it takes until `go`."""

    def __init__(self, url: str) -> None:
        super().__init__(database_url(url), checkpoint=True)
        self.placed, self.go = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Tx]:
        async with super().write(urgent=urgent) as tx:
            yield tx
            if not self.placed.is_set() and await calls.live(tx):
                self.placed.set()
                await self.go.wait()


async def test_a_drain_waits_for_an_order_that_was_let_in(tmp_path: Path) -> None:
    """Else its phone would ring while the server stops."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrated(url)
    database, carrier = Committing(url), NoRoute()
    configured = settings(tmp_path, **SCRIPTED)
    async with (
        aclosing(database),
        running(configured, open_desk, carrier, LoopClock(), database) as rig,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        ann = await ready(rig)
        placing = tasks.create_task(ann.post("/api/calls", {"persona_id": "brad"}))
        await database.placed.wait()
        assert isinstance(rig.parts.desk, Anywhere)
        draining = tasks.create_task(rig.parts.desk._desk.drain(0.1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        early = draining.done()
        database.go.set()
        assert (await placing).status_code == 202
        carrier.decided.set()
        await draining
        assert not early
        assert rig.parts.desk.live_calls == 0


async def test_a_hang_up_waits_for_whoever_goes_on_with_the_call(tmp_path: Path) -> None:
    """Its process is gone and nobody has it yet: the user has said so all the same."""
    async with running(settings(tmp_path, **SCRIPTED), open_desk, clock=LoopClock()) as rig:
        ann = await ready(rig)
        row = await left_behind(rig, ann)
        for _ in range(3):
            assert (await ann.post(f"/api/calls/{row.id}/hangup")).status_code == 202
        async with rig.parts.database.write() as tx:
            assert [(one.call_id, one.kind) for one in await mailbox.take(tx, [row.id])] == [
                (row.id, "hang_up")
            ]
            await ledger.finalise(tx, call_id=row.id, epoch=row.epoch, now=rig.clock.utc())
        assert (await ann.post(f"/api/calls/{row.id}/hangup")).status_code == 202
        async with rig.parts.database.read() as tx:
            assert not await mailbox.waits(tx, [row.id]), "that one is over"


async def test_a_browser_call_with_free_engines_is_placed(tmp_path: Path) -> None:
    given = settings(tmp_path, **SCRIPTED, local_prices="free")
    async with running(given, open_desk, clock=LoopClock()) as rig:
        ann = await rig.register()
        placed = await ann.post("/api/calls", {"persona_id": "brad", "channel": "browser"})
        assert placed.status_code == 202, placed.text
