"""What the payment provider tells: each event counts once or not at all, and refunds take no more than is there."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from pipeline.core.errors import Refused
from server.cli import app as command_line
from server.payments.gateway import PaymentError
from storage import ageing
from storage.tables import payment_reversals
from tests.emulators.stripe import KEY, SECRET, StripeEmulator, sign
from tests.server.rig import Person, Rig, running, settings
from tests.server.shop import (
    DOLLAR,
    WEBHOOK,
    balance,
    breaches,
    cashier,
    configured,
    order,
    session,
    spend,
    status,
)


@pytest.fixture
async def ann(shop: Rig) -> Person:
    return await shop.register()


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


async def test_a41_a_refund_after_the_account_is_gone_leaves_no_trace_for_good(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    bob = await shop.register("bob@example.com")
    hers, his = await order(ann), await order(bob)
    paid = [(await stripe.pay(session(stripe, made)))["payment_intent"] for made in (hers, his)]
    assert (await ann.ask("DELETE", "/api/me")).status_code == 204
    for payment in paid:
        await stripe.refund(payment)
    assert set(stripe.answers) == {200}
    left = select(payment_reversals.c.payment_intent)
    now = shop.clock.utc()
    async with shop.parts.database.write() as tx:
        await ageing.purge(tx, now + timedelta(days=6), 100)
        assert set((await tx.execute(left)).scalars()) == set(paid), "the word of a payment may be late"
        await ageing.purge(tx, now + timedelta(days=8), 100)
        assert set((await tx.execute(left)).scalars()) == {paid[1]}
    assert await breaches(shop) == []


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


@pytest.mark.parametrize("key", [None, "b"])
async def test_a_refund_the_bank_sends_back_is_credited_again_and_can_be_made_anew(
    ann: Person, shop: Rig, stripe: StripeEmulator, key: str | None
) -> None:
    made = await order(ann)
    await stripe.pay(session(stripe, made))
    await cashier(shop).refund(made["id"], None, "a")
    assert (await status(ann, made), await balance(ann)) == (("refunded", "10.00"), "0.00")
    (refund,) = stripe.refunds
    await stripe.fail_refund(refund)
    for event in (stripe.events[-1], *stripe.events, stripe.events[-1]):
        assert await stripe.deliver(event, times=2) == [200, 200]
    assert (await status(ann, made), await balance(ann)) == (("paid", "0.00"), "10.00")
    with pytest.raises(PaymentError, match="another --key"):
        await cashier(shop).refund(made["id"], None, "a")
    assert await balance(ann) == "10.00"
    await cashier(shop).refund(made["id"], None, key)
    assert (await status(ann, made), await balance(ann)) == (("refunded", "10.00"), "0.00")
    assert len(stripe.refunds) == 2
    assert await breaches(shop) == []


async def test_the_same_command_after_a_refund_that_failed_is_another_refund(
    ann: Person, shop: Rig, stripe: StripeEmulator
) -> None:
    made = await order(ann)
    await stripe.pay(session(stripe, made))
    for _ in range(2):
        await cashier(shop).refund(made["id"], None, None)
        assert await balance(ann) == "0.00"
        await stripe.fail_refund(list(stripe.refunds)[-1])
        assert await balance(ann) == "10.00"
    assert len(stripe.refunds) == 2
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
