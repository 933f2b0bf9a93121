"""The tables as they are now. How they came to be is in `migrations/`; a test holds the two together.

Ids are text. Every column that a row written by hand may leave out has a default in the database itself.
Long because it is one flat list, a table after the other.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from storage.columns import BIG_ID, Moment, Numbers, Words, check, count, moment, name, nanos, words, written

metadata = MetaData()


def _user(nullable: bool = False) -> Column[str]:
    return Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=nullable)


def _persona() -> Column[str]:
    return Column("persona_id", Text, ForeignKey("personas.id"), nullable=False)


def _call() -> Column[str]:
    return Column("call_id", Text, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False)


# -- people ----------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
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
    # Last dialled; what somebody else's proof of the number did to this account; quiet hours of one's own.
    moment("phone_used_at"),
    words("phone_notice"),
    moment("missed_seen_at"),
    Column("quiet_hours", Text),
    # Why they were not rung back as they had been told, and when that was given up.
    words("missed_call_back"),
    moment("missed_call_back_at"),
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

token_blacklist = Table(
    "token_blacklist", metadata, name("jti"), _user(), Column("exp", Moment, nullable=False),
    Index("ix_token_blacklist_exp", "exp"),
)  # fmt: skip

phone_verifications = Table(
    "phone_verifications",
    metadata,
    name(),
    _user(),
    Column("e164", Text, nullable=False),
    Column("code_hash", Text, nullable=False),
    count("guesses"),
    Column("expires_at", Moment, nullable=False),
    moment("finished_at"),
    written(),
    # The carrier's name of the code where it made it.
    Column("sid", Text),
    Index("ix_phone_verifications_user", "user_id", "created_at"),
)

# What limits on codes are counted from: it outlives the account that asked, and does not say who that was.
codes_sent = Table(
    "codes_sent",
    metadata,
    Column("id", BIG_ID, primary_key=True, autoincrement=True),
    Column("verification_id", Text, ForeignKey("phone_verifications.id", ondelete="SET NULL")),
    Column("number_hash", Text, nullable=False),
    Column("prefix_hash", Text, nullable=False),
    Column("network_hash", Text, nullable=False),
    words("region"),
    Column("at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("confirmed", Boolean, nullable=False, server_default=false()),
    Index("ix_codes_sent_verification", "verification_id"),
    Index("ix_codes_sent_number", "number_hash", "at"),
    Index("ix_codes_sent_prefix", "prefix_hash", "at"),
    Index("ix_codes_sent_network", "network_hash", "at"),
    Index("ix_codes_sent_region", "region", "at"),
)

# The key of all such hashes, as each secret of the server's sealed it.
number_keys = Table("number_keys", metadata, name("kid"), Column("sealed", Text, nullable=False), written())

consents = Table(
    "consents", metadata, name(), _user(), Column("phone_e164", Text, nullable=False), words("text_version"),
    words("method"), words("ip"), written(),
)  # fmt: skip

dials = Table(
    "dials",
    metadata,
    name(),
    Column("user_id", Text, ForeignKey("users.id", ondelete="SET NULL")),
    Column("number_hash", Text, nullable=False),
    words("purpose"),
    Column("call_id", Text, ForeignKey("calls.id", ondelete="SET NULL")),
    Column("at", Moment, nullable=False),
    Index("ix_dials_number", "number_hash", "at"),
    Index("ix_dials_user", "user_id", "at"),
)

opt_outs = Table("opt_outs", metadata, name("number_hash"), words("method"), written())

inbound_rings = Table(
    "inbound_rings",
    metadata,
    name("sid"),
    # Of the call it may become; whose number it said it was, which proves nothing.
    Column("call_id", Text, nullable=False),
    Column("number_hash", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.id", ondelete="SET NULL")),
    words("stage", default="menu"),
    count("guesses"),
    Column("at", Moment, nullable=False),
    Index("ix_inbound_rings_number", "number_hash", "at"),
    Index("ix_inbound_rings_user", "user_id", "at"),
    Index("ix_inbound_rings_at", "at"),
)

inbound_blocks = Table(
    "inbound_blocks", metadata, name("number_hash"), words("method"), written(), words("last2")
)

personas = Table(
    "personas",
    metadata,
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
    words("model"),
    words("voicemail"),
)

user_persona_relationships = Table(
    "user_persona_relationships",
    metadata,
    _user(),
    _persona(),
    words("kind", default="friend"),
    words("notes"),
    count("calls"),
    moment("last_call_at"),
    written("updated_at"),
    words("voice"),
    words("manner"),
    PrimaryKeyConstraint("user_id", "persona_id"),
)

memories = Table(
    "memories", metadata, name(), _user(), _persona(), Column("call_id", Text), words("text"),
    count("importance"), written("created_at"), written("updated_at"), words("kind", default="fact"),
    words("subject"), Column("said_on", Date),
    Index("ix_memories_user_persona", "user_id", "persona_id"),
)  # fmt: skip

forgotten = Table(
    "forgotten", metadata, _user(), _persona(), Column("mark", Text, nullable=False), written(),
    PrimaryKeyConstraint("user_id", "persona_id", "mark"),
)  # fmt: skip

call_scenario_templates = Table(
    "call_scenario_templates",
    metadata,
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

# -- calls -----------------------------------------------------------------------------

scheduled_calls = Table(
    "scheduled_calls",
    metadata,
    name(),
    _user(),
    _persona(),
    Column("scenario_id", Text),
    words("context"),
    words("local_time"),
    words("timezone", default="UTC"),
    Column("rrule", Words),
    words("variables", default="{}"),
    Column("due_at", Moment, nullable=False),
    count("window_s", 300),
    words("status", default="pending"),
    count("claim_epoch"),
    Column("dial_id", Text, unique=True),
    written(),
    Column("max_minutes", BigInteger),
    words("skips"),
    words("tzdata"),
    count("retries", 1),
    count("retry_s", 300),
    # What is due: try `attempt` of the run at `occurrence_at`, missed after `late_at`; NULL says `due_at` is that run.
    count("attempt"),
    moment("occurrence_at"),
    moment("late_at"),
    Column("claimed_by", Text),
    moment("lease_until"),
    # Why it was paused, where its owner did not do it.
    words("reason"),
    Column("idem_key", Words),
    Column("idem_hash", Text),
    Index("ix_scheduled_calls_due", "status", "due_at"),
    Index("ix_scheduled_calls_user", "user_id", "created_at"),
    Index("uq_scheduled_calls_user_idem_key", "user_id", "idem_key", unique=True),
)

scheduled_dials = Table(
    "scheduled_dials",
    metadata,
    # Made of schedule, run and try; `calls.scheduled_call_id` holds it, so that no try ever makes two calls.
    name(),
    Column("schedule_id", Text, ForeignKey("scheduled_calls.id", ondelete="CASCADE"), nullable=False),
    Column("occurrence_at", Moment, nullable=False),
    count("attempt"),
    words("status", default="claimed"),
    count("epoch"),
    words("code"),
    words("detail"),
    Column("call_id", Text),
    written("claimed_at"),
    moment("concluded_at"),
    UniqueConstraint("schedule_id", "occurrence_at", "attempt", name="uq_scheduled_dials_try"),
    Index("ix_scheduled_dials_claimed", "claimed_at"),
    # The few of which something is still to come.
    Index(
        "ix_scheduled_dials_open", "status",
        sqlite_where=text("concluded_at IS NULL"), postgresql_where=text("concluded_at IS NULL"),
    ),
)  # fmt: skip

calls = Table(
    "calls",
    metadata,
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
    words("variables", default="{}"),
    count("max_minutes", 15),
    Column("twilio_call_sid", Text, key="sid", unique=True),
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
    moment("cleared_at"),
    Column("memory", Text),
    words("direction", default="outbound"),
    # Since when the carrier is asked to end it; NULL also where it did so at once.
    moment("given_up_at"),
    UniqueConstraint("user_id", "idem_key", name="uq_calls_user_idem_key"),
    check("channel IN ('phone', 'browser')", "calls_channel"),
    check("total_nano >= 0 AND settled_nano >= 0 AND last_seq >= 0", "calls_money"),
    Index("ix_calls_user_created", "user_id", "created_at", "id"),
    # The few calls that are still going on, for restarts and sweeps.
    Index(
        "ix_calls_open", "owner",
        sqlite_where=text("final_at IS NULL"), postgresql_where=text("final_at IS NULL"),
    ),
    # Those whose words are still kept.
    Index(
        "ix_calls_uncleared", "final_at",
        sqlite_where=text("cleared_at IS NULL"), postgresql_where=text("cleared_at IS NULL"),
    ),
)  # fmt: skip

call_turns = Table(
    "call_turns",
    metadata,
    _call(),
    Column("turn", BigInteger, nullable=False, key="index"),
    words("role", default="caller"),
    words("text"),
    count("started_ms"),
    count("ended_ms"),
    Column("interrupted", Boolean, nullable=False, server_default=false()),
    words("unheard"),
    # How fast a caller's turn was answered, from its last audible sample on.
    Column("end_of_turn_ms", BigInteger),
    Column("first_token_ms", BigInteger),
    Column("first_audio_ms", BigInteger),
    Column("first_frame_ms", BigInteger),
    Column("audible_ms", BigInteger),
    PrimaryKeyConstraint("call_id", "index"),
)

call_eager_replies = Table(
    "call_eager_replies", metadata, _call(), Column("reply", BigInteger, nullable=False),
    Column("committed", Boolean, nullable=False, server_default=false()), nanos("nano"),
    PrimaryKeyConstraint("call_id", "reply"),
)  # fmt: skip

stream_tokens = Table(
    "stream_tokens", metadata, name("token_hash"), _call(), Column("call_sid", Text, nullable=False),
    Column("expires_at", Moment, nullable=False), moment("spent_at"),
    # Of the browser's: the session that asked for it, which a live socket has to keep.
    Column("session_jti", Text), Column("session_version", BigInteger),
)  # fmt: skip

webhook_receipts = Table(
    "webhook_receipts", metadata, Column("key", Words, primary_key=True), written("received_at")
)

# -- money -----------------------------------------------------------------------------

pricing = Table(
    "pricing",
    metadata,
    Column("id", BIG_ID, primary_key=True, autoincrement=True),
    words("provider"),
    words("service", default=None),
    words("model", default=None),
    words("unit", default=None),
    Column("price_nano", BigInteger, nullable=False),
    count("block_units", 1),
    count("increment", 1),
    count("minimum"),
    words("price_list", default="list"),
    words("note"),
    words("source"),
    Column("seen_on", Date),
    Column("effective_from", Moment, nullable=False),
    moment("effective_to"),
    words("destination"),
    UniqueConstraint(
        "service", "model", "unit", "destination", "price_list", "effective_from", name="uq_pricing_line"
    ),
    check("price_nano >= 0 AND block_units > 0 AND increment > 0 AND minimum >= 0", "pricing_figures"),
    check("price_list IN ('list', 'free')", "pricing_list"),
)

user_credits = Table(
    "user_credits",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    nanos("balance_nano"),
    nanos("held_nano"),
    written("updated_at"),
    # The last guard: `storage.ledger` never asks for more than is free.
    check("held_nano >= 0 AND balance_nano >= held_nano", "user_credits_money"),
)

credit_transactions = Table(
    "credit_transactions",
    metadata,
    Column("id", BIG_ID, primary_key=True, autoincrement=True),
    _user(),
    Column("call_id", Text),
    words("kind", default=None),
    Column("amount_nano", BigInteger, nullable=False),
    Column("balance_after_nano", BigInteger, nullable=False),
    words("idem_key", default=None),
    words("note"),
    written(),
    UniqueConstraint("idem_key", name="uq_credit_transactions_idem_key"),
    check("balance_after_nano >= 0", "credit_transactions_money"),
    Index("ix_credit_transactions_user", "user_id", "id"),
    Index("ix_credit_transactions_call", "call_id"),
)

user_budget_settings = Table(
    "user_budget_settings",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("per_call_nano", BigInteger),
    Column("daily_nano", BigInteger),
    Column("monthly_nano", BigInteger),
    count("warn_percent", 80),
    Column("auto_cutoff", Boolean, nullable=False, server_default=true()),
    written("updated_at"),
    check("per_call_nano >= 0 AND daily_nano >= 0 AND monthly_nano >= 0", "user_budget_settings_money"),
    check("warn_percent BETWEEN 1 AND 100", "user_budget_settings_warn"),
)

budget_periods = Table(
    "budget_periods",
    metadata,
    _user(),
    Column("key", Text, nullable=False),
    Column("limit_nano", BigInteger),
    nanos("spent_nano"),
    nanos("held_nano"),
    moment("closed_at"),
    words("zones"),
    PrimaryKeyConstraint("user_id", "key"),
    check("spent_nano >= 0 AND held_nano >= 0", "budget_periods_money"),
    check("spent_nano + held_nano <= limit_nano", "budget_periods_limit"),
)

credit_holds = Table(
    "credit_holds",
    metadata,
    # Checked at commit: a call and its hold are written in one transaction, in either order.
    Column(
        "call_id",
        Text,
        ForeignKey("calls.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
        primary_key=True,
    ),
    _user(),
    count("epoch", 1),
    nanos("amount_nano"),
    nanos("used_nano"),
    words("status", default="open"),
    written("opened_at"),
    moment("closed_at"),
    words("timezone"),
    check("used_nano >= 0 AND amount_nano >= used_nano", "credit_holds_money"),
    check("status IN ('open', 'closed')", "credit_holds_status"),
    Index("ix_credit_holds_user", "user_id", "status"),
)  # fmt: skip

hold_periods = Table(
    "hold_periods",
    metadata,
    Column(
        "call_id", Text, ForeignKey("credit_holds.call_id", ondelete="CASCADE"), nullable=False
    ),
    _user(),
    Column("key", Text, nullable=False),
    nanos("held_nano"),
    nanos("spent_nano"),
    PrimaryKeyConstraint("call_id", "key"),
    check("held_nano >= 0 AND spent_nano >= 0", "hold_periods_money"),
    Index("ix_hold_periods_period", "user_id", "key"),
)  # fmt: skip

call_cost_breakdowns = Table(
    "call_cost_breakdowns",
    metadata,
    _call(),
    Column("line", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("unit", Text, nullable=False),
    count("quantity"),
    nanos("amount_nano"),
    count("as_of_second"),
    PrimaryKeyConstraint("call_id", "line"),
    # Not of the amount: a refund is first offered as a row of its own, and that is negative.
    check("quantity >= 0", "call_cost_breakdowns_quantity"),
)

call_cost_events = Table(
    "call_cost_events",
    metadata,
    _call(),
    Column("line", Text, nullable=False),
    Column("from_qty", BigInteger, nullable=False),
    Column("to_qty", BigInteger, nullable=False),
    Column("nano", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    count("second"),
    written("at"),
    Column("node", Text, nullable=False, server_default=text("''")),
    Column("status", Text, nullable=False, server_default=text("'confirmed'")),
    # A refund ends where a bought tile begins, so the status belongs to the key.
    PrimaryKeyConstraint("call_id", "line", "from_qty", "status"),
    UniqueConstraint("call_id", "seq", name="uq_call_cost_events_seq"),
    check("status IN ('confirmed', 'unconfirmed', 'adjust')", "call_cost_events_status"),
)

operator_losses = Table(
    "operator_losses", metadata, Column("id", BIG_ID, primary_key=True, autoincrement=True),
    Column("call_id", Text, nullable=False), words("reason"),
    Column("amount_nano", BigInteger, nullable=False), written(),
    UniqueConstraint("call_id", "reason", name="uq_operator_losses_call_reason"),
)  # fmt: skip

# -- credit packs ----------------------------------------------------------------------

purchases = Table(
    "purchases",
    metadata,
    name(),
    _user(),
    words("pack", default=None),
    Column("amount_cents", BigInteger, nullable=False),
    words("currency", default="usd"),
    Column("livemode", Boolean, nullable=False, server_default=false()),
    words("status", default="open"),
    Column("idem_key", Text),
    Column("session_id", Text),
    Column("checkout_url", Text),
    Column("payment_intent", Text),
    count("reversed_cents"),
    nanos("taken_nano"),
    nanos("lost_nano"),
    count("takebacks"),
    written("created_at"),
    written("updated_at"),
    moment("paid_at"),
    UniqueConstraint("user_id", "idem_key", name="uq_purchases_idem_key"),
    UniqueConstraint("session_id", name="uq_purchases_session"),
    UniqueConstraint("payment_intent", name="uq_purchases_payment_intent"),
    check("status IN ('open', 'expired', 'failed', 'paid', 'refunded')", "purchases_status"),
    check("amount_cents > 0 AND reversed_cents BETWEEN 0 AND amount_cents", "purchases_cents"),
    check("taken_nano >= 0 AND lost_nano >= 0", "purchases_money"),
    # One cent is ten million nanodollars: what was taken back is the user's and the operator's, to the nano.
    check("taken_nano + lost_nano = reversed_cents * 10000000", "purchases_reversed"),
    Index("ix_purchases_user", "user_id", "created_at"),
    Index("ix_purchases_status", "status", "created_at"),
)

payment_reversals = Table(
    "payment_reversals",
    metadata,
    name(),
    Column("payment_intent", Text, nullable=False),
    words("kind", default=None),
    count("cents"),
    words("status", default="standing"),
    written("created_at"),
    written("updated_at"),
    # Of a single refund its charge, and since when it has failed; NULL in the row of a charge's total, of a dispute.
    # Its status is `won` whether it stands or not: a version before it knew single refunds takes back whatever is
    # `standing`, and so would take the same money twice while it runs beside this one.
    Column("charge", Text),
    moment("failed_at"),
    check("kind IN ('refund', 'dispute')", "payment_reversals_kind"),
    check("status IN ('standing', 'won')", "payment_reversals_status"),
    check("cents >= 0", "payment_reversals_cents"),
    Index("ix_payment_reversals_payment_intent", "payment_intent"),
)

# What is left of an account that was deleted: sums, and nobody's name.
closed_accounts = Table(
    "closed_accounts", metadata, Column("id", BIG_ID, primary_key=True, autoincrement=True), count("calls"),
    nanos("usage_nano"), nanos("losses_nano"), Column("granted_nano", BigInteger, nullable=False),
    Column("forfeited_nano", BigInteger, nullable=False), written("closed_at"),
    check("granted_nano = usage_nano + forfeited_nano", "closed_accounts_money"),
)  # fmt: skip

# -- operation -------------------------------------------------------------------------

nodes = Table(
    "nodes", metadata, name("boot_id"), written("started_at"), written("heartbeat_at"), words("version"),
    words("url"), Column("draining", Boolean, nullable=False, server_default=false()), words("engines"),
)  # fmt: skip

# What nodes leave for one another: for the conductor of a call, and what a notification is too small for.
call_messages = Table(
    "call_messages", metadata, Column("id", BIG_ID, primary_key=True, autoincrement=True), _call(),
    words("kind", default=None), words("payload", default="{}"), written(),
    Index("ix_call_messages_call", "call_id", "id"),
)  # fmt: skip

erased_calls = Table("erased_calls", metadata, name("call_id"), written("erased_at"))

bus_parcels = Table("bus_parcels", metadata, name(), words("body", default=None), written())

jobs = Table(
    "jobs", metadata, name(), words("kind", default=None), words("payload", default="{}"),
    Column("due_at", Moment, nullable=False), words("status", default="pending"), count("attempts"),
    Column("claimed_by", Text), moment("claimed_at"), written(), moment("lease_until"), words("error"),
    moment("finished_at"), Index("ix_jobs_due", "status", "due_at"),
)  # fmt: skip

audit_log = Table(
    "audit_log", metadata, Column("id", BIG_ID, primary_key=True, autoincrement=True), words("actor"),
    words("action", default=None), words("subject"), words("detail"), written(),
)  # fmt: skip
