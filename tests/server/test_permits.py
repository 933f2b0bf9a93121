"""How a rule of the guard reaches whoever asked: its code, its reason, and how long to wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import Refused
from pipeline.core.guard import Purpose, QuietHours
from server import permits
from server.calls.live import open_desk
from server.permits import hours, rules
from server.settings import Settings
from storage import opt_outs, pricing, users
from tests.server.rig import PHONE, LoopClock, ManualClock, RecordingCarrier, Rig, running, settings
from tests.server.test_placing import ready

SCRIPTED = {"stt_engine": ("scripted",), "llm_engine": ("scripted",), "tts_engine": ("scripted",)}
HOUR, FIVE = 3600, 5 * 3600
REAL = {
    "twilio_account_sid": "AC" + "0" * 32, "twilio_auth_token": "t", "twilio_phone_number": "+12025550100",
}  # fmt: skip


async def ask(rig: Rig, **more: object) -> tuple[int, str, str, int]:
    """What an order of Ann's was answered: status, code, reason, seconds to wait."""
    login = await rig.login("ann@example.com", "correct horse battery")
    answer = await rig.http.post(
        "/api/calls", json={"persona_id": "brad", **more}, headers={"authorization": f"Bearer {login.json()['token']}"}
    )  # fmt: skip
    problem = answer.json()
    return (
        answer.status_code, problem.get("code", ""), problem.get("reason", ""),
        int(answer.headers.get("retry-after", 0)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after_s", "given", "refused"),
    [
        (0, {"quiet_hours": "21:00-08:00"}, (403, "quiet_hours", "quiet", HOUR)),
        (FIVE, {"dial_price_ceiling": "0.01"}, (403, "not_allowed_number", "too_dear", 0)),
        (FIVE, {"operator_country": ("DE",)}, (403, "not_allowed_number", "country", 0)),
        (181 * 86_400 + FIVE, {}, (403, "phone_not_verified", "stale", 0)),
    ],
)
async def test_a23_a25_a_rule_is_told_with_its_reason(
    tmp_path: Path, after_s: int, given: dict[str, object], refused: tuple[int, str, str, int]
) -> None:
    """The clock stands at noon UTC, seven in the morning in Washington."""
    async with running(settings(tmp_path, **SCRIPTED), open_desk, RecordingCarrier(), LoopClock()) as rig:
        await ready(rig)
    carrier = RecordingCarrier()
    async with running(settings(tmp_path, **SCRIPTED, **given), open_desk, carrier, LoopClock()) as rig:
        rig.clock.move(after_s)
        status, code, reason, wait = await ask(rig)
        assert (status, code, reason) == refused[:3]
        assert abs(wait - refused[3]) <= 2
        assert carrier.dialled == []
        assert (await ask(rig, channel="browser"))[0] == 202, "nothing rings in a browser"


@pytest.mark.parametrize(
    ("given", "reason", "wait"),
    [
        ({"dial_gap_seconds": 60}, "too_soon", 60),
        ({"dials_per_number_hourly": 1}, "number_hourly", HOUR),
        ({"dials_per_number_daily": 1}, "number_daily", 24 * HOUR),
        ({"dials_per_user_hourly": 1}, "user_hourly", HOUR),
    ],
)
async def test_how_often_a_phone_is_rung(
    tmp_path: Path, given: dict[str, int], reason: str, wait: int
) -> None:
    carrier = RecordingCarrier()
    more = {**SCRIPTED, **given, "max_calls_per_number": 9, "max_calls_per_user": 9}
    async with running(settings(tmp_path, **more), open_desk, carrier, LoopClock()) as rig:
        await ready(rig)
        assert (await ask(rig))[0] == 202
        status, code, why, seconds = await ask(rig)
        assert (status, code, why) == (429, "rate_limited", reason)
        assert wait - 5 <= seconds <= wait
        rig.clock.move(wait)
        assert (await ask(rig))[0] == 202


async def test_a_number_that_was_lost_is_rung_no_more(tmp_path: Path) -> None:
    """Also one that was rung before, so that it is no stranger."""
    carrier = RecordingCarrier()
    async with running(settings(tmp_path, **SCRIPTED), open_desk, carrier, LoopClock()) as rig:
        ann = await ready(rig)
        assert (await ask(rig))[0] == 202
        await (await rig.register("bob@example.com")).verify_phone(PHONE)
        rig.clock.move(HOUR)
        dialled = len(carrier.dialled)
        assert (await ask(rig))[:3] == (403, "phone_not_verified", "unverified")
        await ann.verify_phone("+12025550143")
        assert len(carrier.dialled) == dialled


async def test_calls_in_the_browser_count_among_those_that_go_on(tmp_path: Path) -> None:
    given = settings(tmp_path, **SCRIPTED, max_calls_per_user=2)
    async with running(given, open_desk, RecordingCarrier(), LoopClock()) as rig:
        await ready(rig)
        for _ in range(2):
            assert (await ask(rig, channel="browser"))[0] == 202
        assert (await ask(rig, channel="browser"))[:3] == (409, "call_in_progress", "user_busy")
        assert (await ask(rig))[:3] == (409, "call_in_progress", "user_busy")


def test_limits_hold_where_phones_are_real_and_are_out_of_reach_where_none_rings() -> None:
    simulated, real = rules(Settings()), rules(Settings.model_validate(REAL))
    assert (real.number_hourly, real.number_daily, real.user_hourly) == (3, 8, 10)
    assert (real.gap.total_seconds(), real.quiet, real.fictional) == (60, QuietHours(21 * 60, 8 * 60), False)
    assert simulated.quiet == QuietHours(0, 0)
    assert (simulated.gap.total_seconds(), simulated.fictional) == (0, True)
    assert simulated.number_hourly > 10**6
    assert rules(Settings.model_validate({"quiet_hours": "22:30-07:15"})).quiet == hours("22:30-07:15")
    assert hours("22:30-07:15") == QuietHours(22 * 60 + 30, 7 * 60 + 15)


@pytest.mark.parametrize(("waited", "asked"), [(1, False), (2, True), (60, True), (61, False)])
async def test_a28_a_leave_that_waited_is_asked_for_anew(tmp_path: Path, waited: int, asked: bool) -> None:
    """One that is too old is not: the carrier does not take it."""
    clock = ManualClock()
    async with running(settings(tmp_path, **SCRIPTED), clock=clock) as rig:
        await (await rig.register()).verify_phone()
        database, given = rig.parts.database, rig.parts.settings
        async with database.write() as tx:
            person = await users.by_number(tx, PHONE)
            assert person is not None
            rows = await pricing.current(tx, clock.utc(), given.price_list)
            phone = await permits.phone_of(tx, person.id, rows, clock.utc())
            permit = phone.permit(Purpose.ORDER, given, clock.utc(), beside=0)
        clock.move(waited)
        assert (await permits.fresh(database, permit, given, clock) is not permit) is asked
        async with database.write() as tx:
            await opt_outs.add(tx, PHONE, "sms", clock.utc())
        if asked:
            with pytest.raises(Refused, match="no more calls"):
                await permits.fresh(database, permit, given, clock)
