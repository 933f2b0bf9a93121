"""The payment provider's wire: what is asked, what is understood, and what a failure turns into."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from server.payments.events import Disputed, Paid, Refunded, RefundTold, Unpaid, event, fact, is_proven
from server.payments.gateway import Checkout, Gateway, PaymentError
from tests.emulators.stripe import KEY, StripeEmulator, sign

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def gateway(stripe: StripeEmulator) -> AsyncIterator[Gateway]:
    opened = Gateway(KEY, stripe.url, one_try_s=0.5)
    yield opened
    await opened.aclose()


async def opened(gateway: Gateway, order: str = "order1", cents: int = 1_000) -> Checkout:
    return await gateway.open_checkout(
        order_id=order, user_id="user1", pack="10", cents=cents, name="Call Me Back: 10.00 USD of credit",
        success_url="https://app/credits?paid=order1&session={CHECKOUT_SESSION_ID}",
        cancel_url="https://app/credits?canceled=order1",
    )  # fmt: skip


async def test_what_is_sent_is_what_the_provider_documents(gateway: Gateway, stripe: StripeEmulator) -> None:
    checkout = await opened(gateway)
    (asked,) = stripe.asked
    marks = {"purchase_id": "order1", "user_id": "user1", "pack": "10"}
    assert (asked.method, asked.path) == ("POST", "/v1/checkout/sessions")
    assert asked.form == {
        "mode": "payment",
        "success_url": "https://app/credits?paid=order1&session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://app/credits?canceled=order1",
        "client_reference_id": "order1",
        "metadata": marks,
        "payment_intent_data": {"metadata": marks},
        "line_items": {
            "0": {
                "quantity": "1",
                "price_data": {
                    "currency": "usd",
                    "unit_amount": "1000",
                    "product_data": {"name": "Call Me Back: 10.00 USD of credit"},
                },
            }
        },
    }
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["idempotency-key"] == "checkout:order1"
    assert asked.headers["stripe-version"]
    assert "x-stripe-client-telemetry" not in asked.headers
    assert (checkout.status, checkout.payment_status, checkout.amount_total) == ("open", "unpaid", 1_000)
    assert (checkout.client_reference_id, checkout.payment_intent) == ("order1", None)
    assert checkout.url == f"{stripe.url}/c/pay/{checkout.id}"


async def test_a_session_asked_for_again_is_the_same_and_with_other_words_refused(
    gateway: Gateway, stripe: StripeEmulator
) -> None:
    first = await opened(gateway)
    assert await opened(gateway) == first
    assert (await opened(gateway, "order2")).id != first.id
    assert len(stripe.sessions) == 2
    with pytest.raises(PaymentError, match="refused") as refused:
        await opened(gateway, cents=2_000)
    assert not refused.value.retryable


async def test_a_session_is_read_again_and_an_unknown_one_refused(
    gateway: Gateway, stripe: StripeEmulator
) -> None:
    first = await opened(gateway)
    await stripe.pay(first.id)
    again = await gateway.checkout(first.id)
    assert (again.status, again.payment_status) == ("complete", "paid")
    assert again.payment_intent in stripe.intents
    with pytest.raises(PaymentError, match="resource_missing"):
        await gateway.checkout("cs_test_nobody")


async def test_refunds_add_up_on_the_charge_and_stop_at_what_was_paid(
    gateway: Gateway, stripe: StripeEmulator
) -> None:
    paid = await stripe.pay((await opened(gateway)).id)

    async def refund(cents: int, key: str) -> int:
        intent = paid["payment_intent"]
        done = await gateway.refund(payment_intent=intent, cents=cents, order_id="order1", key=key)
        assert done.charge.payment_intent == intent
        return done.charge.amount_refunded

    assert await refund(300, "a") == 300
    assert await refund(300, "a") == 300
    assert await refund(200, "b") == 500
    with pytest.raises(PaymentError, match="refused"):
        await refund(501, "c")
    assert await refund(500, "d") == 1_000
    with pytest.raises(PaymentError, match="charge_already_refunded"):
        await refund(1, "e")
    assert len(stripe.refunds) == 3


@pytest.mark.parametrize("fault", ["500", "500_after", "409", "reset", "timeout"])
async def test_a_fault_is_tried_again_under_the_same_key(
    gateway: Gateway, stripe: StripeEmulator, fault: str
) -> None:
    stripe.faults.append(fault)  # type: ignore[arg-type]
    checkout = await opened(gateway)
    assert [asked.headers["idempotency-key"] for asked in stripe.asked] == ["checkout:order1"] * 2
    assert list(stripe.sessions) == [checkout.id]


@pytest.mark.parametrize(
    ("faults", "tries"), [(["429"], 1), (["500"] * 3, 3), (["reset"] * 3, 3), (["500_after"] * 3, 3)]
)
async def test_a_provider_that_does_not_answer_may_be_asked_later(
    gateway: Gateway, stripe: StripeEmulator, faults: list[str], tries: int
) -> None:
    stripe.faults.extend(faults)  # type: ignore[arg-type]
    with pytest.raises(PaymentError) as failed:
        await opened(gateway)
    assert failed.value.retryable
    assert len(stripe.asked) == tries
    assert (await opened(gateway)).status == "open"
    assert len(stripe.sessions) == 1


async def test_a_wrong_key_is_said_without_the_key(stripe: StripeEmulator) -> None:
    gateway = Gateway("sk_test_wrong", stripe.url)
    with pytest.raises(PaymentError, match="STRIPE_SECRET_KEY") as failed:
        await opened(gateway)
    assert "wrong" not in str(failed.value)
    assert not failed.value.retryable
    await gateway.aclose()


async def test_the_page_to_pay_on(gateway: Gateway, stripe: StripeEmulator) -> None:
    checkout = await opened(gateway)
    async with httpx.AsyncClient() as browser:
        page = await browser.get(checkout.url or "")
        assert page.status_code == 200
        assert "$10.00" in page.text
        assert f'action="/c/pay/{checkout.id}"' in page.text
        paid = await browser.post(checkout.url or "")
        assert paid.status_code == 303
        assert paid.headers["location"] == f"https://app/credits?paid=order1&session={checkout.id}"
        assert (await browser.post(checkout.url or "")).status_code == 303
        assert (await browser.get(f"{stripe.url}/c/pay/nobody")).status_code == 404
    assert [event["type"] for event in stripe.events] == ["checkout.session.completed"]


async def test_the_emulator_runs_by_itself() -> None:
    """For a server in another process, such as one that a browser is pointed at."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.emulators.stripe", "--port", "0", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = dict(pair.split("=") for pair in (await process.stdout.readline()).decode().split())
        gateway = Gateway(said["STRIPE_SECRET_KEY"], said["STRIPE_API_URL"])
        assert (await opened(gateway)).url
        await gateway.aclose()
    finally:
        process.terminate()
        await process.wait()


# -- events ----------------------------------------------------------------------------

VECTOR = "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"
BODY = b'{"id":"evt_1"}'
FOR_EVER = 10**10


def test_the_signature_of_a_known_body() -> None:
    assert sign(BODY, "whsec_test", 1_700_000_000) == VECTOR
    assert is_proven(BODY, VECTOR, ["whsec_test"], FOR_EVER)
    assert is_proven(BODY, VECTOR, ["whsec_new", "whsec_test"], FOR_EVER)
    assert is_proven(BODY, VECTOR + ",v0=00,v1=" + "0" * 64, ["whsec_test"], FOR_EVER)
    assert not is_proven(BODY, VECTOR, ["whsec_test"])


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        (BODY + b" ", VECTOR, ["whsec_test"]),
        (BODY, VECTOR.replace("1700000000", "1700000001"), ["whsec_test"]),
        (BODY, VECTOR.replace("c8", "c9"), ["whsec_test"]),
        (BODY, VECTOR.replace("v1", "v0"), ["whsec_test"]),
        (BODY, VECTOR, ["whsec_other"]),
        (BODY, VECTOR, []),
        (BODY, "", ["whsec_test"]),
        (BODY, "t=,v1=", ["whsec_test"]),
        (BODY, "t=1700000000", ["whsec_test"]),
        (BODY, "t=1" + "0" * 5_000 + ",v1=00", ["whsec_test"]),
        (BODY, "t=1700000000,v1=\u00e9", ["whsec_test"]),
        (b"\xff\xfe", VECTOR, ["whsec_test"]),
    ],
)
def test_a44_what_nobody_signed_is_not_proven(body: bytes, header: str, secrets: list[str]) -> None:
    assert not is_proven(body, header, secrets, FOR_EVER)


def test_a44_an_old_signature_is_not_proven() -> None:
    now = int(time.time())
    assert is_proven(BODY, sign(BODY, "whsec_test", now - 290), ["whsec_test"])
    assert not is_proven(BODY, sign(BODY, "whsec_test", now - 310), ["whsec_test"])


async def test_what_events_say(gateway: Gateway, stripe: StripeEmulator) -> None:
    card, later, never, dropped = [await opened(gateway, f"order{number}") for number in range(4)]
    paid = await stripe.pay(card.id)
    await stripe.pay(later.id, method="delayed")
    await stripe.arrives(later.id)
    await stripe.pay(never.id, method="delayed")
    await stripe.arrives(never.id, good=False)
    await stripe.expire(dropped.id)
    intent = paid["payment_intent"]
    one, two = await stripe.refund(intent, 300), await stripe.refund(intent, 200)
    await stripe.fail_refund(two["id"])
    dispute = await stripe.dispute(intent)
    await stripe.close_dispute(dispute, "lost")
    await stripe.close_dispute(dispute, "won")
    await stripe.dispute(intent, status="warning_needs_response")
    told = [fact(event(httpx.Request("POST", "http://x", json=sent).content)) for sent in stripe.events]
    (charge,) = [name for name, found in stripe.charges.items() if found["payment_intent"] == intent]
    assert [type(item) for item in told[:6]] == [Paid, type(None), Paid, type(None), Unpaid, Unpaid]
    assert [item.status for item in told[4:6] if isinstance(item, Unpaid)] == ["failed", "expired"]
    lost = Disputed(dispute["id"], intent, 1_000, won=False)
    assert told[6:] == [
        Refunded(charge, intent, 300),
        RefundTold(one["id"], charge, intent, 300, failed=False),
        Refunded(charge, intent, 500),
        RefundTold(two["id"], charge, intent, 200, failed=False),
        RefundTold(two["id"], charge, intent, 200, failed=True),
        lost,
        lost,
        Disputed(dispute["id"], intent, 1_000, won=True),
        None,
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"id":1}', b"[" * 100_000, b"nonsense"])
def test_a_body_that_is_no_event_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(PaymentError):
        event(body)
