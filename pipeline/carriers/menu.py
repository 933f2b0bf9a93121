"""A simulated caller at a menu: what the carrier says to them, and what they key in.

Decides from the caller's script alone. Time passes as long as the words and the keys would take.
"""

from __future__ import annotations

import asyncio

from pipeline.carriers.callee import HangUp
from pipeline.carriers.phonecall import PhoneCall
from pipeline.carriers.twiml import Gather

WORDS_S = 0.06
"""A letter, spoken."""
KEY_S = 0.25


async def say(call: PhoneCall, text: str) -> None:
    call.spoken.append(text)
    await asyncio.sleep(len(text) * WORDS_S)


async def gather(call: PhoneCall, verb: Gather) -> str | None:
    """The digits, without the key that ended them; "" for none in time, None when the caller hangs up."""
    script, call.menus = call.callee.script.keys, call.menus + 1
    keyed = script[call.menus - 1] if call.menus <= len(script) else ""
    await say(call, verb.prompt)
    if isinstance(keyed, HangUp):
        return None
    digits, finished, _ = keyed.partition(verb.finish)
    await asyncio.sleep(len(keyed) * KEY_S)
    if not finished:
        await asyncio.sleep(verb.timeout_s)
    return digits
