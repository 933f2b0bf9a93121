"""Deleting an account: the rows go, the files go, the token is dead, and nobody else loses anything."""

from __future__ import annotations

from pipeline.core.money import Nanos
from storage import calls, ids, ledger, strangers
from storage.audit import audit
from storage.records import CallRow, NewCall
from tests.server.rig import PHONE, Person, Rig


async def stored(rig: Rig, person: Person, *, final: bool) -> CallRow:
    now = rig.clock.utc()
    async with rig.parts.database.write() as tx:
        new = NewCall(
            id=ids.new_id(), user_id=person.id, persona_id="sarah", channel="phone", created_at=now, price_ids=(),
            owner="node",
        )  # fmt: skip
        row = await calls.create(tx, new)
        if final:
            await calls.advance(tx, row.id, "completed", at=now)
            await ledger.finalise(tx, call_id=row.id, epoch=1, now=now)
    folder = rig.parts.settings.calls_dir
    folder.mkdir(parents=True, exist_ok=True)
    for end in (".journal", ".wav"):
        (folder / f"{row.id}{end}").write_text("what was said")
    return row


async def test_everything_of_mine_goes_and_nothing_of_others(rig: Rig) -> None:
    ann, bob = await rig.register("ann@example.com"), await rig.register("bob@example.com")
    mine, theirs = await stored(rig, ann, final=True), await stored(rig, bob, final=True)
    answer = await ann.ask("DELETE", "/api/me")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await ann.get("/api/me")).status_code == 401
    left = {path.name for path in rig.parts.settings.calls_dir.iterdir()}
    assert left == {f"{theirs.id}.journal", f"{theirs.id}.wav"}
    async with rig.parts.database.read() as tx:
        assert await calls.get(tx, mine.id) is None
        assert await calls.get(tx, theirs.id) is not None
        assert (await audit(tx)).breaches == []
    await rig.register("ann@example.com")


async def test_my_number_goes_from_calls_of_strangers_who_rang_from_it(rig: Rig) -> None:
    ann = await rig.register()
    await ann.verify_phone("+12025550177")
    await ann.verify_phone()
    async with rig.parts.database.write() as tx:
        now = rig.clock.utc()
        await strangers.provide(tx, Nanos(1), "c1", now)
        for ident, number in (("c0", "+12025550177"), ("c1", PHONE), ("c2", "+12025550199")):
            new = NewCall(ident, strangers.ACCOUNT, "sarah", "phone", now, (), "node", phone_e164=number)
            await calls.create(tx, new)
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    async with rig.parts.database.read() as tx:
        left = [await calls.get(tx, ident) for ident in ("c0", "c1", "c2")]
    assert [row and row.phone_e164 for row in left] == [None, None, "+12025550199"]


async def test_an_account_with_a_call_still_on_stays(rig: Rig) -> None:
    ann = await rig.register()
    call = await stored(rig, ann, final=False)
    answer = await ann.ask("DELETE", "/api/me")
    assert (answer.status_code, answer.json()["code"]) == (409, "call_in_progress")
    assert (await ann.get(f"/api/calls/{call.id}")).status_code == 200
    assert (rig.parts.settings.calls_dir / f"{call.id}.journal").exists()


async def test_files_that_cannot_be_unlinked_keep_the_account(rig: Rig) -> None:
    ann = await rig.register()
    call = await stored(rig, ann, final=True)
    journal = rig.parts.settings.calls_dir / f"{call.id}.journal"
    journal.unlink()
    journal.mkdir()
    assert (await ann.ask("DELETE", "/api/me")).status_code >= 500
    assert (await ann.get("/api/me")).status_code == 200
