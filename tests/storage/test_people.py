"""What belongs to a person beside the account: sessions, codes, personas, scenarios."""

import asyncio
from datetime import timedelta

import pytest

from pipeline.core.errors import Refused
from storage import ageing, personas, scenarios, stream_tokens, tokens, verification
from storage.db import Database
from storage.defaults import SCENARIOS
from storage.records import Relationship, StreamToken
from storage.rows import encode_cursor
from tests.storage.world import NASTY, NOON, call, later, patiently, person

E164 = "+12025550123"


# -- tokens ----------------------------------------------------------------------------


async def test_a_token_stays_out_until_it_expires(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        for _ in range(2):
            await tokens.blacklist(tx, "jti", user.id, later(60))
        assert await tokens.is_blacklisted(tx, "jti")
        assert not await tokens.is_blacklisted(tx, "other")
        assert await ageing.purge(tx, later(59), 100) == 0
        assert await tokens.is_blacklisted(tx, "jti")
        assert await ageing.purge(tx, later(86_400 + 61), 100) == 1
        assert not await tokens.is_blacklisted(tx, "jti")


# -- verification ----------------------------------------------------------------------


async def test_a_code_takes_five_guesses_and_one_use(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        assert await verification.latest(tx, user.id) is None
        await verification.start(tx, user.id, "+12025550100", "old", later(600), NOON)
        sent = await verification.start(tx, user.id, E164, "hash", later(600), later(1))
        assert await verification.latest(tx, user.id) == sent
        assert (sent.e164, sent.code_hash, sent.expires_at, sent.guesses) == (E164, "hash", later(600), 0)
        assert [await verification.guess(tx, sent.id) for _ in range(6)] == [4, 3, 2, 1, 0, -1]
        assert [await verification.finish(tx, sent.id) for _ in range(2)] == [True, False]
        assert await verification.guess(tx, sent.id) == -1
        used = await verification.latest(tx, user.id)
        assert used is not None
        assert (used.guesses, used.finished_at is not None) == (5, True)


async def test_guesses_at_once_are_all_counted(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        sent = await verification.start(tx, user.id, E164, "hash", later(600), NOON)

    async def guess() -> int:
        return await patiently(database, lambda tx: verification.guess(tx, sent.id))

    assert sorted(await asyncio.gather(*(guess() for _ in range(8)))) == [-1, -1, -1, 0, 1, 2, 3, 4]


async def test_sends_are_counted_by_user_number_and_prefix(database: Database) -> None:
    async with database.write() as tx:
        one, two = await person(tx), await person(tx)
        for second, (user, number) in enumerate(
            [(one, E164), (one, "+12025550199"), (two, E164), (two, "+4930123456")]
        ):
            await verification.start(tx, user.id, number, "h", later(600), later(second))
        before = NOON - timedelta(seconds=1)
        assert await verification.sends_since(tx, since=before) == 4
        assert await verification.sends_since(tx, since=NOON) == 3
        assert await verification.sends_since(tx, since=before, user_id=one.id) == 2
        assert await verification.sends_since(tx, since=before, e164=E164) == 2
        assert await verification.sends_since(tx, since=before, near="+12025559999") == 3
        assert await verification.sends_since(tx, since=before, near="%") == 0
        assert await verification.sends_since(tx, since=before, user_id=two.id, near="+12025559999") == 1


# -- personas --------------------------------------------------------------------------


async def test_three_different_personas_come_with_the_database(database: Database) -> None:
    async with database.read() as tx:
        everybody = await personas.all(tx)
        assert [persona.id for persona in everybody] == ["brad", "sarah", "alex"]
        assert await personas.by_id(tx, "sarah") == everybody[1]
        assert await personas.by_id(tx, "nobody") is None
    for persona in everybody:
        assert persona.voice == persona.id
        assert persona.greeting.format(name="Kim") != persona.greeting
        described, examples = persona.identity.split("\nExample:\n")
        assert len(described.split()) <= 90
        for heading in ("Likes: ", "Manner: ", "Catchphrase: "):
            assert sum(line.startswith(heading) for line in described.splitlines()) == 1
        spoken = [line.split(":")[0] for line in examples.splitlines()]
        assert spoken == ["Caller", persona.name] * 3
    assert len({persona.identity for persona in everybody} | {persona.tagline for persona in everybody}) == 6


async def test_a_relationship_has_words_and_a_history(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        assert await personas.relationship(tx, user.id, "brad") == Relationship(user.id, "brad")
        await personas.met(tx, user.id, "brad", NOON)
        known = await personas.put_relationship(tx, user.id, "brad", kind="coach", notes=NASTY)
        assert known == Relationship(user.id, "brad", "coach", NASTY, 1, NOON)
        await personas.met(tx, user.id, "brad", later(5))
        again = await personas.put_relationship(tx, user.id, "brad", kind="rival", notes="")
        assert again == Relationship(user.id, "brad", "rival", "", 2, later(5))
        assert await personas.relationship(tx, user.id, "alex") == Relationship(user.id, "alex")


# -- scenarios -------------------------------------------------------------------------


async def test_scenarios_are_ones_own(database: Database) -> None:
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)
        made = await scenarios.add(
            tx, user.id, title=NASTY, prompt=NASTY, opening=NASTY, max_minutes=5, now=later(1)
        )
        assert (made.title, made.prompt, made.opening, made.max_minutes, made.uses) == (
            NASTY,
            NASTY,
            NASTY,
            5,
            0,
        )
        assert await scenarios.get(tx, user.id, made.id) == made
        assert await scenarios.get(tx, other.id, made.id) is None
        assert await scenarios.update(tx, other.id, made.id, title="mine") is None
        assert not await scenarios.delete(tx, other.id, made.id)
        changed = await scenarios.update(tx, user.id, made.id, title="New", max_minutes=0)
        assert changed is not None
        assert (changed.title, changed.prompt, changed.max_minutes) == ("New", NASTY, None)
        await scenarios.used(tx, made.id)
        used = await scenarios.get(tx, user.id, made.id)
        assert used is not None
        assert (used.uses, used.last_used_at is not None) == (1, True)
        assert await scenarios.delete(tx, user.id, made.id)
        assert not await scenarios.delete(tx, user.id, made.id)


async def test_a_list_is_read_a_page_at_a_time(database: Database) -> None:
    async with database.write() as tx:
        user = await person(tx)
        made = [
            await scenarios.add(tx, user.id, title=str(n), prompt="", now=later(1 + n // 2)) for n in range(7)
        ]
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(20):
            page = await scenarios.page(tx, user.id, cursor, 3)
            seen += [item.id for item in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 12
        newest_first = sorted(made, key=lambda item: (item.created_at, item.id), reverse=True)
        assert seen[:7] == [item.id for item in newest_first]


@pytest.mark.parametrize("cursor", ["", "!", "é", "YQ", "YSBi", "MjAyNi0xMS0yM1QxNzowMDowMCBi"])
async def test_a_made_up_cursor_is_refused(database: Database, cursor: str) -> None:
    async with database.read() as tx:
        with pytest.raises(Refused, match="cursor"):
            await scenarios.page(tx, "user", cursor, 3)


# -- one-time things -------------------------------------------------------------------


async def test_a_stream_token_opens_one_socket(database: Database) -> None:
    async with database.write() as tx:
        placed = await call(tx, await person(tx))
        for name in ("hash", "late"):
            await stream_tokens.add(tx, name, placed.id, "CA1", later(30))
        assert await stream_tokens.spend(tx, "late", later(30)) is None
        assert await stream_tokens.spend(tx, "unknown", NOON) is None

    async def spend() -> StreamToken | None:
        return await patiently(database, lambda tx: stream_tokens.spend(tx, "hash", later(29)))

    answers = await asyncio.gather(*(spend() for _ in range(8)))
    assert [answer for answer in answers if answer] == [
        StreamToken("hash", placed.id, "CA1", later(30), later(29))
    ]


async def test_the_most_used_scenarios_come_first_page_by_page(database: Database) -> None:
    async with database.write() as tx:
        user, other = await person(tx), await person(tx)
        for _ in range(3):
            await scenarios.add(tx, other.id, title="theirs", prompt="p", now=NOON)
        made = [await scenarios.add(tx, user.id, title=f"t{n}", prompt="p", now=later(n)) for n in range(4)]
        for scenario, uses in zip(made, (1, 3, 1, 12), strict=True):
            for _ in range(uses):
                await scenarios.used(tx, scenario.id)
        seen: list[tuple[str, int]] = []
        cursor = None
        while True:
            page = await scenarios.popular(tx, user.id, cursor, 2)
            seen += [(scenario.title, scenario.uses) for scenario in page.items]
            if (cursor := page.next_cursor) is None:
                break
        assert seen[:4] == [("t3", 12), ("t1", 3), ("t2", 1), ("t0", 1)]
        assert len(seen) == 4 + len(SCENARIOS)
        newest = await scenarios.page(tx, user.id, None, 2)
        for foreign in (newest.next_cursor, encode_cursor(f"{'9' * 19} 2026-01-01T00:00:00+00:00 x"), "x"):
            with pytest.raises(Refused):
                await scenarios.popular(tx, user.id, foreign, 2)
