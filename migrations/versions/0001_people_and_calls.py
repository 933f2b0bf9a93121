"""People, personas, calls and their transcripts, and the tables of operation."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    false,
    text,
)

from storage.columns import BIG_ID, Moment, Numbers, Words, check, count, moment, name, nanos, words, written

revision = "0001"
down_revision = None


def upgrade() -> None:
    _users()
    _token_blacklist()
    _phone_verifications()
    _consents()
    _opt_outs()
    _personas()
    _user_persona_relationships()
    _memories()
    _call_scenario_templates()
    _scheduled_calls()
    _calls()
    _call_turns()
    _stream_tokens()
    _webhook_receipts()
    _nodes()
    _jobs()
    _audit_log()


def _user() -> Column[str]:
    return Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


def _persona() -> Column[str]:
    return Column("persona_id", Text, ForeignKey("personas.id"), nullable=False)


def _call() -> Column[str]:
    return Column("call_id", Text, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False)


def _users() -> None:
    op.create_table(
        "users",
        name(),
        words("email", default=None),
        words("password_hash", default=None),
        words("name"),
        Column("phone", Words),
        Column("phone_e164", Text),
        moment("phone_verified_at"),
        words("timezone", default="UTC"),
        words("role", default="user"),
        count("token_version"),
        Column("inbound_pin_hash", Text),
        written("created_at"),
        written("updated_at"),
        UniqueConstraint("email", name="uq_users_email"),
        check("role IN ('user', 'admin')", "users_role"),
        # One owner a number, counting only those who proved it.
        Index(
            "uq_users_verified_phone",
            "phone_e164",
            unique=True,
            sqlite_where=text("phone_verified_at IS NOT NULL"),
            postgresql_where=text("phone_verified_at IS NOT NULL"),
        ),
    )


def _token_blacklist() -> None:
    op.create_table(
        "token_blacklist", name("jti"), _user(), Column("exp", Moment, nullable=False),
        Index("ix_token_blacklist_exp", "exp"),
    )  # fmt: skip


def _phone_verifications() -> None:
    op.create_table(
        "phone_verifications",
        name(),
        _user(),
        Column("e164", Text, nullable=False),
        Column("code_hash", Text, nullable=False),
        count("guesses"),
        Column("expires_at", Moment, nullable=False),
        moment("finished_at"),
        written(),
        Index("ix_phone_verifications_user", "user_id", "created_at"),
        Index("ix_phone_verifications_e164", "e164", "created_at"),
    )


def _consents() -> None:
    op.create_table(
        "consents", name(), _user(), Column("phone_e164", Text, nullable=False), words("text_version"),
        words("method"), words("ip"), written(),
    )  # fmt: skip


def _opt_outs() -> None:
    op.create_table("opt_outs", name("number_hash"), words("method"), written())


def _personas() -> None:
    op.create_table(
        "personas",
        name(),
        words("name", default=None),
        words("tagline"),
        words("identity"),
        words("greeting"),
        words("voice"),
        count("temperature_pct", 70),
        count("reply_max_tokens", 120),
        count("max_minutes", 15),
        count("position"),
        written(),
    )


def _user_persona_relationships() -> None:
    op.create_table(
        "user_persona_relationships",
        _user(),
        _persona(),
        words("kind", default="friend"),
        words("notes"),
        count("calls"),
        moment("last_call_at"),
        written("updated_at"),
        PrimaryKeyConstraint("user_id", "persona_id"),
    )


def _memories() -> None:
    op.create_table(
        "memories", name(), _user(), _persona(), Column("call_id", Text), words("text"),
        count("importance"), written("created_at"), written("updated_at"),
        Index("ix_memories_user_persona", "user_id", "persona_id"),
    )  # fmt: skip


def _call_scenario_templates() -> None:
    op.create_table(
        "call_scenario_templates",
        name(),
        _user(),
        words("title"),
        words("prompt"),
        words("opening"),
        Column("max_minutes", BigInteger),
        count("uses"),
        moment("last_used_at"),
        written("created_at"),
        written("updated_at"),
        Index("ix_call_scenario_templates_user", "user_id", "created_at"),
    )


def _scheduled_calls() -> None:
    op.create_table(
        "scheduled_calls",
        name(),
        _user(),
        _persona(),
        Column("scenario_id", Text),
        words("context"),
        words("local_time"),
        words("timezone", default="UTC"),
        Column("rrule", Words),
        Column("due_at", Moment, nullable=False),
        count("window_s", 300),
        words("status", default="pending"),
        count("claim_epoch"),
        Column("dial_id", Text, unique=True),
        written(),
        Index("ix_scheduled_calls_due", "status", "due_at"),
    )


def _calls() -> None:
    op.create_table(
        "calls",
        name(),
        _user(),
        _persona(),
        Column("scenario_id", Text),
        Column("scheduled_call_id", Text, unique=True),
        words("channel", default="phone"),
        words("status", default="queued"),
        count("status_rank"),
        Column("end_reason", Text),
        Column("phone_e164", Text),
        words("context"),
        count("max_minutes", 15),
        Column("twilio_call_sid", Text, unique=True),
        words("owner"),
        count("epoch", 1),
        Column("price_ids", Numbers, nullable=False, server_default=text("'[]'")),
        written(),
        moment("answered_at"),
        moment("ended_at"),
        Column("carrier_seconds", BigInteger),
        nanos("total_nano"),
        nanos("settled_nano"),
        count("last_seq"),
        moment("final_at"),
        Column("idem_key", Words),
        Column("idem_hash", Text),
        UniqueConstraint("user_id", "idem_key", name="uq_calls_user_idem_key"),
        check("channel IN ('phone', 'browser')", "calls_channel"),
        check("total_nano >= 0 AND settled_nano >= 0 AND last_seq >= 0", "calls_money"),
        Index("ix_calls_user_created", "user_id", "created_at", "id"),
        # The few calls that are still going on, for restarts and sweeps.
        Index(
            "ix_calls_open", "owner",
            sqlite_where=text("final_at IS NULL"), postgresql_where=text("final_at IS NULL"),
        ),
    )  # fmt: skip


def _call_turns() -> None:
    op.create_table(
        "call_turns",
        _call(),
        Column("turn", BigInteger, nullable=False),
        words("role", default="caller"),
        words("text"),
        count("started_ms"),
        count("ended_ms"),
        Column("interrupted", Boolean, nullable=False, server_default=false()),
        PrimaryKeyConstraint("call_id", "turn"),
    )


def _stream_tokens() -> None:
    op.create_table(
        "stream_tokens", name("token_hash"), _call(), Column("call_sid", Text, nullable=False),
        Column("expires_at", Moment, nullable=False), moment("spent_at"),
    )  # fmt: skip


def _webhook_receipts() -> None:
    op.create_table("webhook_receipts", Column("key", Words, primary_key=True), written("received_at"))


def _nodes() -> None:
    op.create_table(
        "nodes", name("boot_id"), written("started_at"), written("heartbeat_at"), words("version")
    )


def _jobs() -> None:
    op.create_table(
        "jobs", name(), words("kind", default=None), words("payload", default="{}"),
        Column("due_at", Moment, nullable=False), words("status", default="pending"), count("attempts"),
        Column("claimed_by", Text), moment("claimed_at"), written(), Index("ix_jobs_due", "status", "due_at"),
    )  # fmt: skip


def _audit_log() -> None:
    op.create_table(
        "audit_log", Column("id", BIG_ID, primary_key=True, autoincrement=True), words("actor"),
        words("action", default=None), words("subject"), words("detail"), written(),
    )  # fmt: skip
