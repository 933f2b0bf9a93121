"""The first price list: list prices in US dollars as they were seen up to late 2026.

Figures are nanodollars for a block of units. `seen_on` dates the page or record in which a figure was found; where
sources disagree the note says so. They hold from a date before any call, since nothing was billed under older ones.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from alembic import op
from sqlalchemy import BigInteger, Date, Text, column, table

from storage.columns import Moment

revision = "0003"
down_revision = "0002"

ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)
NOVEMBER = date(2026, 11, 22)
MINUTE, THOUSAND, MILLION = 60, 1_000, 1_000_000

MAP = "price map of LiteLLM 1.109.1, which names the vendor's page"
NOTES = "a project's cost note of 2026"
DISPUTED = "sources disagree between 0.04 and 0.06 (flash) and 0.08 and 0.12 (multilingual)"
AS_INPUT = "no price for cached input is listed: billed as input"

Row = dict[str, object]

PRICING = table(
    "pricing",
    column("provider", Text),
    column("service", Text),
    column("model", Text),
    column("unit", Text),
    column("price_nano", BigInteger),
    column("block_units", BigInteger),
    column("increment", BigInteger),
    column("price_list", Text),
    column("note", Text),
    column("source", Text),
    column("seen_on", Date),
    column("effective_from", Moment),
)


def upgrade() -> None:
    op.bulk_insert(PRICING, [*_telephone(), *_speech_to_text(), *_text_to_speech(), *_models(), *_local()])


def _row(
    provider: str,
    service: str,
    model: str,
    unit: str,
    price_nano: int,
    block_units: int,
    source: str,
    *,
    seen: date | None = NOVEMBER,
    increment: int = 1,
    price_list: str = "list",
    note: str = "",
) -> Row:
    return {
        "provider": provider, "service": service, "model": model, "unit": unit, "price_nano": price_nano,
        "block_units": block_units, "increment": increment, "price_list": price_list, "note": note,
        "source": source, "seen_on": seen, "effective_from": ALWAYS,
    }  # fmt: skip


def _telephone() -> list[Row]:
    started = "each started minute"
    return [
        _row(
            "twilio", "carrier", "twilio", "second", 14_000_000, MINUTE, NOTES, increment=60,
            note=f"US outbound, {started}",
        ),
        _row("twilio", "stream", "twilio-media", "second", 4_000_000, MINUTE, NOTES, increment=60, note=started),
        _row("twilio", "amd", "twilio", "call", 7_500_000, 1, NOTES),
        _row(
            "twilio", "sms", "twilio", "segment", 8_300_000, 1, "twilio.com/en-us/sms/pricing/us, quoted 2026-11-12",
            seen=date(2026, 11, 12), note="US outbound, without the carrier fee of 0.0025 to 0.0062",
        ),
        _row(
            "twilio", "verify", "twilio", "verification", 50_000_000, 1, NOTES,
            note="a successful one, without the channel's fee",
        ),
    ]  # fmt: skip


def _speech_to_text() -> list[Row]:
    def minute(model: str, price_nano: int, source: str, seen: date) -> Row:
        return _row("deepgram", "stt", model, "second", price_nano, MINUTE, source, seen=seen)

    flux = "llmreference.com"
    return [
        minute("flux-general-en", 6_500_000, flux, date(2026, 4, 1)),
        minute("flux-general-multi", 7_800_000, flux, date(2026, 4, 1)),
        minute("nova-3", 4_800_000, MAP, NOVEMBER),
        minute("nova-3-multi", 5_800_000, MAP, NOVEMBER),
        minute("nova-2", 5_900_000, "documents of the original app", date(2025, 11, 21)),
    ]


def _text_to_speech() -> list[Row]:
    def thousand(provider: str, model: str, price_nano: int, note: str = "", seen: date = NOVEMBER) -> Row:
        source = MAP if provider != "cartesia" else "apio.sh, toolcolumn.com quoting cartesia.ai/pricing"
        return _row(provider, "tts", model, "char", price_nano, THOUSAND, source, seen=seen, note=note)

    seconds = "other pages bill 15 credits a second of audio"
    return [
        thousand("elevenlabs", "eleven_flash_v2_5", 40_000_000, DISPUTED),
        thousand("elevenlabs", "eleven_turbo_v2_5", 40_000_000, DISPUTED),
        thousand("elevenlabs", "eleven_flash_v2", 40_000_000, DISPUTED),
        thousand("elevenlabs", "eleven_multilingual_v2", 80_000_000, DISPUTED),
        thousand("elevenlabs", "eleven_v3", 80_000_000, DISPUTED),
        thousand("deepgram", "aura-2", 30_000_000),
        thousand("deepgram", "aura-1", 15_000_000),
        thousand("cartesia", "sonic-3", 50_000_000, seconds, date(2026, 6, 1)),
    ]


def _tokens(
    provider: str,
    model: str,
    prices: tuple[int, int | None, int],
    *,
    source: str = MAP,
    price_list: str = "list",
    note: str = "",
) -> list[Row]:
    """Input, cached input and output in nanodollars a million."""
    given, cached, written = prices
    seen = None if price_list == "free" else NOVEMBER
    lines = (
        ("token_in", given),
        ("token_cached", given if cached is None else cached),
        ("token_out", written),
    )
    return [
        _row(
            provider, "llm", model, unit, price, MILLION, source, seen=seen, price_list=price_list,
            note=AS_INPUT if unit == "token_cached" and cached is None and not note else note,
        )
        for unit, price in lines
    ]  # fmt: skip


def _models() -> list[Row]:
    hosted: list[tuple[str, str, tuple[int, int | None, int]]] = [
        ("cerebras", "gpt-oss-120b", (350_000_000, None, 750_000_000)),
        ("cerebras", "gemma-4-31b", (990_000_000, None, 1_490_000_000)),
        ("cerebras", "qwen-3.8-27b", (990_000_000, None, 1_490_000_000)),
        ("groq", "openai/gpt-oss-120b", (150_000_000, 75_000_000, 600_000_000)),
        ("groq", "openai/gpt-oss-20b", (75_000_000, 37_500_000, 300_000_000)),
        ("groq", "qwen/qwen3.8-27b", (800_000_000, None, 4_000_000_000)),
        ("openai", "gpt-4o-mini", (150_000_000, 75_000_000, 600_000_000)),
        ("openai", "gpt-4.1-mini", (400_000_000, 100_000_000, 1_600_000_000)),
        ("openai", "gpt-4.1-nano", (100_000_000, 25_000_000, 400_000_000)),
        ("openai", "gpt-5-mini", (250_000_000, 25_000_000, 2_000_000_000)),
        ("openai", "gpt-5-nano", (50_000_000, 5_000_000, 400_000_000)),
        ("openai", "gpt-5.4-mini", (750_000_000, 75_000_000, 4_500_000_000)),
        ("openai", "gpt-5.4-nano", (200_000_000, 20_000_000, 1_250_000_000)),
    ]
    return [row for provider, model, prices in hosted for row in _tokens(provider, model, prices)]


def _local() -> list[Row]:
    """Engines without a vendor: at the list price of the one they stand for, or free."""
    rows: list[Row] = []
    for model in ("whisper-tiny.en", "scripted"):
        rows += _stands_for(
            "stt", model, "second", 6_500_000, MINUTE, "Deepgram Flux English", "llmreference.com"
        )
    for model in ("hibari", "scripted"):
        rows += _stands_for("tts", model, "char", 15_000_000, THOUSAND, "Deepgram Aura-1", MAP)
    for model in ("companion", "smollm2", "scripted"):
        note = "list price of Cerebras gpt-oss-120b"
        rows += _tokens("local", model, (350_000_000, 350_000_000, 750_000_000), note=note)
        rows += _tokens("local", model, (0, 0, 0), source="this machine", price_list="free")
    return rows


def _stands_for(
    service: str, model: str, unit: str, price_nano: int, block: int, whose: str, source: str
) -> list[Row]:
    return [
        _row("local", service, model, unit, price_nano, block, source, note=f"list price of {whose}"),
        _row("local", service, model, unit, 0, block, "this machine", seen=None, price_list="free"),
    ]
