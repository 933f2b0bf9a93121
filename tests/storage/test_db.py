"""Transactions, and which errors mean that the database is away."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage.db import Database, DatabaseDown, database_url
from storage.migrate import migrate
from storage.records import User
from tests.storage.world import person, rows


@pytest.fixture
async def user(database: Database) -> User:
    async with database.write() as tx:
        return await person(tx, credit=100)


async def test_a_write_is_kept_or_leaves_no_trace(database: Database, user: User) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            await tx.execute(text("UPDATE user_credits SET balance_nano = 7"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await rows(database, "SELECT balance_nano FROM user_credits") == [(100,)]
    async with database.write() as tx:
        await tx.execute(text("UPDATE user_credits SET balance_nano = 7"))
    assert await rows(database, "SELECT balance_nano FROM user_credits") == [(7,)]


async def test_a_reader_cannot_write(database: Database, user: User) -> None:
    with pytest.raises((DBAPIError, DatabaseDown)):
        async with database.read() as tx:
            await tx.execute(text("UPDATE user_credits SET balance_nano = 7"))
    assert await rows(database, "SELECT balance_nano FROM user_credits") == [(100,)]


async def test_a_reader_sees_one_moment(database: Database, user: User) -> None:
    query = text("SELECT balance_nano FROM user_credits")
    async with database.read() as reading:
        before = (await reading.execute(query)).scalar_one()
        async with database.write() as tx:
            await tx.execute(text("UPDATE user_credits SET balance_nano = 7"))
        assert (await reading.execute(query)).scalar_one() == before == 100


async def test_the_writer_still_works_after_a_cancelled_write(database: Database, user: User) -> None:
    async def stuck() -> None:
        async with database.write() as tx:
            await tx.execute(text("UPDATE user_credits SET balance_nano = 7"))
            await asyncio.Event().wait()

    with suppress(TimeoutError):
        await asyncio.wait_for(stuck(), 0.05)
    async with database.write() as tx:
        await tx.execute(text("UPDATE user_credits SET balance_nano = balance_nano + 1"))
    assert await rows(database, "SELECT balance_nano FROM user_credits") == [(101,)]


async def test_on_sqlite_writes_go_one_at_a_time(migrated_sqlite: str) -> None:
    database = Database.open(migrated_sqlite)
    async with database.write() as tx:
        await person(tx, credit=100)

    async def read_then_write() -> None:
        async with database.write() as tx:
            seen = (await tx.execute(text("SELECT balance_nano FROM user_credits"))).scalar_one()
            await asyncio.sleep(0)
            await tx.execute(text("UPDATE user_credits SET balance_nano = :n"), {"n": seen + 1})

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(read_then_write())
    assert await rows(database, "SELECT balance_nano FROM user_credits") == [(120,)]
    await database.aclose()


async def test_on_sqlite_who_is_urgent_writes_before_those_who_wait(migrated_sqlite: str) -> None:
    database, order = Database.open(migrated_sqlite), list[str]()

    async def write(name: str, *, urgent: bool = False) -> None:
        async with database.write(urgent=urgent):
            order.append(name)

    async with asyncio.TaskGroup() as tasks, database.write():
        for name in ("flush", "dial"):
            tasks.create_task(write(name))
        await asyncio.sleep(0)
        tasks.create_task(write("answer", urgent=True))
        await asyncio.sleep(0)
    await database.aclose()
    assert order == ["answer", "flush", "dial"]


async def test_two_processes_write_to_one_sqlite_file(migrated_sqlite: str) -> None:
    server, beside = Database.open(migrated_sqlite), Database.open(migrated_sqlite, checkpoint=False)
    async with server.write() as tx:
        await person(tx, credit=100)

    async def add(database: Database) -> None:
        for _ in range(10):
            async with database.write() as tx:
                seen = (await tx.execute(text("SELECT balance_nano FROM user_credits"))).scalar_one()
                await tx.execute(text("UPDATE user_credits SET balance_nano = :n"), {"n": seen + 1})

    await asyncio.gather(add(server), add(beside))
    assert await rows(server, "SELECT balance_nano FROM user_credits") == [(120,)]
    await beside.aclose()
    await server.aclose()


async def test_only_the_server_folds_the_log_in(migrated_sqlite: str, tmp_path: Path) -> None:
    server, beside = Database.open(migrated_sqlite), Database.open(migrated_sqlite, checkpoint=False)
    file = tmp_path / "test.db"
    async with server.write() as tx:
        user = await person(tx)
    before = file.read_bytes()
    change = text("UPDATE users SET name = :text WHERE id = :user")
    async with beside.write() as tx:
        await tx.execute(change, {"text": "x" * 8_000_000, "user": user.id})
    assert file.read_bytes() == before
    async with server.write() as tx:
        await tx.execute(change, {"text": "y" * 8_000_000, "user": user.id})
    assert len(file.read_bytes()) > 8_000_000
    await beside.aclose()
    await server.aclose()


async def test_sqlite_is_opened_as_the_design_says(migrated_sqlite: str) -> None:
    database = Database.open(migrated_sqlite)
    async with database.write() as tx:
        for pragma, value in {
            "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 5000
        }.items():  # fmt: skip
            assert (await tx.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one() == value
    await database.aclose()


async def test_a_full_disk_may_pass(migrated_sqlite: str) -> None:
    database = Database.open(migrated_sqlite)
    async with database.write() as tx:
        user = await person(tx)
        await tx.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(DatabaseDown) as caught:
        async with database.write() as tx:
            await tx.execute(text("UPDATE users SET name = :n"), {"n": "x" * 1_000_000})
    assert caught.value.retryable
    assert await rows(database, "SELECT id, name FROM users") == [(user.id, "Kim")]
    await database.aclose()


async def test_a_file_that_is_no_database_will_not_pass(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(DatabaseDown) as caught:
        await migrate(f"sqlite:///{tmp_path / 'other.db'}")
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all.db",
        "postgresql://someone@/db?host=/nowhere",
        "postgres://someone@127.0.0.1:1/db",
    ],
)
async def test_no_database_there_may_pass(url: str) -> None:
    database = Database.open(url)
    with pytest.raises(DatabaseDown) as caught:
        async with database.read() as tx:
            await tx.execute(text("SELECT 1"))
    assert caught.value.retryable
    await database.aclose()


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:", "sqlite:///x.db?mode=ro"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite"):
        database_url(url)


async def test_a_wrong_statement_is_not_the_database_being_down(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.read() as tx:
            await tx.execute(text("SELECT nonsense FROM nowhere"))


async def test_a_lock_held_by_another_may_pass(postgres_pair: tuple[Database, Database]) -> None:
    one, other = postgres_pair
    change = text("UPDATE user_credits SET balance_nano = 1")
    async with one.write() as tx:
        await person(tx, credit=100)
    async with one.write() as holding:
        await holding.execute(change)
        with pytest.raises(DatabaseDown) as caught:
            async with other.write() as tx:
                await tx.execute(change)
    assert caught.value.retryable


async def test_a_lost_connection_may_pass_and_the_next_one_works(
    postgres_pair: tuple[Database, Database],
) -> None:
    one, other = postgres_pair

    async def lose() -> None:
        async with one.write() as tx:
            victim = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with other.write() as killing:
                await killing.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim})
            await tx.execute(text("SELECT 1"))

    with pytest.raises(DatabaseDown) as caught:
        await lose()
    assert caught.value.retryable
    assert await rows(one, "SELECT 1") == [(1,)]


async def test_a_double_row_is_not_the_database_being_down(database: Database, user: User) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as tx:
            await tx.execute(text(f"INSERT INTO user_credits (user_id) VALUES ('{user.id}')"))
