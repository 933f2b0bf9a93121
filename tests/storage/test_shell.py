"""SQL typed by hand: parameters are bound, a file is all or nothing, answers are JSON."""

import json

import pytest

from storage.db import Database
from storage.shell import Parameter, SqlError, Statement, run_sql, split
from tests.storage.world import DOLLAR, NASTY, call, person, rows

ADD = "INSERT INTO users (id, email, password_hash, name) VALUES (:id, :email, 'h', :name)"


async def test_named_and_placed_parameters_are_bound(database: Database) -> None:
    who = {"id": "u1", "email": "raw@example.com", "name": NASTY}
    assert await run_sql(database, ADD, who) == []
    asked = "SELECT id, name, token_version AS v FROM users WHERE email = ? AND token_version = ?"
    answer = await run_sql(database, asked, ["raw@example.com", 0])
    assert answer == [{"id": "u1", "name": NASTY, "v": 0}]
    named = "SELECT id FROM users WHERE name = :n AND id = :id AND name = :n AND email <> ':n ? ;' -- :x ? ;"
    assert await run_sql(database, named, {"n": NASTY, "id": "u1"}) == [{"id": "u1"}]
    assert await run_sql(database, "/* ; */ SELECT id FROM users;; -- nothing more") == [{"id": "u1"}]


async def test_every_value_is_json(database: Database) -> None:
    async with database.write() as tx:
        await call(tx, await person(tx, credit=DOLLAR))
    found = await run_sql(
        database, "SELECT * FROM users; SELECT * FROM calls; SELECT * FROM pricing; SELECT 1.5 AS x"
    )
    assert len(found) > 50
    assert json.loads(json.dumps(found)) == found
    assert str(found[0]["created_at"]).startswith("2026-11-23")


async def test_a_file_is_all_or_nothing(database: Database) -> None:
    script = """
        INSERT INTO users (id, email, password_hash) VALUES ('u1', 'one@example.com', 'h');
        INSERT INTO users (id, email, password_hash) VALUES ('u1', 'two@example.com', 'h');"""
    with pytest.raises(SqlError, match=r"(?i)unique"):
        await run_sql(database, script)
    assert await rows(database, "SELECT count(*) FROM users") == [(0,)]
    await run_sql(database, script.replace("'u1', 'two", "'u2', 'two"))
    assert await rows(database, "SELECT count(*) FROM users") == [(2,)]


async def test_a_statement_with_its_own_semicolons(database: Database) -> None:
    if database.dialect == "sqlite":
        script = """
            CREATE TRIGGER t AFTER INSERT ON opt_outs BEGIN
                UPDATE opt_outs SET method = 'a;b' WHERE number_hash = NEW.number_hash;
            END;"""
    else:
        script = """
            DO $body$ BEGIN INSERT INTO opt_outs (number_hash, method) VALUES ('x', 'a;b'); END $body$;
            DELETE FROM opt_outs WHERE method::text <> 'a;b';"""
    await run_sql(database, script)
    await run_sql(database, "INSERT INTO opt_outs (number_hash) VALUES ('y')")
    method = await run_sql(database, "SELECT method FROM opt_outs WHERE method = 'a;b'")
    assert method == [{"method": "a;b"}]


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("SELECT :a", {}),
        ("SELECT :a", {"a": 1, "b": 2}),
        ("SELECT ?, ?", [1]),
        ("SELECT ?", [1, 2]),
        ("SELECT nonsense FROM nowhere", {}),
        ("SELEC 1", {}),
    ],
)
async def test_what_does_not_fit_is_an_error(
    database: Database, text: str, parameters: dict[str, Parameter] | list[Parameter]
) -> None:
    with pytest.raises(SqlError):
        await run_sql(database, text, parameters)


def test_parameters_become_the_drivers() -> None:
    text = "SELECT :a, ':a', \"b:a\", :b::int, :a; SELECT :b"
    named: dict[str, Parameter] = {"a": 1, "b": "x"}
    assert list(split(text, named, "postgresql")) == [
        Statement("SELECT $1, ':a', \"b:a\", $2::int, $3", (1, "x", 1)),
        Statement("SELECT $1", ("x",)),
    ]
    assert list(split("SELECT :a, ?", {"a": 1}, "postgresql")) == [Statement("SELECT $1, ?", (1,))]
    assert list(split("SELECT ?, '?'; SELECT ?", [1, 2], "sqlite")) == [
        Statement("SELECT ?, '?'", (1,)),
        Statement("SELECT ?", (2,)),
    ]
    assert list(split(" ; -- nothing\n;", {}, "sqlite")) == []
