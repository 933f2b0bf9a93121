"""An index of what was said, what schedules fill in, and the books of accounts that are gone"""

from __future__ import annotations

import logging

from alembic import op
from sqlalchemy import BigInteger, Column, text

from storage.columns import BIG_ID, check, count, nanos, words, written

revision = "0014"
down_revision = "0007"

log = logging.getLogger(__name__)

# On SQLite the index is a table beside the transcript, kept in step by triggers, so that whatever removes a turn
# removes its words. Its rows have numbers of their own: those of `call_turns` may change when the file is packed.
SQLITE = (
    """CREATE TABLE turn_words (
        id INTEGER PRIMARY KEY, call_id TEXT NOT NULL, turn BIGINT NOT NULL,
        CONSTRAINT uq_turn_words_turn UNIQUE (call_id, turn))""",
    "CREATE VIRTUAL TABLE turn_search USING fts5(text, tokenize = 'unicode61 remove_diacritics 0')",
    """CREATE TRIGGER turn_words_added AFTER INSERT ON call_turns BEGIN
        INSERT INTO turn_words (call_id, turn) VALUES (new.call_id, new.turn);
        INSERT INTO turn_search (rowid, text)
            SELECT id, new.text FROM turn_words WHERE call_id = new.call_id AND turn = new.turn;
    END""",
    """CREATE TRIGGER turn_words_changed AFTER UPDATE OF text ON call_turns BEGIN
        UPDATE turn_search SET text = new.text
            WHERE rowid = (SELECT id FROM turn_words WHERE call_id = old.call_id AND turn = old.turn);
    END""",
    """CREATE TRIGGER turn_words_removed AFTER DELETE ON call_turns BEGIN
        DELETE FROM turn_search
            WHERE rowid = (SELECT id FROM turn_words WHERE call_id = old.call_id AND turn = old.turn);
        DELETE FROM turn_words WHERE call_id = old.call_id AND turn = old.turn;
    END""",
    "INSERT INTO turn_words (call_id, turn) SELECT call_id, turn FROM call_turns",
    """INSERT INTO turn_search (rowid, text)
        SELECT w.id, t.text FROM turn_words w JOIN call_turns t ON t.call_id = w.call_id AND t.turn = w.turn""",
)
# The expression is repeated word for word by the query that is to use the index.
POSTGRES = (
    r"""CREATE INDEX ix_call_turns_search ON call_turns USING gin (to_tsvector('simple',
        translate(text, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                ')))""",
)


def upgrade() -> None:
    op.add_column("scheduled_calls", words("variables", default="{}"))
    op.create_table(
        "closed_accounts",
        Column("id", BIG_ID, primary_key=True, autoincrement=True),
        count("calls"),
        nanos("usage_nano"),
        nanos("losses_nano"),
        Column("granted_nano", BigInteger, nullable=False),
        Column("forfeited_nano", BigInteger, nullable=False),
        written("closed_at"),
        check("granted_nano = usage_nano + forfeited_nano", "closed_accounts_money"),
    )
    if op.get_bind().dialect.name != "sqlite":
        statements: tuple[str, ...] = POSTGRES
    elif op.get_bind().execute(text("SELECT sqlite_compileoption_used('ENABLE_FTS5')")).scalar_one():
        statements = SQLITE
    else:
        log.warning(
            "this SQLite is built without FTS5: transcripts are searched without an index, which is slow"
        )
        return
    for statement in statements:
        op.execute(text(statement))
