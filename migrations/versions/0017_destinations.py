"""What the carrier asks for a minute depends on where it rings; nodes say how their engines are"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Date, MetaData, Table, UniqueConstraint, text

from storage.columns import BIG_ID, Moment, check, count, moment, words

revision = "0017"
down_revision = "0016"

LINE = ("service", "model", "unit", "price_list", "effective_from")


def upgrade() -> None:
    op.add_column("nodes", words("engines"))
    _add_destination()
    # The one price that is seeded is that of calls to the United States. Where an operator has written prices of their
    # own beside it, which country those are for is theirs to say: they go on holding for all.
    op.execute(
        text(
            "UPDATE pricing SET destination = 'US' WHERE service = 'carrier' AND model = 'twilio'"
            " AND NOT EXISTS (SELECT 1 FROM pricing other WHERE other.service = 'carrier'"
            " AND other.model = 'twilio' AND other.id <> pricing.id)"
        )
    )


def _add_destination() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("pricing", words("destination"))
        op.drop_constraint("uq_pricing_line", "pricing")
        op.create_unique_constraint("uq_pricing_line", "pricing", [*LINE[:3], "destination", *LINE[3:]])
        return
    # SQLite changes no constraint of a table that is there, so it is written anew; nothing refers to it.
    with op.batch_alter_table("pricing", copy_from=_before(), recreate="always") as pricing:
        pricing.add_column(words("destination"))
        pricing.drop_constraint("uq_pricing_line")
        pricing.create_unique_constraint("uq_pricing_line", [*LINE[:3], "destination", *LINE[3:]])


def _before() -> Table:
    """As 0002 made it. SQLite tells nobody the checks of a table, so they are said again."""
    return Table(
        "pricing",
        MetaData(),
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
        UniqueConstraint(*LINE, name="uq_pricing_line"),
        check("price_nano >= 0 AND block_units > 0 AND increment > 0 AND minimum >= 0", "pricing_figures"),
        check("price_list IN ('list', 'free')", "pricing_list"),
    )
