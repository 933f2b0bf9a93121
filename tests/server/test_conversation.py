"""What users see of a conversation: how fast it was, what early replies cost, and that nobody rings who must not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from pipeline.core.effects import EagerSettled, OptedOut, TurnTimed
from pipeline.core.money import Millis, Nanos, parse_usd
from server.calls.live import open_desk
from server.routes.calls import percentile
from storage import notes, pricing
from tests.server.rig import PHONE, Person, Rig, running, settings
from tests.server.test_calls import stored_call
from tests.server.test_placing import SCRIPTED, grant, ringing


@pytest.fixture
async def ann(rig: Rig) -> Person:
    return await rig.register()


async def test_how_fast_turns_were_answered_is_shown(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    timed = TurnTimed(1, Millis(1_500), 250, 450, 570, 571, 590, eager=True)
    async with rig.parts.database.write() as tx:
        await notes.write(tx, call.id, [timed], rig.clock.utc())
    shown = (await ann.get(f"/api/calls/{call.id}")).json()
    assert shown["latency"] == {"turns": 1, "p50_ms": 590, "p95_ms": 590}
    greeted, said = (await ann.get(f"/api/calls/{call.id}/transcript")).json()["items"]
    assert greeted["latency"] is None
    assert said["latency"] == {
        "end_of_turn_ms": 250,
        "first_token_ms": 450,
        "first_audio_ms": 570,
        "first_frame_ms": 571,
        "audible_ms": 590,
    }


async def test_how_fast_each_call_was_stands_in_the_history(rig: Rig, ann: Person) -> None:
    earlier, unanswered, later = [await stored_call(rig, ann, minutes_ago=ago) for ago in (30, 20, 10)]
    async with rig.parts.database.write() as tx:
        for call, waits in ((earlier, (590, 910)), (later, (480,))):
            for index, ms in enumerate(waits):
                timed = TurnTimed(index, Millis(1_500), 250, 450, 470, 471, ms, eager=True)
                await notes.write(tx, call.id, [timed], rig.clock.utc())
    first, second, third = (await ann.get("/api/calls")).json()["items"]
    assert [each["id"] for each in (first, second, third)] == [later.id, unanswered.id, earlier.id]
    assert first["latency"] == {"turns": 1, "p50_ms": 480, "p95_ms": 480}
    assert second["latency"] is None
    assert third["latency"] == {"turns": 2, "p50_ms": 590, "p95_ms": 910}
    for each in (first, second, third):
        assert (await ann.get(f"/api/calls/{each['id']}")).json()["latency"] == each["latency"]


async def test_what_replies_begun_early_cost_is_shown(rig: Rig, ann: Person) -> None:
    call = await stored_call(rig, ann)
    async with rig.parts.database.write() as tx:
        told = [
            EagerSettled(1, True, Nanos(700)),
            EagerSettled(2, False, Nanos(500)),
            EagerSettled(3, False, Nanos(1)),
        ]
        await notes.write(tx, call.id, told, rig.clock.utc())
    shown = (await ann.get(f"/api/calls/{call.id}")).json()
    assert shown["eager"] == {"begun": 3, "used": 1, "dropped_usd": "0.000000501"}


@pytest.mark.parametrize(
    ("values", "p50", "p95"), [([7], 7, 7), ([1, 2], 1, 2), (list(range(1, 101)), 50, 95), ([5, 1, 9], 5, 9)]
)
def test_percentiles(values: list[int], p50: int, p95: int) -> None:
    assert (percentile(values, 50), percentile(values, 95)) == (p50, p95)


async def test_a_number_that_opted_out_is_not_rung_until_it_is_proven_again(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, carrier):
        person = await rig.register()
        await person.verify_phone()
        await grant(rig, person, parse_usd("5"))
        call = await stored_call(rig, person)
        async with rig.parts.database.write() as tx:
            await notes.write(tx, call.id, [OptedOut("key")], rig.clock.utc())
        refused = await person.post("/api/calls", {"persona_id": "brad"})
        assert (refused.status_code, refused.json()["code"]) == (403, "opted_out")
        assert refused.json()["detail"].endswith("Verifying the number again lifts that.")
        assert carrier.dialled == []
        await person.verify_phone(PHONE)
        placed = await person.post("/api/calls", {"persona_id": "brad"})
        assert placed.status_code == 202, placed.text


async def test_a_model_of_ones_own_is_billed_at_the_price_that_is_set(tmp_path: Path) -> None:
    own = {
        **SCRIPTED,
        "llm_engine": "openai",
        "llm_model": "llama-of-mine",
        "llm_base_url": "http://127.0.0.1:9/v1",
        "llm_price_usd": "0.1/0.05/0.4",
    }
    for _ in range(2):  # the second start finds it priced already
        async with running(settings(tmp_path, **own), open_desk) as rig, rig.parts.database.read() as tx:
            rows = await pricing.current(tx, rig.clock.utc())
            found = {row.price.unit: row.price for row in rows if row.price.model == "llama-of-mine"}
            assert {unit: price.price_nano for unit, price in found.items()} == {
                "token_in": 100_000_000,
                "token_cached": 50_000_000,
                "token_out": 400_000_000,
            }
            assert {price.block_units for price in found.values()} == {1_000_000}
            assert len([row for row in rows if row.price.model == "llama-of-mine"]) == 3


async def test_an_engine_that_was_never_down_is_told_to_be_up(tmp_path: Path) -> None:
    """An alert on a gauge without a sample never rings, and nobody sees that it cannot."""
    own = {
        **SCRIPTED,
        "llm_engine": "openai,scripted",
        "llm_model": "up-from-the-start",
        "llm_base_url": "http://127.0.0.1:9/v1",
        "llm_price_usd": "1/1/1",
    }
    async with running(settings(tmp_path, **own), open_desk):
        told = generate_latest().decode()
    assert 'callmeback_engine_down{engine="llm:up-from-the-start"} 0.0' in told


async def test_a_model_without_a_price_stops_the_start_and_says_what_to_set(tmp_path: Path) -> None:
    own = {
        **SCRIPTED,
        "llm_engine": "openai",
        "llm_model": "unheard-of",
        "llm_base_url": "http://127.0.0.1:9/v1",
    }
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup(), running(settings(tmp_path, **own), open_desk):
            pass
    assert caught.group_contains(Exception, match="unheard-of.*LLM_PRICE_USD")


async def test_a_hosted_model_without_a_price_is_said_with_its_setting_and_those_that_have_one(
    tmp_path: Path,
) -> None:
    for change, match in (
        ({"stt_engine": "deepgram", "deepgram_stt_model": "nova-99"}, "nova-99.*DEEPGRAM_STT_MODEL.*nova-3"),
        ({"tts_engine": "deepgram", "deepgram_tts_model": "aura-9"}, "aura-9.*DEEPGRAM_TTS_MODEL.*aura-2"),
    ):
        own = {**SCRIPTED, "deepgram_api_key": "k", **change}
        with pytest.raises(BaseExceptionGroup) as caught:
            async with asyncio.TaskGroup(), running(settings(tmp_path, **own), open_desk):
                pass
        assert caught.group_contains(Exception, match=match)
