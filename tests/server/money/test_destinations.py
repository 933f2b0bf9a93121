"""A minute costs what its destination costs: the price that fits best holds, and a number without one is not rung."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline.core.money import Nanos, parse_usd
from pipeline.core.tariff import Price
from server.calls.live import open_desk
from server.money.destinations import BadSheet, for_number, read, without_price
from storage import pricing
from storage.pricing import Rate
from storage.records import PriceRow
from tests.server.rig import RecordingCarrier, Rig, running, settings
from tests.server.test_placing import SCRIPTED, grant

NOW, TODAY = datetime(2026, 11, 23, tzinfo=UTC), date(2026, 11, 23)
LONDON, MANCHESTER, JERSEY = "+442079460000", "+441619460000", "+441534460000"
STREAM = PriceRow(Price(9, "stream", "twilio-media", "second", 4, 60, 60), "", "list", "", None, NOW, None)


def rate(price_id: int, destination: str) -> PriceRow:
    price = Price(price_id, "carrier", "twilio", "second", price_id * 10**7, 60, 60)
    return replace(STREAM, price=price, destination=destination)


@pytest.mark.parametrize(
    ("e164", "region", "holds"),
    [
        (LONDON, "GB", 3),
        (MANCHESTER, "GB", 2),
        ("+442012345678", "GB", 4),
        (JERSEY, "JE", 1),
        ("+12025550142", "US", 1),
    ],
)
def test_the_longest_prefix_goes_before_the_country_and_that_before_the_rest(
    e164: str, region: str, holds: int
) -> None:
    rows = [rate(1, ""), rate(4, "+4420"), rate(2, "GB"), rate(3, "+44207"), STREAM]
    for order in (rows, rows[::-1]):
        found = {row.price.service: row.price.price_id for row in for_number(order, e164, region)}
        assert found == {"carrier": holds, "stream": 9}


def test_where_nothing_fits_there_is_no_price() -> None:
    assert for_number([rate(1, "US"), rate(2, "+4420"), STREAM], JERSEY, "JE") == [STREAM]
    assert for_number([rate(1, "US")], "+12025550142", "") == []


@given(st.permutations(["", "US", "+1", "+1202", "+120255", "+1202555"]), st.integers(0, 5))
def test_it_does_not_matter_how_the_list_is_ordered(order: list[str], left: int) -> None:
    rows = [rate(number + 1, where) for number, where in enumerate(order[: left + 1])]
    (found,) = for_number(rows, "+12025550142", "US")
    assert len(found.destination) >= max((len(row.destination) for row in rows), default=0) or (
        found.destination.startswith("+1")
    )


def test_countries_without_any_price() -> None:
    rows = [rate(1, "US"), rate(2, "+4420"), rate(3, "+4"), STREAM]
    assert without_price(rows, ["US", "GB", "DE", "FR"]) == ["FR"], "+4 holds for Germany too"
    assert without_price([rate(1, "")], ["US", "GB"]) == []
    assert without_price([STREAM], ["US"]) == ["US"]


def sheet(folder: Path, words: str) -> Path:
    file = folder / "sheet.csv"
    file.write_text(words, encoding="utf-8")
    return file


def test_a_sheet_is_read_with_what_it_leaves_out(tmp_path: Path) -> None:
    found = read(
        sheet(
            tmp_path,
            "\ufeffdestination,usd_per_minute,seen_on,note\nGB, 0.0123 ,2026-10-01,mobile\n+4420,0.01,,\n",
        ),
        TODAY,
    )
    assert found == [
        Rate("GB", Nanos(12_300_000), "sheet.csv", date(2026, 10, 1), "mobile"),
        Rate("+4420", Nanos(10_000_000), "sheet.csv", TODAY),
    ]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("destination,price\nGB,1\n", ["the first line names no column usd_per_minute"]),
        ("", ["the first line names no column destination, usd_per_minute"]),
        ("destination,usd_per_minute\n", ["there is no price in it"]),
        ("destination,usd_per_minute,colour\nGB,1,red\n", ["colour is no column; there are destination, "]),
        (
            "destination,usd_per_minute\nGreat Britain,0.01\nGB,-1\nGB\n",
            [
                "line 2: destination: is a country of two",
                "line 3: usd_per_minute: an amount",
                "line 4: usd_per_minute",
            ],
        ),
        ("destination,usd_per_minute\nGB,1\nGB,2\n", ["GB is there twice"]),
        ("destination,usd_per_minute,seen_on\nGB,1,yesterday\n", ["line 2: seen_on: "]),
        ("destination,usd_per_minute\nGB,1,2,3\n", ["line 2: has more columns than names"]),
    ],
)
def test_what_is_wrong_with_a_sheet_is_said_line_by_line(
    tmp_path: Path, words: str, wrong: list[str]
) -> None:
    with pytest.raises(BadSheet) as bad:
        read(sheet(tmp_path, words), TODAY)
    assert len(bad.value.problems) == len(wrong)
    for said, part in zip(bad.value.problems, wrong, strict=True):
        assert said.startswith(part)


async def price(rig: Rig, destination: str, usd: str) -> None:
    async with rig.parts.database.write() as tx:
        given = [Rate(destination, parse_usd(usd), "contract", TODAY)]
        assert await pricing.set_rates(tx, "twilio", given, rig.clock.utc()) == 1


async def test_a_number_abroad_is_rung_once_it_has_a_price_and_at_that_price(tmp_path: Path) -> None:
    carrier = RecordingCarrier()
    given = settings(tmp_path, **SCRIPTED, operator_country=("US", "GB"))
    async with running(given, open_desk, carrier) as rig:
        ann = await rig.register()
        await ann.verify_phone("+447400123456")
        await grant(rig, ann, parse_usd("5"))
        for answer in (
            await ann.post("/api/calls", {"persona_id": "brad"}),
            await ann.get("/api/estimate?minutes=1"),
        ):
            assert (answer.status_code, answer.json()["reason"]) == (403, "unpriced")
        assert (await ann.post("/api/calls", {"persona_id": "brad", "channel": "browser"})).status_code == 202

        await price(rig, "GB", "0.06")
        refused = await ann.post("/api/calls", {"persona_id": "brad"})
        assert (refused.status_code, refused.json()["reason"]) == (403, "too_dear")
        await price(rig, "+4474", "0.03")
        lines = {
            line["service"]: line["usd"]
            for line in (await ann.get("/api/estimate?minutes=2")).json()["lines"]
        }
        assert lines["carrier"] == "0.06"
        placed = await ann.post("/api/calls", {"persona_id": "brad"})
        assert placed.status_code == 202, placed.text

        query = "SELECT destination, price_nano FROM pricing WHERE service = 'carrier' AND id IN (%s)"
        async with rig.parts.database.read() as tx:
            pinned = (
                await tx.execute(text("SELECT price_ids FROM calls WHERE channel = 'phone'"))
            ).scalar_one()
            found = (await tx.execute(text(query % pinned.strip("[]")))).all()
        assert found == [("+4474", 30_000_000)]
        listed = (await ann.get("/api/prices")).json()["items"]
        abroad = {
            row["destination"] for row in listed if row["model"] == "twilio" and row["unit"] == "second"
        }
        assert abroad == {"US", "GB", "+4474"}
