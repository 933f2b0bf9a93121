"""Whole calls: the exchange rings a served application over real sockets, on a fast clock."""

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.carriers.callee import (
    Answer,
    Busy,
    HangUp,
    Interrupt,
    Machine,
    NoAnswer,
    Press,
    Reject,
    Script,
    Silence,
    Speak,
    Vanish,
)
from pipeline.carriers.exchange import KEPT
from pipeline.carriers.phonecall import PhoneCall, Sms
from pipeline.carriers.simulated import SimulatedCarrier
from pipeline.clock import Clock
from pipeline.core.errors import CarrierError
from pipeline.core.terms import EndReason
from pipeline.ports import Line
from tests.permits import permit
from tests.twilio.rig import (
    ACCOUNT,
    AUTH_TOKEN,
    CALLEE,
    Conversation,
    FakeDesk,
    Site,
    run_scaled,
    site,
    tone,
)


async def _one_call(script: Script, desk: FakeDesk | None = None, ring_s: int = 25) -> tuple[Site, PhoneCall]:
    async with site(script, desk=desk) as place:
        leg = await place.carrier.dial(place.order(ring_s=ring_s), permit(CALLEE))
        call = place.carrier.calls[leg.sid]
        await call.over.wait()
    return place, call


def _statuses(desk: FakeDesk) -> list[str]:
    return [status for _, _, status, _, _ in sorted(desk.statuses, key=lambda row: row[4])]


def test_a_conversation_from_ring_to_hang_up() -> None:
    script = Script(Answer(400), (Speak(tone(500)), Speak(tone(300)), Press("5"), HangUp()))
    place, call = run_scaled(_one_call(script))
    live = place.desk.lives[0]
    assert _statuses(place.desk) == ["initiated", "ringing", "in-progress", "completed"]
    assert place.desk.answers == [("call-1", call.sid)]
    assert (call.status, place.carrier.alerts) == ("completed", [])
    assert live.ended == [EndReason.CALLER_HUNG_UP]
    assert live.digits == ["5"]
    assert bytes(live.heard).count(tone(500)) >= 1
    assert len(call.callee.heard) == len(call.callee.said)
    assert bytes(call.callee.heard).count(tone(600)) == 1  # the greeting, without a hole
    assert live.marks == [1, 2]
    assert len(call.callee.latencies_ms()) == 1


def test_seconds_are_told_with_the_end() -> None:
    place, call = run_scaled(_one_call(Script(Answer(100), (Speak(tone(900)), HangUp()))))
    final = next(row for row in place.desk.statuses if row[2] == "completed")
    assert final[3] == call.seconds > 0
    earlier = [row[3] for row in place.desk.statuses if row[2] != "completed"]
    assert earlier == [None, None, None]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (Script(Busy(200)), "busy"),
        (Script(Reject(200)), "no-answer"),
        (Script(NoAnswer()), "no-answer"),
        (Script(Answer(60_000)), "no-answer"),
    ],
)
def test_a_call_nobody_takes(script: Script, status: str) -> None:
    place, call = run_scaled(_one_call(script, ring_s=4))
    assert call.status == status
    assert _statuses(place.desk) == ["initiated", "ringing", status]
    assert place.desk.statuses[-1][3] is None
    assert (place.desk.answers, place.desk.lives, call.seconds) == ([], [], 0)


def test_a_desk_that_refuses_hangs_up_at_once() -> None:
    place, call = run_scaled(_one_call(Script(Answer(100)), FakeDesk(accept=False)))
    assert (call.status, place.desk.lives, place.carrier.alerts) == ("completed", [], [])
    assert call.stream is None


def test_a_barge_in_flushes_and_echoes_every_mark() -> None:
    class Hushing(Conversation):
        def __init__(self, line: Line) -> None:
            super().__init__(line, greeting_ms=0, answer_ms=0)
            for _ in range(10):
                self.say(tone(1_000))

        def hear(self, mulaw: bytes) -> None:
            before = self._caller.began
            super().hear(mulaw)
            if before is None and self._caller.began is not None:
                self.line.clear()

    script = Script(Answer(100), (Interrupt(tone(400), after_agent_ms=1_500), HangUp()))
    place, call = run_scaled(_one_call(script, FakeDesk(converse=Hushing)))
    spoken = call.callee.agent.all()
    assert place.desk.lives[0].marks == list(range(1, 11))
    assert len(spoken) == 1
    assert 1_500 <= spoken[0][1] - spoken[0][0] < 4_000  # ten seconds were queued
    assert call.when("clear") > 0


def test_a_broken_socket_ends_the_call_by_the_next_verb() -> None:
    place, call = run_scaled(_one_call(Script(Answer(100), (Speak(tone(200)), Vanish()))))
    assert call.status == "completed"
    assert [alert.code for alert in place.carrier.alerts] == [31903]
    live = place.desk.lives[0]
    assert (live.breaks, live.ended, place.desk.asked) == (1, [], [("call-1", call.sid)])


def test_a_broken_socket_is_replaced_where_the_server_says_so() -> None:
    script = Script(Answer(100), (Speak(tone(200)), Vanish(), Silence(500), HangUp()))
    place, call = run_scaled(_one_call(script, FakeDesk(resumes=True)))
    assert call.status == "completed"
    first, second = place.desk.lives
    assert (first.breaks, first.ended) == (1, [])
    assert (second.breaks, second.ended) == (0, [EndReason.CALLER_HUNG_UP])
    assert [moment.what for moment in call.moments].count("document") == 2


def test_the_time_limit_counts_from_the_answer() -> None:
    async def main() -> None:
        async with site(Script(Answer(2_000))) as place:
            leg = await place.carrier.dial(place.order(limit_s=3), permit(CALLEE))
            call = place.carrier.calls[leg.sid]
            await call.over.wait()
            assert (call.status, call.seconds) == ("completed", 3)
            assert call.moments[-1].at_ms >= 5_000

    run_scaled(main())


@pytest.mark.parametrize(("moment", "status"), [("ringing", "canceled"), ("stream", "completed")])
def test_hanging_up_by_rest(moment: str, status: str) -> None:
    async def main() -> None:
        desk = FakeDesk()
        async with site(Script(Answer(1_000 if status == "canceled" else 50)), desk=desk) as place:
            leg = await place.carrier.dial(place.order(), permit(CALLEE))
            call = place.carrier.calls[leg.sid]
            if status == "completed":
                await desk.until(lambda d: bool(d.lives))
            await place.carrier.hang_up(leg.sid)
            await place.carrier.hang_up(leg.sid)
            await call.over.wait()
            await place.carrier.hang_up(leg.sid)
            assert call.status == status
            assert (await place.carrier.fetch(leg.sid)).status == status
            if desk.lives:
                await desk.lives[0].over.wait()
                assert desk.lives[0].ended == [EndReason.CALLER_HUNG_UP]

    run_scaled(main())


def test_the_server_ends_the_call_by_closing_behind_its_last_sound() -> None:
    class Brief(Conversation):
        def played(self, chunk: int) -> None:
            super().played(chunk)
            self.closing.set()

        closing: asyncio.Event

    async def main() -> None:
        desk = FakeDesk()

        def converse(line: Line) -> Conversation:
            live = Brief(line)
            live.closing = asyncio.Event()
            return live

        desk.converse = converse
        async with site(Script(Answer(50)), desk=desk) as place:
            leg = await place.carrier.dial(place.order(), permit(CALLEE))
            call = place.carrier.calls[leg.sid]
            await desk.until(lambda d: bool(d.lives))
            live = desk.lives[0]
            assert isinstance(live, Brief)
            await live.closing.wait()
            await live.line.close()
            await call.over.wait()
            assert bytes(call.callee.heard).count(tone(600)) == 1
            assert (call.status, place.carrier.alerts) == ("completed", [])
            assert (live.ended, live.breaks) == ([], 0), "whoever closes it knows that"

    run_scaled(main())


def test_the_machine_verdict_comes_by_itself() -> None:
    async def main() -> None:
        desk = FakeDesk()
        script = Script(Answer(50), (Silence(1_500), HangUp()), Machine("machine_end_beep", 900))
        async with site(script, desk=desk) as place:
            leg = await place.carrier.dial(place.order(detect_machine=True), permit(CALLEE))
            await place.carrier.calls[leg.sid].over.wait()
            assert desk.verdicts == [(leg.sid, "machine_end_beep")]
            assert (await place.carrier.fetch(leg.sid)).answered_by == "machine_end_beep"

    run_scaled(main())


def test_callbacks_can_be_lost_doubled_and_late() -> None:
    def delivery(event: str, _sequence: int) -> Sequence[float]:
        return {"initiated": (), "ringing": (0.0, 0.0), "answered": (1.0,)}.get(event, (0.0,))

    async def main() -> list[str]:
        desk = FakeDesk()
        async with site(Script(Answer(50), (HangUp(),)), desk=desk, delivery=delivery) as place:
            await place.carrier.dial(place.order(), permit(CALLEE))
            await desk.until(lambda d: len(d.statuses) == 4)
            return [row[2] for row in desk.statuses]

    assert run_scaled(main()) == ["ringing", "ringing", "completed", "in-progress"]


@pytest.mark.parametrize("error", [TimeoutError, ZeroDivisionError])
def test_a_call_that_fails_in_the_exchange_is_no_other_calls_trouble(error: type[Exception]) -> None:
    def delivery(event: str, _sequence: int) -> Sequence[float]:
        if event == "ringing" and len(calls) == 1:
            raise error
        return (0.0,)

    calls: list[PhoneCall] = []

    async def main() -> list[str]:
        async with site(Script(Answer(50), (HangUp(),)), delivery=delivery) as place:
            for _ in range(2):
                leg = await place.carrier.dial(place.order(), permit(CALLEE))
                calls.append(place.carrier.calls[leg.sid])
                await calls[-1].over.wait()
        return [call.status for call in calls]

    assert run_scaled(main()) == ["failed", "completed"]


def test_leaving_the_exchange_drops_live_calls() -> None:
    async def main() -> FakeDesk:
        desk = FakeDesk()
        async with site(Script(Answer(50)), desk=desk) as place:
            await place.carrier.dial(place.order(), permit(CALLEE))
            await desk.until(lambda d: bool(d.lives))
        return desk

    desk = run_scaled(main())
    assert desk.lives[0].ended == [EndReason.CALLER_HUNG_UP]


def test_only_the_latest_finished_calls_are_kept() -> None:
    async def main() -> None:
        async with site(Script(Busy(10))) as place:
            first, *others = [
                await place.carrier.dial(place.order(), permit(CALLEE)) for _ in range(KEPT + 3)
            ]
            assert len(place.carrier.calls) == KEPT + 3, "a live call is never forgotten"
            for leg in others:
                if (call := place.carrier.calls.get(leg.sid)) is not None:
                    await call.over.wait()
            assert len(place.carrier.calls) == KEPT
            with pytest.raises(CarrierError):
                await place.carrier.fetch(first.sid)
            for number in range(KEPT + 1):
                await place.carrier.send_sms(CALLEE, f"message {number}")
            assert [place.carrier.sms[index].body for index in (0, -1)] == ["message 1", f"message {KEPT}"]

    run_scaled(main())


def test_text_messages_reach_who_listens() -> None:
    async def main() -> None:
        shown: list[Sms] = []
        carrier = SimulatedCarrier(
            clock=Clock(), account_sid=ACCOUNT, auth_token=AUTH_TOKEN, on_sms=shown.append
        )
        async with carrier:
            await carrier.send_sms(CALLEE, "Your code is 123456.")
        assert shown == carrier.sms
        assert (shown[0].to, shown[0].body) == (CALLEE, "Your code is 123456.")

    run_scaled(main())
