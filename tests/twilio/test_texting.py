"""Text messages to our number: signed as every webhook, and a stop word is an opt-out."""

from __future__ import annotations

import pytest

from tests.twilio.attacker import post, signed_post
from tests.twilio.rig import ACCOUNT, CALLEE, CALLER, run_scaled, site

PATH = "/twilio/sms"


def form(body: str, **more: str) -> list[tuple[str, str]]:
    fields = {
        "AccountSid": ACCOUNT,
        "MessageSid": "SM" + "1" * 32,
        "From": CALLEE,
        "To": CALLER,
        "Body": body,
    }
    return list({**fields, **more}.items())


@pytest.mark.parametrize(
    ("body", "more", "stopped", "answered"),
    [
        ("STOP", {}, True, "no more calls"),
        ("Stop", {"OptOutType": "STOP"}, True, ""),
        ("start", {}, False, "verify this number"),
        ("HELP", {}, False, "STOP"),
        ("see you", {}, False, ""),
    ],
)
def test_a28_a_word_by_text(body: str, more: dict[str, str], stopped: bool, answered: str) -> None:
    async def main() -> None:
        async with site() as place:
            status, _, said = await signed_post(place, PATH, form(body, **more))
            assert status == 200
            assert place.desk.opted_out == ([(CALLEE, "sms")] if stopped else [])
            assert ("<Message>" in said) is bool(answered)
            assert answered in said

    run_scaled(main())


def test_a_text_without_our_signature_stops_nothing() -> None:
    async def main() -> None:
        async with site() as place:
            assert (await post(place, PATH, form("STOP"), "forged"))[0] == 403
            unsigned = [field for field in form("STOP") if field[0] != "MessageSid"]
            assert (await signed_post(place, PATH, unsigned))[0] == 403
            assert place.desk.opted_out == []

    run_scaled(main())
