"""The test database itself: empty, one's own, and gone afterwards."""

import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.postgres import Server


async def _rows(url: str, *statements: str) -> list[object]:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            answers = [await connection.execute(text(statement)) for statement in statements]
            return list(answers[-1].scalars())
    finally:
        await engine.dispose()


async def test_a_fresh_database_is_empty_and_nobody_elses(postgres: Server, postgres_url: str) -> None:
    with postgres.fresh_database() as other:
        assert other != postgres_url
        await _rows(other, "CREATE TABLE t (n bigint)", "INSERT INTO t VALUES (1)", "SELECT 1")
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await _rows(other, tables) == [1]
        assert await _rows(postgres_url, tables) == [0]
    assert await _rows(postgres_url, "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'") == [1]


def test_a_prepared_database_is_prepared_once_and_copied(postgres: Server) -> None:
    prepared: list[str] = []

    def prepare(url: str) -> None:
        prepared.append(url)
        name = url.removeprefix(postgres.dsn_prefix).removesuffix(postgres.dsn_suffix)
        postgres.execute("CREATE TABLE t (n bigint)", database=name)

    for _ in range(2):
        with postgres.fresh_database(prepare) as url:
            name = url.removeprefix(postgres.dsn_prefix).removesuffix(postgres.dsn_suffix)
            postgres.execute("INSERT INTO t VALUES (1)", database=name)
    assert len(prepared) == 1


def test_the_server_is_not_root(postgres: Server) -> None:
    assert os.stat(f"/proc/{postgres.pid}").st_uid != 0 if os.path.isdir("/proc") else postgres.pid > 0
