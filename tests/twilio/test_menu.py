"""A simulated caller at the server's menu: what the documents say, what is keyed in, and what is not answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from pipeline.carriers.callee import HangUp, Script, Silence
from pipeline.carriers.phonecall import PhoneCall
from server.inbound.replies import Asked, Connected, Dismissed, Reply, Turned
from tests.twilio.rig import CALLEE, FakeDesk, Site, run_scaled, site


@dataclass
class Receptionist:
    """Answers what it is told to, in turn."""

    replies: list[Reply]
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def rung(self, sid: str, sender: str) -> Reply:
        self.asked.append((sender,))
        return self.replies.pop(0)

    async def keyed(self, sid: str, sender: str, digits: str) -> Reply:
        self.asked.append((sender, digits))
        return self.replies.pop(0)


@dataclass
class InboundDesk(FakeDesk):
    reception: Receptionist = field(default_factory=lambda: Receptionist([]))


def rung(desk: InboundDesk, *keys: str | HangUp) -> tuple[PhoneCall, Site]:
    async def main() -> tuple[PhoneCall, Site]:
        async with site(desk=desk) as place:
            order = place.order()
            order = type(order)(
                order.sender, "", f"{place.url}/twilio/voice", f"{place.url}/twilio/status", "", 60, 60
            )
            call = place.carrier.exchange.ring_in(
                CALLEE, order, Script(acts=(Silence(500), HangUp()), keys=keys)
            )
            await call.over.wait()
            return call, place

    return run_scaled(main())


@pytest.mark.parametrize(
    ("keys", "digits"),
    [(("123#", "45"), ["123", "45"]), ((), ["", ""]), (("", "#9"), ["", ""])],
    ids=["keyed", "nothing", "only the key that ends it"],
)
def test_what_is_keyed_in_goes_to_the_action(keys: Sequence[str], digits: list[str]) -> None:
    desk = InboundDesk(reception=Receptionist([Asked("Your PIN?"), Asked("Again?"), Dismissed("Goodbye.")]))
    call, _ = rung(desk, *keys)
    assert desk.reception.asked == [(CALLEE,), *((CALLEE, each) for each in digits)]
    assert call.spoken == ["Your PIN?", "Again?", "Goodbye."]
    assert (call.status, call.seconds > 0) == ("completed", True)


def test_who_is_put_through_has_a_media_socket() -> None:
    desk = InboundDesk(reception=Receptionist([Asked("Your PIN?")]))

    async def keyed(sid: str, sender: str, digits: str) -> Reply:
        return Connected("call-1", desk.token(sid))

    desk.reception.keyed = keyed  # type: ignore[method-assign]  # the token is made of the call's own name
    call, place = rung(desk)
    assert len(desk.lives) == 1
    assert place.carrier.alerts == []
    # Of a call that came in the carrier tells the end alone, and not our name of it.
    assert [(sid, name, status) for sid, name, status, _, _ in desk.statuses] == [(call.sid, "", "completed")]


def test_who_hangs_up_at_the_menu_asks_for_nothing_more() -> None:
    desk = InboundDesk(reception=Receptionist([Asked("Your PIN?")]))
    call, _ = rung(desk, HangUp())
    assert desk.reception.asked == [(CALLEE,)]
    assert call.status == "completed"


@pytest.mark.parametrize(("busy", "status"), [(True, "busy"), (False, "no-answer")])
def test_who_is_rejected_is_not_answered_and_pays_nothing(busy: bool, status: str) -> None:
    desk = InboundDesk(reception=Receptionist([Turned(busy)]))
    call, _ = rung(desk)
    assert (call.status, call.seconds, call.answered_s) == (status, 0, None)
    assert [seconds for *_, seconds, _ in desk.statuses] == [None]
