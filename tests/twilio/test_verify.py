"""Codes made and checked by Twilio Verify, over its own SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeline.carriers.verify import TwilioVerify
from pipeline.core.errors import CarrierError
from tests.twilio.rig import ACCOUNT, AUTH_TOKEN, CALLEE, free_socket, run_scaled, serving
from tests.twilio.verifying import SERVICE, VerifyEmulator


@asynccontextmanager
async def emulated() -> AsyncIterator[tuple[TwilioVerify, VerifyEmulator]]:
    listening, api = free_socket()
    emulator = VerifyEmulator()
    async with serving(emulator.app, listening):
        codes = TwilioVerify(account_sid=ACCOUNT, auth_token=AUTH_TOKEN, service_sid=SERVICE, api_url=api)
        try:
            yield codes, emulator
        finally:
            await codes.aclose()


def test_a_code_is_right_once() -> None:
    async def main() -> None:
        async with emulated() as (codes, emulator):
            sid = await codes.send(CALLEE)
            [(to, code)] = emulator.texted
            assert to == CALLEE
            assert not await codes.check(sid, "000000")
            assert await codes.check(sid, code)
            assert not await codes.check(sid, code), "used up"

    run_scaled(main())


def test_too_many_guesses_and_a_code_that_is_too_old_are_wrong_codes() -> None:
    async def main() -> None:
        async with emulated() as (codes, emulator):
            sid = await codes.send(CALLEE)
            for _ in range(5):
                assert not await codes.check(sid, "000000")
            assert not await codes.check(sid, emulator.texted[0][1])
            emulator.expire()
            assert not await codes.check(sid, emulator.texted[0][1])

    run_scaled(main())


def test_what_verify_refuses_is_the_carriers_refusal() -> None:
    async def main() -> None:
        async with emulated() as (codes, _emulator):
            with pytest.raises(CarrierError) as refused:
                await codes.send("12")
            assert refused.value.code == 60200

    run_scaled(main())
