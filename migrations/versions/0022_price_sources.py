"""Where a seeded price is from is said by the vendor's own page; what no vendor's page says is called an estimate"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

PRICING = sa.table(
    "pricing", *(sa.column(name, sa.Text) for name in ("provider", "service", "source", "note"))
)
SEEDED = (
    "price map of LiteLLM 1.109.1, which names the vendor's page",
    "a project's cost note of 2026",
    "twilio.com/en-us/sms/pricing/us, quoted 2026-11-12",
    "llmreference.com",
    "documents of the original app",
    "documents of the original app; an old support article of the carrier's",
    "apio.sh, toolcolumn.com quoting cartesia.ai/pricing",
)
"""What an operator wrote there is theirs, and is left."""
PAGES = {
    ("twilio", "sms"): "https://www.twilio.com/en-us/sms/pricing/us",
    ("twilio", "verify"): "https://www.twilio.com/en-us/verify/pricing",
    ("twilio", "carrier"): "https://www.twilio.com/en-us/voice/pricing/us",
    ("deepgram", ""): "https://deepgram.com/pricing",
    ("elevenlabs", ""): "https://elevenlabs.io/pricing/api",
    ("cartesia", ""): "https://cartesia.ai/pricing",
    ("cerebras", ""): "https://cerebras.ai/pricing",
    ("groq", ""): "https://groq.com/pricing",
    ("openai", ""): "https://openai.com/api/pricing",
}
STANDS_FOR = {"Deepgram": "https://deepgram.com/pricing", "Cerebras": "https://cerebras.ai/pricing"}
"""Whose list price a local engine is billed at, as its note says."""


def upgrade() -> None:
    seeded = PRICING.c.source.in_(SEEDED)
    for (provider, service), page in PAGES.items():
        mine = sa.and_(PRICING.c.provider == provider, seeded)
        if service:
            mine = sa.and_(mine, PRICING.c.service == service)
        op.execute(PRICING.update().where(mine).values(source=page))
    for vendor, page in STANDS_FOR.items():
        billed_as = PRICING.c.note.like(f"list price of {vendor}%")
        op.execute(PRICING.update().where(billed_as, seeded).values(source=page))
    op.execute(PRICING.update().where(seeded).values(source="estimate"))
