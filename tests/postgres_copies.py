"""What a prepared database held, and how a used copy of it is brought back to that.

Emptying a copy takes a hundredth of the time of making one, which writes some six hundred files. A copy whose
schema a test has changed is not brought back.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import asyncpg

TABLES = """
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY oid
"""
SEQUENCES = """
    SELECT format('%I', relname) FROM pg_class
    WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace ORDER BY oid
"""
SCHEMA = """
    SELECT md5(string_agg(made, ' ' ORDER BY made)) FROM (
        SELECT format('class %s %s', oid, xmin) FROM pg_class WHERE oid >= 16384
        UNION ALL SELECT format('column %s %s %s', attrelid, attnum, xmin) FROM pg_attribute WHERE attrelid >= 16384
        UNION ALL SELECT format('default %s %s', oid, xmin) FROM pg_attrdef
        UNION ALL SELECT format('constraint %s %s', oid, xmin) FROM pg_constraint WHERE oid >= 16384
        UNION ALL SELECT format('trigger %s %s', oid, xmin) FROM pg_trigger
        UNION ALL SELECT format('function %s %s', oid, xmin) FROM pg_proc WHERE oid >= 16384
    ) AS objects(made)
"""
"""A digest of which transaction made each object that is not PostgreSQL's own; a copy has that of its template."""
OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
GROWN = """
    SELECT format('VACUUM %I', relname) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 200000
"""


@dataclass(frozen=True, slots=True)
class Pristine:
    """`rows` are those of each table in COPY's binary format; `sequences` say where each stands."""

    schema: str
    rows: dict[str, bytes]
    sequences: dict[str, tuple[int, bool]]


async def remembered(connection: asyncpg.Connection) -> Pristine:
    rows = dict[str, bytes]()
    for (table,) in await connection.fetch(TABLES):
        sink = BytesIO()
        await connection.copy_from_table(table, output=sink, format="binary")
        rows[table] = sink.getvalue()
    sequences = dict[str, tuple[int, bool]]()
    for (sequence,) in await connection.fetch(SEQUENCES):
        stands = await connection.fetchrow(f"SELECT last_value, is_called FROM {sequence}")
        assert stands is not None
        sequences[sequence] = (stands[0], stands[1])
    return Pristine(await connection.fetchval(SCHEMA), rows, sequences)


async def restored(connection: asyncpg.Connection, pristine: Pristine) -> bool:
    """Whether it is as it was prepared again. Whoever else is connected is thrown out."""
    await connection.execute(OTHERS)
    if await connection.fetchval(SCHEMA) != pristine.schema:
        return False
    async with connection.transaction():
        # Neither triggers nor references hold while the tables are half empty.
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("".join(f'DELETE FROM "{table}";' for table in pristine.rows))
        for table, rows in pristine.rows.items():
            await connection.copy_to_table(table, source=BytesIO(rows), format="binary")
        for sequence, (last, called) in pristine.sequences.items():
            await connection.execute("SELECT setval($1::regclass, $2, $3)", sequence, last, called)
    for (vacuum,) in await connection.fetch(GROWN):
        await connection.execute(vacuum)
    return True
