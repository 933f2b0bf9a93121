"""Buying credit over HTTP, against an emulated Stripe: orders, and payments whose webhook was lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import httpx
import pytest

from server.beside import beside
from server.desk import Desk
from server.errors import MEDIA_TYPE
from server.payments.cashier import ORDERS_AN_HOUR
from tests.emulators.stripe import StripeEmulator
from tests.server.rig import PASSWORD, Person, Rig, running, settings
from tests.server.shop import (
    WEBHOOK,
    balance,
    breaches,
    cashier,
    configured,
    order,
    session,
    status,
)


@pytest.fixture
async def ann(shop: Rig) -> Person:
    return await shop.register()


# -- buying ----------------------------------------------------------------------------


async def test_a_pack_is_bought_from_the_list_to_the_ledger(ann: Person, stripe: StripeEmulator) -> None:
    sold = (await ann.get("/api/credits/packs")).json()["items"]
    assert [item["pack"] for item in sold] == ["5", "10", "25", "50"]
    assert sold[1]["amount_usd"] == "10.00"
    made = await order(ann)
    found = session(stripe, made)
    assert made == {
        "url": f"{stripe.url}/c/pay/{found}",
        "id": made["id"],
        "pack": "10",
        "amount_usd": "10.00",
    }
    back = stripe.sessions[found]
    assert back["success_url"] == f"http://127.0.0.1:8000/credits?paid={made['id']}"
    assert back["cancel_url"] == f"http://127.0.0.1:8000/credits?canceled={made['id']}"
    assert await status(ann, made) == ("open", "0.00")
    assert await balance(ann) == "0.00"
    async with httpx.AsyncClient() as browser:
        assert (await browser.post(made["url"])).headers["location"] == back["success_url"]
    assert stripe.answers == [200]
    assert await status(ann, made) == ("paid", "0.00")
    assert await balance(ann) == "10.00"
    (posting,) = (await ann.get("/api/credits/transactions")).json()["items"]
    assert (posting["kind"], posting["amount_usd"]) == ("purchase", "10.00")
    one = (await ann.get(f"/api/credits/purchases/{made['id']}")).json()
    assert (one["status"], one["url"], one["paid_at"]) == ("paid", None, "2026-11-23T12:00:00Z")
    assert await breaches(ann.rig) == []


async def test_a_double_click_is_one_session(ann: Person, stripe: StripeEmulator) -> None:
    made = await asyncio.gather(*(order(ann) for _ in range(5)))
    assert len({item["url"] for item in made}) == len(stripe.sessions) == 1
    keyed = await asyncio.gather(*(order(ann, **{"Idempotency-Key": "monday"}) for _ in range(5)))
    assert len({item["url"] for item in keyed}) == 1
    assert len(stripe.sessions) == 2
    other = await ann.post("/api/credits/checkout", {"pack": "5"}, {"Idempotency-Key": "monday"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_a_key_of_test_mode_is_no_order_of_live_mode(tmp_path: Path, stripe: StripeEmulator) -> None:
    async with running(settings(**configured(tmp_path, stripe))) as rig:  # type: ignore[arg-type]
        ann = await rig.register()
        await order(ann, **{"Idempotency-Key": "monday"})
    stripe.key, stripe.livemode = "sk_live_x", True
    given = configured(tmp_path, stripe, stripe_secret_key="sk_live_x")
    async with running(settings(**given)) as rig:  # type: ignore[arg-type]
        ann = Person(rig, ann.token, ann.id, ann.email)
        again = await ann.post("/api/credits/checkout", {"pack": "10"}, {"Idempotency-Key": "monday"})
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_conflict")
        stripe.webhook, stripe.client = WEBHOOK, rig.http
        await stripe.pay(session(stripe, await order(ann)))
        assert (stripe.answers, await balance(ann)) == ([200], "10.00")


async def test_after_a_purchase_the_next_click_is_another(ann: Person, stripe: StripeEmulator) -> None:
    first = await order(ann)
    await stripe.pay(session(stripe, first))
    second = await order(ann)
    assert second["id"] != first["id"]
    await stripe.pay(session(stripe, second))
    assert await balance(ann) == "20.00"


@pytest.mark.parametrize(
    "body",
    [
        {}, {"pack": 10}, {"pack": -10}, {"pack": "-10"}, {"pack": "0"}, {"pack": 0}, {"pack": 9.99}, {"pack": 2**63},
        {"pack": str(2**63)}, {"pack": "10.00"}, {"pack": "1e1"}, {"pack": None}, {"pack": ["10"]}, {"pack": ""},
        {"pack": "10", "amount_usd": "0.01"}, {"pack": "10", "user_id": "x"}, {"pack": "10\u0000"},
    ],
)  # fmt: skip
async def test_a43_only_what_is_for_sale_can_be_ordered(
    ann: Person, stripe: StripeEmulator, body: dict[str, object]
) -> None:
    answer = await ann.post("/api/credits/checkout", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert stripe.asked == []


async def test_orders_are_limited(ann: Person, shop: Rig) -> None:
    for _ in range(ORDERS_AN_HOUR):
        await order(ann)
    answer = await ann.post("/api/credits/checkout", {"pack": "10"})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    shop.clock.move(3_601)
    await order(ann)


async def test_a21_purchases_of_others_do_not_exist(ann: Person, shop: Rig, stripe: StripeEmulator) -> None:
    bob = await shop.register("bob@example.com")
    made = await order(ann)
    unknown = await bob.get("/api/credits/purchases/nobody")
    theirs = await bob.get(f"/api/credits/purchases/{made['id']}")
    assert (theirs.status_code, theirs.content) == (404, unknown.content)
    assert (await bob.get("/api/credits/purchases")).json()["items"] == []
    await stripe.pay(session(stripe, made))
    assert await balance(bob) == "0.00"
    for path in ("/api/credits/packs", "/api/credits/purchases", f"/api/credits/purchases/{made['id']}"):
        assert (await shop.http.get(path)).status_code == 401


async def test_a_provider_that_is_down_is_said_and_the_next_try_is_the_same_order(
    ann: Person, stripe: StripeEmulator
) -> None:
    stripe.faults.append("429")
    answer = await ann.post("/api/credits/checkout", {"pack": "10"}, {"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert "nothing was charged" in answer.json()["detail"]
    made = await order(ann, **{"Idempotency-Key": "k"})
    (listed,) = (await ann.get("/api/credits/purchases")).json()["items"]
    assert listed["id"] == made["id"]
    assert listed["url"] == made["url"]


async def test_a_refusal_of_the_provider_ends_the_order(tmp_path: Path, stripe: StripeEmulator) -> None:
    given = configured(tmp_path, stripe, stripe_secret_key="sk_test_wrong")
    async with running(settings(**given)) as rig:  # type: ignore[arg-type]
        ann = await rig.register()
        answer = await ann.post("/api/credits/checkout", {"pack": "10"})
        assert answer.status_code == 503
        assert "sk_test" not in answer.text
        (listed,) = (await ann.get("/api/credits/purchases")).json()["items"]
        assert (listed["status"], listed["url"]) == ("failed", None)


async def test_a_server_without_payments_says_what_is_missing(rig: Rig) -> None:
    ann = await rig.register()
    answer = await ann.post("/api/credits/checkout", {"pack": "10"})
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert answer.headers["content-type"] == MEDIA_TYPE
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "callmeback credit"):
        assert name in answer.json()["detail"]
    assert (await ann.get("/api/credits/packs")).json()["items"] == []
    assert (await rig.http.post(WEBHOOK, content=b"{}")).status_code == 503


# -- a lost webhook --------------------------------------------------------------------


async def test_coming_back_finds_a_payment_whose_webhook_was_lost(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    stripe.delivers = "never"
    made = await order(ann)
    path = f"/api/credits/purchases/{made['id']}"
    assert (await ann.get(path)).json()["status"] == "open"
    await stripe.pay(session(stripe, made))
    asked = len(stripe.asked)
    assert (await ann.get(path)).json()["status"] == "open"
    assert len(stripe.asked) == asked
    shop.clock.move(4)
    assert (await ann.get(path)).json()["status"] == "paid"
    assert await balance(ann) == "10.00"
    await stripe.deliver(stripe.events[-1], times=2)
    assert await balance(ann) == "10.00"


async def test_coming_back_while_the_provider_is_down_shows_what_is_known(
    ann: Person, stripe: StripeEmulator
) -> None:
    made = await order(ann)
    stripe.faults.append("429")
    answer = await ann.get(f"/api/credits/purchases/{made['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "open")


async def test_the_poll_settles_what_has_been_open_for_a_while(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    stripe.delivers = "never"
    paid, expired, waiting = await order(ann), await order(ann, "5"), await order(ann, "25")
    await stripe.pay(session(stripe, paid))
    await stripe.expire(session(stripe, expired))
    stripe.faults.append("429")
    await ann.post("/api/credits/checkout", {"pack": "50"})
    asked = len(stripe.asked)
    await cashier(shop).poll()
    assert len(stripe.asked) == asked
    shop.clock.move(601)
    assert (await cashier(shop).poll() - shop.clock.utc()).total_seconds() == 600
    found = {
        item["pack"]: item["status"] for item in (await ann.get("/api/credits/purchases")).json()["items"]
    }
    assert found == {"10": "paid", "5": "expired", "25": "open", "50": "open"}
    assert await balance(ann) == "10.00"
    shop.clock.move(24 * 3_600)
    await cashier(shop).poll()
    login = await shop.login(ann.email, PASSWORD)
    ann = Person(shop, login.json()["token"], ann.id, ann.email)
    found = {
        item["pack"]: item["status"] for item in (await ann.get("/api/credits/purchases")).json()["items"]
    }
    assert found == {"10": "paid", "5": "expired", "25": "open", "50": "expired"}
    assert await status(ann, waiting) == ("open", "0.00")


async def test_a_round_that_does_not_come_to_all_begins_with_the_others_next_time(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    """Else those behind more open orders than a round has time for would wait for ever."""
    stripe.delivers = "never"
    await order(ann, "5")
    shop.clock.move(1)
    paid = await order(ann, "10")
    await stripe.pay(session(stripe, paid))
    shop.clock.move(601)
    stripe.faults.append("429")  # which ends the round
    await cashier(shop).poll()
    assert await balance(ann) == "0.00"
    shop.clock.move(1)
    asked = len(stripe.asked)
    await cashier(shop).poll()
    assert session(stripe, paid) in str(stripe.asked[asked])
    assert await balance(ann) == "10.00"


async def test_a_running_server_asks_after_orders_whose_webhook_was_lost(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    """The customer paid, closed the page and never looks at the order again."""
    stripe.delivers = "never"
    await stripe.pay(session(stripe, await order(ann)))
    shop.clock.move(601)
    _, works = await beside(shop.parts, cast("Desk", shop.parts.desk), "us")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        while await balance(ann) != "10.00":
            pass
        for task in running:
            task.cancel()
    assert await breaches(shop) == []
