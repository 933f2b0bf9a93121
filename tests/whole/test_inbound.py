"""People who ring the server's own number: strangers, users with their PIN, and whoever forges one of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.carriers.base import DialOrder
from pipeline.carriers.callee import Act, Answer, HangUp, Script, Silence, Speak
from pipeline.carriers.phonecall import PhoneCall
from pipeline.core.events import DigitPressed
from pipeline.core.money import parse_usd
from pipeline.engines.scripted import ScriptedThinker
from pipeline.journal_file import steps
from pipeline.replay import replay
from server.inbound import replies
from storage import calls, ledger, strangers
from storage.records import CallRow
from tests.whole.rig import Person, World, scripted
from tests.whole.test_memory import Notebook
from tests.whole.test_whole_call import HELLO, play

PIN = "271828"
TALK: tuple[Act, ...] = (Speak(HELLO, 700), Speak(HELLO, 900), Silence(3_000), HangUp())
STAYS: tuple[Act, ...] = (Speak(HELLO, 700),)
FORGOTTEN_NUMBER = "+12025550177"


async def rings(
    world: World, caller: str, *keys: str | HangUp, acts: tuple[Act, ...] = TALK
) -> PhoneCall:
    """One call to the server, from its first question to the carrier's last word."""
    url = world.settings.public_url
    order = DialOrder("+12025550100", "", f"{url}/twilio/voice", f"{url}/twilio/status", "", 60, 4 * 3600)
    call = world.carrier.exchange.ring_in(caller, order, Script(acts=acts, keys=keys))
    await call.over.wait()
    return call


async def row_of(world: World, call: PhoneCall) -> CallRow:
    """The call's row, once its books are closed."""
    while True:
        async with world.parts.database.read() as tx:
            row = await calls.by_sid(tx, call.sid)
        assert row is not None
        if row.final_at is not None:
            return row


async def with_pin(world: World, script: Script | None = None, **more: Any) -> Person:
    person = await world.person(script or Script(Answer(500), TALK), **more)
    answer = await person.ask("PUT", "/api/me/inbound-pin", {"pin": PIN})
    assert answer.status == 200, answer
    return person


def agent(world: World, row: CallRow) -> list[str]:
    return [effect.text for step in steps(world.journal(row.id)) for effect in step.effects if hasattr(effect, "text")]


@pytest.mark.parametrize("through_twilio", [False, True], ids=["simulated", "twilio"])
def test_a_stranger_has_a_trial_that_the_operator_pays(tmp_path: Path, through_twilio: bool) -> None:
    async def story(world: World) -> None:
        call = await rings(world, FORGOTTEN_NUMBER)
        assert call.status == "completed"
        [menu] = call.spoken
        assert menu.startswith("This is an automated AI line of Call Me Back. ")
        row = await row_of(world, call)
        assert (row.user_id, row.direction, row.status) == (strangers.ACCOUNT, "inbound", "completed")
        assert (row.end_reason, row.carrier_seconds) == ("caller_hung_up", call.seconds)
        assert row.created_at == row.answered_at
        async with world.parts.database.read() as tx:
            lines = {line.line: line for line in await ledger.cost_lines(tx, row.id)}
            balance = await ledger.balance(tx, strangers.ACCOUNT)
        minutes = -(-call.seconds // 60)
        assert lines["carrier:twilio-inbound:second"].quantity == 60 * minutes
        assert lines["carrier:twilio-inbound:second"].amount_nano == 8_500_000 * minutes
        assert not any(line.startswith(("amd", "carrier:twilio:")) for line in lines)
        assert balance.balance == parse_usd("1.00") - row.total_nano
        assert balance.held == 0
        assert replay(world.journal(row.id)).exact

    play(tmp_path, story, through_twilio=through_twilio, local_prices="list")
