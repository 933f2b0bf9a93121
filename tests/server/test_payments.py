"""Buying credit over HTTP, against an emulated Stripe: order, checkout, webhook, refund."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from pipeline.core.errors import Refused
from pipeline.core.money import Nanos
from server.cli import app as command_line
from server.errors import MEDIA_TYPE
from server.payments.cashier import ORDERS_AN_HOUR, Cashier
from storage import ledger
from storage.audit import audit
from tests.emulators.stripe import KEY, SECRET, StripeEmulator, sign
from tests.server.rig import PASSWORD, Person, Rig, running, settings

DOLLAR = 1_000_000_000
WEBHOOK = "/stripe/webhook"


def configured(tmp_path: Path, stripe: StripeEmulator, **more: object) -> dict[str, object]:
    return {
        "data_dir": tmp_path, "stripe_secret_key": KEY, "stripe_webhook_secret": SECRET,
        "stripe_api_url": stripe.url, **more,
    }  # fmt: skip


@pytest.fixture
async def shop(tmp_path: Path, stripe: StripeEmulator) -> AsyncIterator[Rig]:
    async with running(settings(**configured(tmp_path, stripe))) as rig:  # type: ignore[arg-type]
        stripe.webhook, stripe.client = WEBHOOK, rig.http
        yield rig


@pytest.fixture
async def ann(shop: Rig) -> Person:
    return await shop.register()


def cashier(shop: Rig) -> Cashier:
    assert shop.parts.cashier is not None
    return shop.parts.cashier


async def order(person: Person, pack: str = "10", **headers: str) -> dict[str, Any]:
    answer = await person.post("/api/credits/checkout", {"pack": pack}, headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def session(stripe: StripeEmulator, made: dict[str, Any]) -> str:
    (found,) = [name for name, found in stripe.sessions.items() if found["client_reference_id"] == made["id"]]
    return found


async def status(person: Person, made: dict[str, Any]) -> tuple[str, str]:
    answer = await person.get("/api/credits/purchases")
    (found,) = [item for item in answer.json()["items"] if item["id"] == made["id"]]
    return found["status"], found["refunded_usd"]


async def balance(person: Person) -> str:
    found: str = (await person.get("/api/credits")).json()["balance_usd"]
    return found


async def spend(shop: Rig, person: Person, amount: int) -> None:
    async with shop.parts.database.write() as tx:
        await ledger.grant(
            tx, user_id=person.id, amount=Nanos(-amount), kind="grant", idem_key="spent", now=shop.clock.utc()
        )


async def breaches(shop: Rig) -> list[object]:
    async with shop.parts.database.read() as tx:
        return list((await audit(tx)).breaches)


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


# -- the webhook -----------------------------------------------------------------------


async def test_a44_an_event_unsigned_or_signed_by_another_is_refused(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    stripe.delivers = "never"
    await stripe.pay(session(stripe, await order(ann)))
    body = json.dumps(stripe.events[0]).encode()
    good = sign(body, SECRET)
    tries: list[list[tuple[str, str]]] = [
        [],
        [("stripe-signature", "")],
        [("stripe-signature", sign(body, "whsec_other"))],
        [("stripe-signature", sign(body + b" ", SECRET))],
        [("stripe-signature", sign(body, SECRET, 1_700_000_000))],
        [("stripe-signature", good), ("stripe-signature", good)],
    ]
    for headers in tries:
        answer = await shop.http.post(WEBHOOK, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert await balance(ann) == "0.00"
    assert (
        await shop.http.post(WEBHOOK, content=body, headers=[("stripe-signature", good)])
    ).status_code == 200
    assert await balance(ann) == "10.00"


async def test_a44_an_event_that_is_too_large_is_refused(shop: Rig) -> None:
    body = b'{"id":"' + b"x" * 70_000 + b'"}'
    answer = await shop.http.post(WEBHOOK, content=body, headers={"stripe-signature": sign(body, SECRET)})
    assert answer.status_code == 413


async def test_an_event_under_the_former_secret_is_believed_while_it_is_replaced(
    tmp_path: Path, stripe: StripeEmulator
) -> None:
    given = configured(tmp_path, stripe, stripe_webhook_secret=f"whsec_new,{SECRET}")
    async with running(settings(**given)) as rig:  # type: ignore[arg-type]
        stripe.webhook, stripe.client = WEBHOOK, rig.http
        ann = await rig.register()
        await stripe.pay(session(stripe, await order(ann)))
        assert (stripe.answers, await balance(ann)) == ([200], "10.00")


async def test_a44_five_deliveries_one_at_a_time_and_all_at_once_credit_once(
    ann: Person, stripe: StripeEmulator
) -> None:
    stripe.delivers = "twice"
    made = await order(ann)
    await stripe.pay(session(stripe, made))
    paid = stripe.events[-1]
    await stripe.deliver(paid, times=5)
    await asyncio.gather(*(stripe.deliver(paid) for _ in range(5)))
    # Another event of the same session: its id is new, its session is not.
    await stripe.deliver({**paid, "id": "evt_new", "type": "checkout.session.async_payment_succeeded"})
    assert set(stripe.answers) == {200}
    assert await balance(ann) == "10.00"
    assert await breaches(ann.rig) == []


async def test_a_delayed_payment_is_granted_when_it_arrives(ann: Person, stripe: StripeEmulator) -> None:
    good, bad = await order(ann), await order(ann, "5")
    for made in (good, bad):
        await stripe.pay(session(stripe, made), method="delayed")
        assert await status(ann, made) == ("open", "0.00")
    await stripe.arrives(session(stripe, good))
    await stripe.arrives(session(stripe, bad), good=False)
    assert await status(ann, good) == ("paid", "0.00")
    assert await status(ann, bad) == ("failed", "0.00")
    assert await balance(ann) == "10.00"


async def test_a_checkout_that_ran_out_is_marked(ann: Person, stripe: StripeEmulator) -> None:
    made = await order(ann)
    await stripe.expire(session(stripe, made))
    assert await status(ann, made) == ("expired", "0.00")


@pytest.mark.parametrize(
    "change",
    [{"amount_total": 1}, {"amount_total": 100_000}, {"currency": "eur"}, {"client_reference_id": "other"},
     {"client_reference_id": None}, {"id": "cs_test_other"}, {"livemode": True}, {"amount_total": None}],
)  # fmt: skip
async def test_a44_a_payment_that_differs_from_its_order_grants_nothing(
    ann: Person, stripe: StripeEmulator, change: dict[str, object]
) -> None:
    stripe.delivers = "never"
    made = await order(ann)
    await stripe.pay(session(stripe, made))
    sent = stripe.events[-1]
    wrong = {**sent, "data": {"object": {**sent["data"]["object"], **change}}}
    assert await stripe.deliver(wrong) == [200]
    assert await balance(ann) == "0.00"
    assert await stripe.deliver(sent) == [200]
    assert await balance(ann) == "10.00"


async def test_an_event_of_the_other_mode_is_refused(ann: Person, stripe: StripeEmulator) -> None:
    stripe.delivers = "never"
    await stripe.pay(session(stripe, await order(ann)))
    assert await stripe.deliver({**stripe.events[-1], "livemode": True}) == [400]
    assert await balance(ann) == "0.00"


@pytest.mark.parametrize(
    ("kind", "found"),
    [("customer.created", {}), ("checkout.session.completed", {}), ("charge.refunded", {"id": "ch_1"}),
     ("charge.dispute.created", {"id": 7}), ("checkout.session.completed", {"id": "x' OR 1=1"})],
)  # fmt: skip
async def test_an_event_we_know_nothing_about_is_taken_and_ignored(
    shop: Rig, stripe: StripeEmulator, kind: str, found: dict[str, object]
) -> None:
    sent = {"id": "evt_1", "object": "event", "type": kind, "livemode": False, "data": {"object": found}}
    assert await stripe.deliver(sent) == [200]
    body = b"[1, 2"
    answer = await shop.http.post(WEBHOOK, content=body, headers={"stripe-signature": sign(body, SECRET)})
    assert answer.status_code == 200


async def test_a_payment_for_an_account_that_is_gone_is_taken_and_not_granted(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    made = await order(ann)
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    await stripe.pay(session(stripe, made))
    assert stripe.answers == [200]
    assert await breaches(shop) == []


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


# -- refunds ---------------------------------------------------------------------------


async def test_a_refund_in_the_dashboard_takes_the_credit_back(ann: Person, stripe: StripeEmulator) -> None:
    stripe.delivers = "twice"
    made = await order(ann)
    paid = await stripe.pay(session(stripe, made))
    await stripe.refund(paid["payment_intent"], 300)
    assert await status(ann, made) == ("paid", "3.00")
    await stripe.refund(paid["payment_intent"])
    assert await status(ann, made) == ("refunded", "10.00")
    assert await balance(ann) == "0.00"
    for event in reversed(stripe.events):
        await stripe.deliver(event, times=2)
    assert await status(ann, made) == ("refunded", "10.00")
    kinds = [item["kind"] for item in (await ann.get("/api/credits/transactions")).json()["items"]]
    assert kinds == ["refund", "refund", "purchase"]
    assert await breaches(ann.rig) == []


async def test_a44_everything_at_last_and_backwards_comes_to_the_same_books(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    stripe.delivers = "never"
    made = await order(ann)
    paid = await stripe.pay(session(stripe, made))
    await stripe.refund(paid["payment_intent"], 300)
    await stripe.refund(paid["payment_intent"], 100)
    await stripe.close_dispute(await stripe.dispute(paid["payment_intent"]), "won")
    for event in reversed(stripe.events):
        assert await stripe.deliver(event, times=2) == [200, 200]
    assert await status(ann, made) == ("paid", "4.00")
    assert await balance(ann) == "6.00"
    assert await breaches(shop) == []


async def test_a_dispute_takes_what_is_there_and_never_more(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    made = await order(ann)
    paid = await stripe.pay(session(stripe, made))
    await spend(shop, ann, 8 * DOLLAR)
    dispute = await stripe.dispute(paid["payment_intent"])
    assert await status(ann, made) == ("refunded", "10.00")
    assert await balance(ann) == "0.00"
    await stripe.close_dispute(dispute, "won")
    assert await status(ann, made) == ("paid", "0.00")
    assert await balance(ann) == "2.00"
    assert await breaches(shop) == []


async def test_a43_the_operator_refunds_once_and_no_more_than_was_paid(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    made = await order(ann)
    with pytest.raises(Refused, match="not paid"):
        await cashier(shop).refund(made["id"], None, None)
    await stripe.pay(session(stripe, made))
    with pytest.raises(Refused, match="are left"):
        await cashier(shop).refund(made["id"], 1_001, None)
    part = await cashier(shop).refund(made["id"], 250, "a")
    assert (part.status, part.reversed_cents) == ("paid", 250)
    again = await cashier(shop).refund(made["id"], 250, "a")
    assert again.reversed_cents == 250
    rest = await cashier(shop).refund(made["id"], None, None)
    assert (rest.status, rest.reversed_cents, rest.taken_nano) == ("refunded", 1_000, 10 * DOLLAR)
    with pytest.raises(Refused, match="are left"):
        await cashier(shop).refund(made["id"], None, None)
    with pytest.raises(LookupError):
        await cashier(shop).refund("nobody", None, None)
    assert len(stripe.refunds) == 2
    assert await balance(ann) == "0.00"
    assert await breaches(shop) == []


async def test_two_refunds_at_once_are_one(ann: Person, shop: Rig, stripe: StripeEmulator) -> None:
    made = await order(ann)
    await stripe.pay(session(stripe, made))
    done = await asyncio.gather(*(cashier(shop).refund(made["id"], 400, None) for _ in range(4)))
    assert {found.reversed_cents for found in done} == {400}
    assert await balance(ann) == "6.00"


async def test_the_refund_command(ann: Person, shop: Rig, tmp_path: Path, stripe: StripeEmulator) -> None:
    made = await order(ann)
    await stripe.pay(session(stripe, made))
    await spend(shop, ann, 9 * DOLLAR)
    stripe.delivers = "never"
    names = {
        "DATA_DIR": str(tmp_path), "JWT_SECRET": None, "STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_API_URL": stripe.url,
    }  # fmt: skip

    async def refund(*words: str, **environ: str | None) -> Result:
        env = {**names, **environ}
        return await asyncio.to_thread(CliRunner().invoke, command_line, ["refund", *words], env=env)

    assert (await refund(made["id"], "0.001")).exit_code == 2
    assert (await refund(made["id"], "-1")).exit_code == 2
    without = await refund(made["id"], STRIPE_SECRET_KEY=None, STRIPE_WEBHOOK_SECRET=None)
    assert (without.exit_code, "STRIPE_SECRET_KEY" in without.stderr) == (1, True)
    assert (await refund("nobody")).stderr == "callmeback: there is no purchase with this id\n"
    done = await refund(made["id"], "4")
    assert done.stdout == "4.00 of 10.00 USD refunded: 1.00 taken off the balance, 3.00 were spent already\n"
    too_much = await refund(made["id"], "6.01")
    assert (too_much.exit_code, "6.00 are left" in too_much.stderr) == (1, True)
    assert (await refund(made["id"])).exit_code == 0
    assert (await refund(made["id"])).exit_code == 1
    assert sum(found["amount"] for found in stripe.refunds.values()) == 1_000
