"""The price list the database comes with, against sums done by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pipeline.core.money import Nanos
from pipeline.core.tariff import cost
from storage import pricing
from storage.db import Database, Tx
from storage.pricing import Rate
from tests.storage.world import NOON, later

# Five minutes, 2,000 characters, 40,000 tokens in and 1,500 out: list prices, multiplied with paper and pencil.
FIVE_MINUTES = {
    "carrier:twilio:second": (300, 70_000_000),
    "stream:twilio-media:second": (300, 20_000_000),
    "amd:twilio:call": (1, 7_500_000),
    "stt:flux-general-en:second": (300, 32_500_000),
    "tts:eleven_flash_v2_5:char": (2_000, 80_000_000),
    "llm:gpt-oss-120b:token_in": (40_000, 14_000_000),
    "llm:gpt-oss-120b:token_out": (1_500, 1_125_000),
}


async def test_a_five_minute_call_costs_what_the_sheet_says(database: Database) -> None:
    async with database.read() as tx:
        book = {row.price.line: row.price for row in await pricing.current(tx, NOON)}
    costs = {line: cost(book[line], quantity) for line, (quantity, _) in FIVE_MINUTES.items()}
    assert costs == {line: nano for line, (_, nano) in FIVE_MINUTES.items()}
    assert sum(costs.values()) == 225_125_000
    # One second more starts a sixth minute of carrier and stream.
    assert (
        cost(book["carrier:twilio:second"], 301) + cost(book["stream:twilio-media:second"], 301)
        == 108_000_000
    )


async def test_every_price_says_where_it_was_seen(database: Database) -> None:
    async with database.read() as tx:
        listed = await pricing.current(tx, NOON)
    assert len({row.price.line for row in listed}) == len(listed) > 50
    for row in listed:
        assert row.source
        assert row.seen_on is not None
        assert row.price.price_nano > 0
        assert row.price.increment == (60 if row.price.service in {"carrier", "stream"} else 1)


async def test_local_engines_cost_the_list_price_they_stand_for_or_nothing(database: Database) -> None:
    async with database.read() as tx:
        dear = {row.price.line: row.price for row in await pricing.current(tx, NOON, "list")}
        free = {row.price.line: row.price for row in await pricing.current(tx, NOON, "free")}
    assert dear.keys() == free.keys()
    gone = {line for line in dear if free[line].price_nano != dear[line].price_nano}
    tokens = ("token_in", "token_cached", "token_out")
    assert gone == {
        *(f"stt:{model}:second" for model in ("whisper-tiny.en", "scripted")),
        *(f"tts:{model}:char" for model in ("hibari", "scripted")),
        *(f"llm:{model}:{unit}" for model in ("companion", "smollm2", "scripted") for unit in tokens),
    }
    assert {free[line].price_nano for line in gone} == {0}
    assert {dear[line].note.split(" of ")[0] for line in gone} == {"list price"}
    assert cost(dear["stt:whisper-tiny.en:second"], 60) == 6_500_000
    assert cost(dear["tts:hibari:char"], 1_000) == 15_000_000
    assert [cost(dear[f"llm:companion:{unit}"], 1_000_000) for unit in tokens] == [
        350_000_000,
        350_000_000,
        750_000_000,
    ]


async def test_a_new_price_is_a_new_row_and_old_calls_keep_theirs(database: Database) -> None:
    line = "stt:nova-2:second"
    async with database.write() as tx:
        old = {row.price.line: row.price for row in await pricing.current(tx, NOON)}[line]
        await tx.execute(
            text(
                "INSERT INTO pricing (service, model, unit, price_nano, block_units, effective_from)"
                " VALUES ('stt', 'nova-2', 'second', 1, 60, '2026-12-01 00:00:00')"
            )
        )
        assert {row.price.line: row.price for row in await pricing.current(tx, NOON)}[line] == old
        winter = await pricing.current(tx, datetime(2026, 12, 2, tzinfo=UTC))
        assert {row.price.line: row.price for row in winter}[line].price_nano == 1
        assert [row.price for row in await pricing.by_ids(tx, [old.price_id])] == [old]
        assert await pricing.by_ids(tx, []) == []
        await tx.execute(
            text("UPDATE pricing SET effective_to = '2026-11-23 17:00:01' WHERE id = :id"),
            {"id": old.price_id},
        )
        assert line in {row.price.line for row in await pricing.current(tx, NOON)}
        assert line not in {row.price.line for row in await pricing.current(tx, later(1))}


async def test_the_carriers_prices_by_destination(database: Database) -> None:
    async def carried(tx: Tx) -> dict[str, int]:
        rows = await pricing.current(tx, later(60))
        return {
            row.destination: row.price.price_nano for row in rows if row.price.line == "carrier:twilio:second"
        }

    britain = Rate("GB", Nanos(20_000_000), "contract", NOON.date(), "mobile")
    london = Rate("+4420", Nanos(10_000_000), "contract", NOON.date())
    async with database.write() as tx:
        assert await carried(tx) == {"US": 14_000_000}
        assert await pricing.set_rates(tx, "twilio", [britain, london], later(1)) == 2
        assert await pricing.set_rates(tx, "twilio", [britain, london], later(2)) == 0, (
            "they stand so already"
        )
        dearer = replace(britain, price_nano=Nanos(30_000_000))
        assert await pricing.set_rates(tx, "twilio", [dearer, london], later(3)) == 1
        assert await carried(tx) == {"US": 14_000_000, "GB": 30_000_000, "+4420": 10_000_000}
        rows = [row for row in await pricing.current(tx, later(2)) if row.destination == "GB"]
        assert [(row.price.price_nano, row.price.increment, row.source, row.price.note) for row in rows] == [
            (20_000_000, 60, "contract", "mobile")
        ]


@pytest.mark.parametrize(
    "wrong", ["-1, 60, 60, 'list'", "1, 0, 60, 'list'", "1, 60, 0, 'list'", "1, 60, 60, 'other'"]
)
async def test_a_price_that_makes_no_sense_is_refused(database: Database, wrong: str) -> None:
    """By the table itself, also where a migration has written it anew."""
    insert = (
        "INSERT INTO pricing (service, model, unit, effective_from, price_nano, block_units, increment, price_list)"
        " VALUES ('carrier', 'twilio', 'second', '2026-12-01 00:00:00', {})"
    )
    with pytest.raises(IntegrityError):
        async with database.write() as tx:
            await tx.execute(text(insert.format(wrong)))
    async with database.write() as tx:
        await tx.execute(text(insert.format("1, 60, 60, 'list'")))
    with pytest.raises(IntegrityError):
        async with database.write() as tx:
            await tx.execute(text(insert.format("2, 60, 60, 'list'")))


@pytest.mark.parametrize("service", ["sms", "verify"])
async def test_what_no_call_buys_is_in_no_price_book(database: Database, service: str) -> None:
    async with database.read() as tx:
        found = (
            (await tx.execute(text("SELECT id FROM pricing WHERE service = :s"), {"s": service}))
            .scalars()
            .all()
        )
        assert len(found) == 1
        assert await pricing.by_ids(tx, found) == []
        assert service not in {row.price.service for row in await pricing.current(tx, NOON)}
