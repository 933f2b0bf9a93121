"""What every carrier must do, run against the simulated one and against Twilio's SDK on an emulated Twilio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from pipeline.carriers.base import Carrier, DialOrder
from pipeline.carriers.callee import Answer, Busy, HangUp, Machine, Script, Silence
from pipeline.carriers.exchange import Exchange
from pipeline.carriers.twilio import TwilioCarrier
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from pipeline.core.guard import Spent
from tests.permits import permit
from tests.twilio.emulator import Emulator
from tests.twilio.rig import (
    ACCOUNT,
    AUTH_TOKEN,
    CALLEE,
    CALLER,
    FakeDesk,
    free_socket,
    run_scaled,
    serving,
    site,
)


@dataclass
class Case:
    """A carrier under test, the exchange behind it, the server it calls back."""

    carrier: Carrier
    exchange: Exchange
    desk: FakeDesk
    order: DialOrder


@asynccontextmanager
async def simulated(script: Script) -> AsyncIterator[Case]:
    async with site(script) as place:
        yield Case(place.carrier, place.carrier.exchange, place.desk, place.order(detect_machine=True))


@asynccontextmanager
async def twilio(script: Script) -> AsyncIterator[Case]:
    listening, api = free_socket()
    async with site(script) as place:
        emulator = Emulator(place.carrier.exchange, AUTH_TOKEN)
        async with serving(emulator.app, listening):
            carrier = TwilioCarrier(
                clock=Clock(), account_sid=ACCOUNT, auth_token=AUTH_TOKEN, sender=CALLER, api_url=api
            )
            try:
                order = place.order(detect_machine=True)
                yield Case(carrier, place.carrier.exchange, place.desk, order)
            finally:
                await carrier.aclose()


Open = Callable[[Script], AbstractAsyncContextManager[Case]]
carriers = pytest.mark.parametrize("carrier", [simulated, twilio])
LISTENER = Script(Answer(300))


def _run(carrier: Open, script: Script, check: Callable[[Case], Coroutine[object, object, None]]) -> None:
    async def main() -> None:
        async with carrier(script) as case:
            await check(case)

    run_scaled(main())


@carriers
def test_a_dial_is_one_queued_call_with_the_orders_terms(carrier: Open) -> None:
    async def check(case: Case) -> None:
        leg = await case.carrier.dial(case.order, permit(CALLEE))
        assert (leg.status, leg.seconds, leg.answered_by) == ("queued", 0, "")
        assert list(case.exchange.calls) == [leg.sid]
        assert case.exchange.calls[leg.sid].order == case.order
        assert case.exchange.calls[leg.sid].events == ("initiated", "ringing", "answered", "completed")

    _run(carrier, LISTENER, check)


@carriers
def test_a_permit_rings_its_own_number_once_and_without_one_nothing_is_asked(carrier: Open) -> None:
    async def check(case: Case) -> None:
        leave = permit(CALLEE)
        with pytest.raises(Spent):
            await case.carrier.dial(case.order, permit("+12025550199"))
        await case.carrier.dial(case.order, leave)
        with pytest.raises(Spent):
            await case.carrier.dial(case.order, leave)
        assert len(case.exchange.calls) == 1

    _run(carrier, LISTENER, check)


@carriers
def test_a_call_is_fetched_while_it_runs_and_after(carrier: Open) -> None:
    async def check(case: Case) -> None:
        leg = await case.carrier.dial(case.order, permit(CALLEE))
        await case.desk.until(lambda desk: bool(desk.lives))
        running = await case.carrier.fetch(leg.sid)
        assert (running.status, running.seconds) == ("in-progress", 0)
        await case.exchange.calls[leg.sid].over.wait()
        over = await case.carrier.fetch(leg.sid)
        assert (over.status, over.answered_by) == ("completed", "human")
        assert over.seconds == case.exchange.calls[leg.sid].seconds > 0

    _run(carrier, Script(Answer(300), (Silence(2_500), HangUp()), Machine("human", 800)), check)


@carriers
def test_a_call_never_answered_has_no_seconds(carrier: Open) -> None:
    async def check(case: Case) -> None:
        leg = await case.carrier.dial(case.order, permit(CALLEE))
        await case.exchange.calls[leg.sid].over.wait()
        over = await case.carrier.fetch(leg.sid)
        assert (over.status, over.seconds) == ("busy", 0)

    _run(carrier, Script(Busy()), check)


@carriers
def test_hanging_up_ends_a_call_in_any_state_and_is_no_error_afterwards(carrier: Open) -> None:
    async def check(case: Case) -> None:
        ringing = await case.carrier.dial(case.order, permit(CALLEE))
        await case.carrier.hang_up(ringing.sid)
        await case.exchange.calls[ringing.sid].over.wait()
        assert (await case.carrier.fetch(ringing.sid)).status == "canceled"
        live = await case.carrier.dial(case.order, permit(CALLEE))
        await case.desk.until(lambda desk: bool(desk.lives))
        await case.carrier.hang_up(live.sid)
        await case.exchange.calls[live.sid].over.wait()
        assert (await case.carrier.fetch(live.sid)).status == "completed"
        await case.carrier.hang_up(live.sid)
        await case.carrier.hang_up("CA" + "f" * 32)

    _run(carrier, LISTENER, check)


@carriers
def test_an_unknown_call_cannot_be_fetched(carrier: Open) -> None:
    async def check(case: Case) -> None:
        with pytest.raises(CarrierError) as caught:
            await case.carrier.fetch("CA" + "f" * 32)
        assert (caught.value.code, caught.value.unsure) == (20404, False)

    _run(carrier, LISTENER, check)


@carriers
def test_find_gives_the_newest_call_of_an_order_and_only_recent_ones(carrier: Open) -> None:
    async def check(case: Case) -> None:
        since = Clock().utc()
        other = replace(case.order, to="+12025550199")
        assert await case.carrier.find(case.order, since) is None
        first = await case.carrier.dial(case.order, permit(CALLEE))
        await case.carrier.dial(other, permit(other.to))
        found = await case.carrier.find(case.order, since)
        assert found is not None
        assert found.sid == first.sid
        assert await case.carrier.find(case.order, since + timedelta(seconds=60)) is None
        assert await case.carrier.find(replace(case.order, sender="+12025550101"), since) is None

    _run(carrier, LISTENER, check)


@carriers
def test_a_text_message_is_sent(carrier: Open) -> None:
    async def check(case: Case) -> None:
        await case.carrier.send_sms(CALLEE, "Your code is 123456.")
        message = case.exchange.sms[0]
        assert (message.to, message.sender, message.body) == (CALLEE, CALLER, "Your code is 123456.")

    _run(carrier, LISTENER, check)
