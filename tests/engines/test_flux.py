"""Deepgram Flux, against an emulator that keeps and breaks its protocol.

Long because it goes through one vendor's faults, each in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from pipeline.audio.mulaw import silence
from pipeline.clock import run_virtual
from pipeline.engines.base import Eager, Hearing, Partial, Resumed, Turn, Used
from pipeline.engines.deepgram.flux import FluxSettings, FluxTranscriber, FluxTurns, _Message
from tests.emulators.caller import Call, calling, loud
from tests.emulators.flux import FAULTS, KEY, FluxEmulator, Outcome, Plan

TEXTS = ["Hi Sarah, this is Jordan.", "I have news.", "What do you think about it?"]
SETTINGS = FluxSettings(KEY, eager_eot_threshold=0.4, eot_timeout_ms=500, mute_s=2.0)


def run(check: Callable[[], Coroutine[object, object, None]]) -> None:
    run_virtual(check(), grace=0.001)


def engine(emulator: FluxEmulator, settings: FluxSettings = SETTINGS) -> FluxTranscriber:
    return FluxTranscriber(replace(settings, url=emulator.url))


async def talk(call: Call, turns: int = len(TEXTS)) -> None:
    """Turns, and a pause in which whatever is wrong shows."""
    for _ in range(turns):
        await call.speak(step_ms=60)
    await call.say(silence(2_520), step_ms=60)


def keeps_the_eager_promise(told: list[Hearing]) -> bool:
    """After `Eager` comes a `Turn` with the same text, or `Resumed` first."""
    eager = None
    for each in told:
        match each:
            case Eager(text):
                if eager is not None:
                    return False
                eager = text
            case Resumed():
                if eager is None:
                    return False
                eager = None
            case Turn(text):
                if eager is not None and eager != text:
                    return False
                eager = None
            case _:
                if eager is not None:
                    return False
    return True


def test_the_promise_is_really_looked_at() -> None:
    assert keeps_the_eager_promise(
        [Eager("a"), Turn("a"), Eager("b"), Resumed(), Partial("b c"), Turn("b c")]
    )
    assert not keeps_the_eager_promise([Eager("a"), Turn("b")])
    assert not keeps_the_eager_promise([Eager("a"), Partial("b")])
    assert not keeps_the_eager_promise([Resumed()])
    assert not keeps_the_eager_promise([Eager("a"), Eager("a")])


def test_turns_are_heard_as_they_grow() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await talk(call, 1)
            assert call.told == [
                Partial("Hi"),
                Partial("Hi Sarah,"),
                Partial("Hi Sarah, this"),
                Eager("Hi Sarah, this is Jordan."),
                Turn("Hi Sarah, this is Jordan."),
            ]
            assert call.error is None
            assert not emulator.violations

    run(main)


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_goes_wrong_is_heard_right_or_an_engine_error(name: str) -> None:
    plan = FAULTS[name]

    async def main() -> None:
        async with FluxEmulator(TEXTS, [plan]) as emulator:
            async with calling(engine(emulator)) as call:
                if call.ear is not None:
                    await talk(call)
            await asyncio.sleep(1)
            finals = [text for text in call.finals if text]
            if plan.outcome is Outcome.HEARD:
                assert call.error is None
                assert finals == TEXTS
            elif plan.outcome is Outcome.PARTLY:
                assert call.error is None
                assert len(call.finals) == len(TEXTS)
                assert finals[-2:] == TEXTS[-2:]
            else:
                assert call.error is not None
                assert (call.ear is None) == (plan.outcome is Outcome.REFUSED)
                assert finals == TEXTS[: len(finals)]
                assert len(finals) < len(TEXTS)
                assert call.error.retryable == (plan.refuse not in {400, 401, 402, 403, 404})
                assert not any(word in call.error.detail for word in [KEY, "Jordan", "news"])
            assert keeps_the_eager_promise(call.told)
            assert not emulator.violations
            (record,) = emulator.records
            assert emulator.serving == 0
            assert [each.seconds for each in call.used] == list(range(1, record.seconds_billed + 1))

    run(main)


def test_there_are_faults_enough() -> None:
    assert len(FAULTS) >= 30
    assert {plan.outcome for plan in FAULTS.values()} == set(Outcome)


def test_without_eager_ends_a_turn_just_ends() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS, [FAULTS["three_resumed"]]) as emulator:
            async with calling(engine(emulator, replace(SETTINGS, eager_eot_threshold=None))) as call:
                await talk(call)
            assert call.finals == TEXTS
            assert not any(isinstance(each, Eager | Resumed) for each in call.told)

    run(main)


def test_a_caller_who_goes_on_resumes_the_turn() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await call.say(loud(400) + silence(300) + loud(400) + silence(600))
            assert call.finals == TEXTS[:1]
            assert call.told[1:] == [Eager(TEXTS[0]), Resumed(), Eager(TEXTS[0]), Turn(TEXTS[0])]

    run(main)


# -- sound -----------------------------------------------------------------------------


def test_sound_leaves_in_chunks_but_at_once_where_the_end_of_a_turn_is_decided() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator, calling(engine(emulator)) as call:
            await call.say(silence(800))
            assert emulator.records[0].chunks == [640] * 10
            await call.say(loud(820))
            assert emulator.records[0].chunks[10:] == [640] * 10
            await call.say(silence(20))
            # What waited leaves with the first frame of silence, and from there on nothing waits.
            assert emulator.records[0].chunks[20:] == [320]
            await call.say(silence(580))
            assert emulator.records[0].chunks[21:] == [160] * 29
            await call.say(silence(800))
            assert emulator.records[0].chunks[50:] == [640] * 10

    run(main)


def test_the_bill_is_what_was_sent() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with engine(emulator).open() as ear:
                assert ear.used == Used("flux-general-en", 0)
                ear.feed(loud(640))
                await asyncio.sleep(0.1)
                assert ear.used.seconds == emulator.seconds_billed == 1
                ear.feed(loud(3_360))
                await asyncio.sleep(0.1)
                assert emulator.records[0].bytes == 32_000
                assert ear.used.seconds == emulator.seconds_billed == 4
                ear.feed(loud(80))
                await asyncio.sleep(0.1)
            assert ear.used.seconds == emulator.seconds_billed == 5
            # Not fetched before the ear was closed, and still to be had.
            assert [each async for each in ear.heard()] == [Used("flux-general-en", 5)]
            assert [each async for each in ear.heard()] == []

    run(main)


def test_a_stuck_socket_loses_the_oldest_sound() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                assert call.ear is not None
                for start in range(15):
                    call.ear.feed(bytes([0x80 + start]) * 8_000)
                await asyncio.sleep(0.1)
            assert emulator.seconds_billed == 10
            assert not emulator.violations

    run(main)


def test_a_socket_waits_for_its_first_sound_while_the_phone_rings() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await asyncio.sleep(150)
                await talk(call, 1)
            assert call.finals == TEXTS[:1]
            assert len(emulator.records) == 1
            assert emulator.records[0].texts == ['{"type":"CloseStream"}']

    run(main)


def test_silence_for_long_is_no_failure() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await call.say(silence(8_000), step_ms=100)
                await call.speak()
            assert (call.finals, call.error) == (TEXTS[:1], None)

    run(main)


def test_a_pause_of_sound_in_an_open_turn_is_no_stall() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await call.say(loud(400))
                await asyncio.sleep(20)
                await call.say(loud(400) + silence(600))
            assert (call.finals, call.error) == (TEXTS[:1], None)

    run(main)


def test_a_stall_is_noticed_in_time_and_stops_the_bill() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS, [FAULTS["mute_after_start"]]) as emulator:
            settings = replace(SETTINGS, mute_s=None)
            async with calling(engine(emulator, settings)) as call:
                await call.say(loud(500) + silence(1_500))
                assert not call.detail
                await call.say(silence(400))
                assert "nothing new" in call.detail
                billed = emulator.records[0].bytes
                await call.say(loud(1_000))
                assert emulator.records[0].bytes == billed

    run(main)


def test_an_open_turn_is_given_up_when_its_end_is_overdue_whatever_else_is_told() -> None:
    async def main() -> None:
        plan = replace(FAULTS["turn_without_end"], rounds=2, changes=True)
        async with FluxEmulator(TEXTS, [plan]) as emulator:
            settings = replace(SETTINGS, stall_s=60.0)
            async with calling(engine(emulator, settings)) as call:
                await call.say(loud(900) + silence(1_900))
                assert not call.detail
                await call.say(silence(300))
                assert "open after 2 s of silence" in call.detail
                assert call.finals == TEXTS[:1]

    run(main)


def test_a_mute_vendor_is_noticed_by_a_short_sentence_but_not_by_a_click() -> None:
    async def main() -> None:
        plan = FAULTS["mute_from_the_start"]
        async with FluxEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.say(silence(3_000) + loud(200) + silence(3_000))
            assert not call.detail
            await call.say(loud(300))
            assert "mute" in call.detail

    run(main)


def test_an_open_turn_of_which_nothing_is_told_is_given_up_though_nobody_speaks_any_more() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS, [FAULTS["mute_before_end"]]) as emulator:
            settings = replace(SETTINGS, eot_timeout_ms=5_000)
            async with calling(engine(emulator, settings)) as call:
                await call.say(loud(900) + silence(1_900))
                assert not call.detail
                await call.say(silence(700))
                assert "mute" in call.detail

    run(main)


# -- opening and closing ---------------------------------------------------------------


def test_what_is_asked_for() -> None:
    settings = FluxSettings(
        "k",
        url="wss://example.test/",
        model="flux-general-multi",
        eot_threshold=1.0,
        eager_eot_threshold=0.0,
        keyterms=("Acme Corp", "Jordan"),
        language_hints=("en", "de"),
        mip_opt_out=True,
    )
    assert settings.address == (
        "wss://example.test/v2/listen?model=flux-general-multi&encoding=mulaw&sample_rate=8000"
        "&eot_threshold=1&eager_eot_threshold=0&eot_timeout_ms=5000&keyterm=Acme%20Corp&keyterm=Jordan"
        "&language_hint=en&language_hint=de&mip_opt_out=true"
    )
    assert "threshold" not in FluxSettings("k").address
    assert "sesame" not in repr(replace(settings, key="sesame"))
    assert FluxSettings("k").stalls_after_s == 20.0
    assert FluxTranscriber(settings).models == ("flux-general-multi",)
    assert FluxTranscriber(settings).ends_turns


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (replace(SETTINGS, key="wrong"), 401),
        (replace(SETTINGS, model="nova-3"), 400),
        (replace(SETTINGS, eager_eot_threshold=0.9, eot_threshold=0.6), 400),
        (replace(SETTINGS, eot_timeout_ms=100), 400),
        (replace(SETTINGS, language_hints=("en",)), 400),
        (replace(SETTINGS, keyterms=("",)), 400),
    ],
)
def test_a_wrong_setting_is_refused_for_good(settings: FluxSettings, status: int) -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            async with calling(engine(emulator, settings)) as call:
                assert not call.opened
            assert f"refused: {status}" in call.detail
            assert emulator.violations

    run(main)


def test_a_closed_door_is_an_engine_error() -> None:
    async def main() -> None:
        async with FluxEmulator(TEXTS) as emulator:
            address = emulator.url
        async with calling(FluxTranscriber(replace(SETTINGS, url=address))) as call:
            pass
        assert call.error is not None
        assert call.error.retryable

    run(main)


@pytest.mark.parametrize("plan", [Plan(), FAULTS["mute_from_the_start"]], ids=["good", "mute"])
def test_closing_is_fast_and_says_so(plan: Plan) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with FluxEmulator(TEXTS, [plan]) as emulator:
            async with calling(engine(emulator)) as call:
                await call.say(loud(300))
                began = loop.time()
            assert loop.time() - began < 0.1
            assert call.error is None
            await asyncio.sleep(0.01)
            assert emulator.records[0].texts == ['{"type":"CloseStream"}']
            assert emulator.serving == 0

    run(main)


def test_a_cancelled_call_closes_its_socket() -> None:
    async def main() -> None:
        async def forever(emulator: FluxEmulator) -> None:
            async with engine(emulator).open() as ear:
                async for _ in ear.heard():
                    pass

        async with FluxEmulator(TEXTS) as emulator:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(forever(emulator))
                await asyncio.sleep(0.5)
                assert emulator.serving == 1
                task.cancel()
            await asyncio.sleep(0.01)
            assert emulator.serving == 0
            assert emulator.records[0].texts == ['{"type":"CloseStream"}']

    run(main)


# -- turns, message by message ---------------------------------------------------------


def turn(event: str, text: str | None = None, index: int | None = 0) -> _Message:
    return _Message("TurnInfo", event, index, text)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([turn("StartOfTurn", ""), turn("Update", ""), turn("EndOfTurn", "")], [Turn("")]),
        ([turn("StartOfTurn"), turn("EndOfTurn")], [Turn("")]),
        (
            [turn("StartOfTurn", "A"), turn("Update", "A"), turn("EndOfTurn", "A b.")],
            [Partial("A"), Turn("A b.")],
        ),
        ([turn("EndOfTurn", "A"), turn("EndOfTurn", "A"), turn("Update", "A")], [Turn("A")]),
        ([turn("EndOfTurn", "A", None), turn("EndOfTurn", "", None)], [Turn("A")]),
        ([turn("TurnResumed", "A")], [Partial("A")]),
        ([turn("EagerEndOfTurn", "A"), turn("EndOfTurn", "B")], [Eager("A"), Resumed(), Turn("B")]),
        (
            [turn("EagerEndOfTurn", "A"), turn("Update", "A"), turn("Update", "A b")],
            [Eager("A"), Resumed(), Partial("A b")],
        ),
        ([turn("EagerEndOfTurn", "A"), turn("EagerEndOfTurn", "A")], [Eager("A")]),
        (
            [turn("EagerEndOfTurn", "A"), turn("EagerEndOfTurn", "B")],
            [Eager("A"), Resumed(), Eager("B")],
        ),
        # The end of turn 0 got lost.
        (
            [turn("EagerEndOfTurn", "A"), turn("StartOfTurn", "B", 1), turn("EndOfTurn", "A", 0)],
            [Eager("A"), Turn("A"), Partial("B")],
        ),
        ([turn("EagerEndOfTurn", "A"), turn("Update", "", 1)], [Eager("A"), Turn("A")]),
    ],
)
def test_what_messages_mean(messages: list[_Message], expected: list[Hearing]) -> None:
    turns = FluxTurns()
    assert [hearing for message in messages for hearing in turns.take(message)] == expected
