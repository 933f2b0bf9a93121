"""A user who rang is rung back: through the guard, once, or not at all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.core.money import Nanos
from server.inbound.call_back import AGAIN, PATIENCE, CallBack
from storage import calls, ids, ledger, opt_outs, users
from storage.records import NewCall
from tests.server.inbound.test_reception import serving, with_pin
from tests.server.rig import PHONE, Person, Rig


def handler(rig: Rig) -> CallBack:
    return CallBack(rig.parts.database, rig.clock, rig.parts.desk)


def wish(rig: Rig, person: Person, ago_s: float = 5) -> dict[str, str]:
    asked = rig.clock.utc() - timedelta(seconds=ago_s)
    return {"user": person.id, "sid": "CA1", "asked": asked.isoformat()}


async def test_it_rings_once_however_often_the_job_runs(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        for _ in range(3):
            assert await handler(rig)(wish(rig, ann)) is None
        async with rig.parts.database.read() as tx:
            placed = (await tx.execute(text("SELECT user_id, direction, phone_e164 FROM calls"))).all()
            dialled = (await tx.execute(text("SELECT purpose FROM dials"))).scalars().all()
        assert [tuple(row) for row in placed] == [(ann.id, "outbound", PHONE)]
        assert dialled == ["call_back"]


@pytest.mark.parametrize("why", ["opted_out", "number_lost", "no_credit", "gone"])
async def test_whom_the_guard_or_the_ledger_refuses_is_not_rung(tmp_path: Path, why: str) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        payload = wish(rig, ann)
        async with rig.parts.database.write() as tx:
            now = rig.clock.utc()
            if why == "opted_out":
                await opt_outs.add(tx, PHONE, "sms", now)
            elif why == "number_lost":
                await users.set_phone(tx, ann.id, PHONE)
            elif why == "gone":
                await users.delete(tx, ann.id)
            else:
                await ledger.grant(
                    tx, user_id=ann.id, amount=Nanos(-5_000_000_000), kind="correction", idem_key="x", now=now
                )
        assert await handler(rig)(payload) is None
        async with rig.parts.database.read() as tx:
            assert (await tx.execute(text("SELECT COUNT(*) FROM dials"))).scalar_one() == 0


async def test_who_was_told_so_and_is_not_rung_finds_out_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        assert (await ann.get("/api/me")).json()["missed_call_back"] is None
        assert (await ann.post("/api/opt-out")).status_code == 204
        assert await handler(rig)(wish(rig, ann)) is None
        told = (await ann.get("/api/me")).json()["missed_call_back"]
        assert told["code"] == "opted_out"
        seen = await ann.ask("PATCH", "/api/me", {"missed_call_back": None})
        assert seen.json()["missed_call_back"] is None
        assert (await ann.ask("PATCH", "/api/me", {"missed_call_back": told})).status_code == 422
        await handler(rig)(wish(rig, ann))
        await ann.verify_phone()
        assert (await ann.get("/api/me")).json()["missed_call_back"]["code"] == "opted_out"
        assert await handler(rig)(wish(rig, ann)) is None
        assert (await ann.get("/api/me")).json()["missed_call_back"] is None, "that one rang"


@pytest.mark.parametrize("key", ["call_back:CA1", "call_back%20CA1"])
async def test_no_key_of_a_client_is_in_its_way(tmp_path: Path, key: str) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        order = {"persona_id": "brad", "channel": "browser"}
        assert (await ann.post("/api/calls", order, {"idempotency-key": key})).status_code == 202
        forged = await ann.post("/api/calls", order, {"idempotency-key": "call_back CA1"})
        assert forged.status_code == 422, "a blank is in no key of theirs"
        assert await handler(rig)(wish(rig, ann)) is None
        async with rig.parts.database.read() as tx:
            assert (await tx.execute(text("SELECT COUNT(*) FROM dials"))).scalar_one() == 1


async def test_a_line_that_is_still_busy_is_waited_for_a_while(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        ann = await with_pin(rig)
        async with rig.parts.database.read() as tx:
            owner = (await tx.execute(text("SELECT boot_id FROM nodes"))).scalars().first()
        new = NewCall(
            ids.new_id(), ann.id, "sarah", "phone", rig.clock.utc(), (), owner or "node", phone_e164=PHONE
        )
        async with rig.parts.database.write() as tx:
            busy = await calls.create(tx, new)
        before = rig.clock.utc()
        again = await handler(rig)(wish(rig, ann))
        assert again is not None
        assert before + AGAIN <= again
        assert await handler(rig)(wish(rig, ann, PATIENCE.total_seconds())) is None, "nobody waits any more"
        async with rig.parts.database.write() as tx:
            await tx.execute(text("DELETE FROM calls WHERE id = :id"), {"id": busy.id})
        assert await handler(rig)(wish(rig, ann)) is None
        async with rig.parts.database.read() as tx:
            assert (await tx.execute(text("SELECT COUNT(*) FROM dials"))).scalar_one() == 1
