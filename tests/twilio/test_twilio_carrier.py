"""The SDK's failures, one by one: what is tried again, what never is, what is known afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.carriers.callee import NoAnswer, Script
from pipeline.carriers.exchange import Exchange
from pipeline.carriers.twilio import TwilioCarrier, pointed
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from tests.permits import permit
from tests.twilio.emulator import Emulator, Mishap
from tests.twilio.rig import (
    ACCOUNT,
    AUTH_TOKEN,
    CALLEE,
    CALLER,
    FakeDesk,
    Site,
    free_socket,
    run_scaled,
    serving,
)

ORDER = Site("http://127.0.0.1:9", FakeDesk(), None).order()  # type: ignore[arg-type]


@asynccontextmanager
async def emulated(auth_token: str = AUTH_TOKEN) -> AsyncIterator[tuple[TwilioCarrier, Emulator]]:
    listening, api = free_socket()
    exchange = Exchange(
        clock=Clock(), account_sid=ACCOUNT, auth_token=AUTH_TOKEN, phones=lambda _number: Script(NoAnswer())
    )
    emulator = Emulator(exchange, AUTH_TOKEN)
    async with serving(emulator.app, listening), exchange:
        carrier = TwilioCarrier(
            clock=Clock(), account_sid=ACCOUNT, auth_token=auth_token, sender=CALLER, api_url=api
        )
        try:
            yield carrier, emulator
        finally:
            await carrier.aclose()


def test_the_request_says_what_the_order_says_in_the_carriers_spelling() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            await carrier.dial(replace(ORDER, detect_machine=True), permit(CALLEE))
            _, path, form = emulator.requests[0]
            assert path == f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
            assert sorted(form) == sorted(
                [
                    ("To", CALLEE),
                    ("From", CALLER),
                    ("Url", ORDER.answer_url),
                    ("StatusCallback", ORDER.status_url),
                    ("StatusCallbackEvent", "initiated"),
                    ("StatusCallbackEvent", "ringing"),
                    ("StatusCallbackEvent", "answered"),
                    ("StatusCallbackEvent", "completed"),
                    ("Timeout", "25"),
                    ("TimeLimit", "600"),
                    ("MachineDetection", "DetectMessageEnd"),
                    ("AsyncAmd", "true"),
                    ("AsyncAmdStatusCallback", ORDER.amd_url),
                ]
            )

    run_scaled(main())


def test_without_detection_nothing_is_paid_for_it() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            await carrier.dial(ORDER, permit(CALLEE))
            assert not [name for name, _ in emulator.requests[0][2] if "Machine" in name or "Amd" in name]

    run_scaled(main())


@pytest.mark.parametrize("mishap", [Mishap.LOST, Mishap.BROKEN, Mishap.GARBAGE])
def test_a_dial_with_a_lost_answer_is_unsure_never_repeated_and_can_be_found(mishap: Mishap) -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            since = Clock().utc()
            emulator.mishaps.append(mishap)
            with pytest.raises(CarrierError) as caught:
                await carrier.dial(ORDER, permit(CALLEE))
            assert (caught.value.unsure, caught.value.retryable) == (True, False)
            assert len(emulator.requests) == 1
            found = await carrier.find(ORDER, since)
            assert found is not None
            assert [found.sid] == list(emulator.exchange.calls)

    run_scaled(main())


def test_a_carrier_whose_clock_lies_behind_is_believed_for_a_call_that_goes_on() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            leg = await carrier.dial(ORDER, permit(CALLEE))
            call = emulator.exchange.calls[leg.sid]
            behind, far_behind = (call.created + timedelta(seconds=ahead) for ahead in (4, 10))
            found = await carrier.find(ORDER, behind)
            assert found is not None
            assert found.sid == leg.sid
            assert await carrier.find(ORDER, far_behind) is None
            await carrier.hang_up(leg.sid)
            await call.over.wait()
            assert await carrier.find(ORDER, behind) is None, "an earlier call of this number that is over"
            assert await carrier.find(ORDER, call.created) is not None

    run_scaled(main())


def test_a_dial_the_carrier_did_not_process_is_left_to_whoever_knows_if_it_may_still_ring() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            emulator.mishaps += [Mishap.TOO_MANY]
            with pytest.raises(CarrierError) as caught:
                await carrier.dial(ORDER, permit(CALLEE))
            assert (caught.value.code, caught.value.retryable, caught.value.unsure) == (429, True, False)
            assert (len(emulator.requests), len(emulator.exchange.calls)) == (1, 0)


def test_a_text_the_carrier_did_not_process_is_repeated() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            emulator.mishaps += [Mishap.TOO_MANY, Mishap.TOO_MANY]
            await carrier.send_sms(CALLEE, "123456")
            assert len(emulator.requests) == 3

    run_scaled(main())


def test_the_countries_are_those_that_the_account_may_ring() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            emulator.countries = ["US", "CA", "GB"]
            assert await carrier.countries() == {"US", "CA", "GB"}
            emulator.mishaps.append(Mishap.BROKEN)
            assert await carrier.countries() == {"US", "CA", "GB"}, "asked again: nothing can happen twice"

    run_scaled(main())


def test_a_dial_that_reached_nobody_is_no_doubt() -> None:
    async def main() -> None:
        listening, api = free_socket()
        listening.close()
        carrier = TwilioCarrier(
            clock=Clock(), account_sid=ACCOUNT, auth_token=AUTH_TOKEN, sender=CALLER, api_url=api
        )
        try:
            with pytest.raises(CarrierError) as caught:
                await carrier.dial(ORDER, permit(CALLEE))
        finally:
            await carrier.aclose()
        assert (caught.value.unsure, caught.value.retryable) == (False, True)

    run_scaled(main())


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (400, 21211, "not valid"),
        (400, 21215, "geo permission"),
        (401, 20003, "Authenticate"),
        (403, 10001, "closed"),
    ],
)
def test_a_refusal_keeps_its_code_and_tells_no_number(status: int, code: int, text: str) -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            emulator.verdict = (status, code, f"{text} {CALLEE}")
            for request in (carrier.dial(ORDER, permit(CALLEE)), carrier.send_sms(CALLEE, "hello")):
                with pytest.raises(CarrierError) as caught:
                    await request
                assert (caught.value.code, caught.value.unsure) == (code, False)
                assert CALLEE not in str(caught.value)
            assert len(emulator.requests) == 2

    run_scaled(main())


def test_wrong_credentials_are_refused() -> None:
    async def main() -> None:
        async with emulated("another token") as (carrier, emulator):
            with pytest.raises(CarrierError) as caught:
                await carrier.dial(ORDER, permit(CALLEE))
            assert (caught.value.code, emulator.exchange.calls) == (20003, {})

    run_scaled(main())


@pytest.mark.parametrize("mishap", [Mishap.LOST, Mishap.BROKEN, Mishap.TOO_MANY])
def test_reading_and_hanging_up_are_tried_twice(mishap: Mishap) -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            leg = await carrier.dial(ORDER, permit(CALLEE))
            emulator.mishaps.append(mishap)
            assert (await carrier.fetch(leg.sid)).sid == leg.sid
            emulator.mishaps.append(mishap)
            await carrier.hang_up(leg.sid)
            await emulator.exchange.calls[leg.sid].over.wait()
            assert emulator.exchange.calls[leg.sid].status == "canceled"
            emulator.mishaps.append(mishap)
            assert await carrier.find(ORDER, emulator.exchange.calls[leg.sid].created) is not None
            assert len(emulator.requests) == 7

    run_scaled(main())


def test_two_failures_in_a_row_are_told() -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            emulator.mishaps += [Mishap.BROKEN, Mishap.BROKEN]
            with pytest.raises(CarrierError) as caught:
                await carrier.hang_up("CA" + "1" * 32)
            assert (caught.value.retryable, len(emulator.requests)) == (True, 2)

    run_scaled(main())


@pytest.mark.parametrize(
    ("api_url", "url", "meant"),
    [
        (
            "http://127.0.0.1:9",
            "https://api.twilio.com/2010-04-01/x?y=1",
            "http://127.0.0.1:9/2010-04-01/x?y=1",
        ),
        ("http://127.0.0.1:9", "https://verify.twilio.com/v2/x", "http://127.0.0.1:9/v2/x"),
        ("http://127.0.0.1:9", "https://nottwilio.com/x", "https://nottwilio.com/x"),
        ("https://api.twilio.com", "https://verify.twilio.com/v2/x", "https://verify.twilio.com/v2/x"),
        ("https://api.twilio.com/", "https://api.twilio.com/x", "https://api.twilio.com/x"),
    ],
)
def test_every_twilio_host_is_at_the_configured_address(api_url: str, url: str, meant: str) -> None:
    assert pointed(api_url, url) == meant


@pytest.mark.parametrize(
    ("price", "nano"), [(None, None), ("-0.01400", 14_000_000), ("-0", 0), ("free", None), ("NaN", None)]
)
def test_the_price_comes_once_the_call_is_rated(price: str | None, nano: int | None) -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            leg = await carrier.dial(ORDER, permit(CALLEE))
            if price is not None:
                emulator.prices[leg.sid] = price
            assert (await carrier.fetch(leg.sid)).price_nano == nano

    run_scaled(main())


@pytest.mark.parametrize(
    ("status", "seconds"), [("completed", None), ("busy", 0), ("canceled", 0), ("in-progress", 0)]
)
def test_a_call_that_is_completed_without_a_duration_is_not_one_of_no_seconds(
    status: str, seconds: int | None
) -> None:
    async def main() -> None:
        async with emulated() as (carrier, emulator):
            sid = (await carrier.dial(ORDER, permit(CALLEE))).sid
            emulator.exchange.calls[sid].status = status
            assert (await carrier.fetch(sid)).seconds == seconds
            emulator.exchange.calls[sid].seconds = 7
            assert (await carrier.fetch(sid)).seconds == 7

    run_scaled(main())
