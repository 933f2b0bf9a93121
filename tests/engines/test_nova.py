"""Deepgram Nova, against an emulator that keeps and breaks its protocol."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.audio.mulaw import silence
from pipeline.engines.base import Partial, Segment, Used
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from tests.emulators.caller import calling, loud
from tests.emulators.nova import CLOSED_AS_SOUND_COMES, FAULTS, KEY, NovaEmulator, Outcome, Plan
from tests.engines.novas import CLOSE, FINALIZE, KEEP_ALIVE, SETTINGS, TEXTS, engine, run, talk


@pytest.mark.parametrize("reported_ms", [180, 300, 420, 660])
def test_each_stretch_is_one_segment_whoever_finds_its_end_first(reported_ms: int) -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await talk(call, reported_ms)
            assert call.finals == TEXTS
            assert call.error is None
            assert not emulator.violations
            assert emulator.records[0].texts == [FINALIZE] * 3 + [CLOSE]

    run(main)


def test_text_is_heard_as_it_grows() -> None:
    async def main() -> None:
        async with NovaEmulator(
            ["One two three four five six seven eight nine ten."], final_ms=1_800
        ) as emulator:
            async with calling(engine(emulator)) as call:
                await call.speak(2_400)
            assert call.told == [
                Partial("One two three four"),
                Partial("One two three four five six seven"),
                Segment("One two three four five six seven eight nine ten."),
            ]

    run(main)


@pytest.mark.parametrize(
    ("name", "reported_ms"),
    [(name, 240) for name in FAULTS]
    + [(name, 420) for name in FAULTS if "end" in name or "finalize" in name],
)
def test_whatever_goes_wrong_is_heard_right_or_an_engine_error(name: str, reported_ms: int) -> None:
    plan = FAULTS[name]

    async def main() -> None:
        async with NovaEmulator(TEXTS, [plan]) as emulator:
            async with calling(engine(emulator)) as call:
                if call.opened:
                    await talk(call, reported_ms)
            await asyncio.sleep(1)
            finals = [text for text in call.finals if text]
            if plan.outcome is Outcome.HEARD:
                assert call.error is None
                assert call.finals == TEXTS
            elif plan.outcome is Outcome.PARTLY:
                assert call.error is None
                assert len(call.finals) == len(TEXTS)
                assert finals[-1] == TEXTS[-1]
            else:
                assert call.error is not None
                assert call.opened == (plan.outcome is Outcome.FAILED)
                assert all(said.startswith(text) for said, text in zip(TEXTS, finals, strict=False))
                assert finals != TEXTS
                assert call.error.retryable == (plan.refuse not in {400, 401, 402, 403, 404})
                assert not any(word in call.error.detail for word in [KEY, "Jordan", "news"])
            assert not emulator.violations
            assert len(emulator.records) == 1
            assert emulator.serving == 0
            assert [each.seconds for each in call.used] == list(range(1, emulator.seconds_billed + 1))

    run(main)


def test_there_are_faults_enough() -> None:
    assert len(FAULTS) >= 30
    assert {plan.outcome for plan in FAULTS.values()} == set(Outcome)


# -- sound and sockets -----------------------------------------------------------------


def test_the_bill_is_what_was_sent() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            async with engine(emulator).open() as ear:
                assert ear.used == Used("nova-3", 0)
                ear.feed(loud(4_000))
                await asyncio.sleep(0.1)
                assert ear.used.seconds == emulator.seconds_billed == 4
                ear.feed(loud(80))
                await asyncio.sleep(0.1)
            assert ear.used.seconds == emulator.seconds_billed == 5
            assert [each async for each in ear.heard()] == [Used("nova-3", 5)]

    run(main)


def test_while_the_phone_rings_a_closed_socket_is_opened_anew() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await asyncio.sleep(34)
                assert call.error is None
                assert len(emulator.records) == 4
                await talk(call)
            assert call.finals == TEXTS
            assert [record.bytes > 0 for record in emulator.records] == [False, False, False, True]
            # Before there was any sound a sign of life counts for nothing.
            assert not any(KEEP_ALIVE in record.texts for record in emulator.records)
            assert call.used[-1].seconds == emulator.seconds_billed
            assert not emulator.violations

    run(main)


def test_sound_that_comes_between_two_sockets_is_sent_on_the_next() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS, [Plan(idle_s=0.5)]) as emulator, calling(engine(emulator)) as call:
            # This vendor closes after 0.5 s; the next socket is opened when a second has passed since the last opening.
            await asyncio.sleep(0.55)
            await call.speak()
            assert call.error is None
            assert call.finals == TEXTS[:1]
            assert [record.bytes for record in emulator.records] == [0, 8 * 1_740]

    run(main)


SENT = 8 * (len(TEXTS) * 2_100 + 1_500) - 320
"""What is sent of a whole talk: all but the end, which fills no chunk."""


@pytest.mark.parametrize("loops", range(0, 40, 3))
def test_sound_that_comes_as_a_silent_socket_is_closed_is_sent_on_the_next(loops: int) -> None:
    """Before the close is known, while it is being acted upon, after that."""

    async def main() -> None:
        async with NovaEmulator(TEXTS, [Plan(idle_s=0.5)]) as emulator, calling(engine(emulator)) as call:
            await asyncio.sleep(0.5)
            for _ in range(loops):
                await asyncio.sleep(0)
            assert call.ear is not None
            call.ear.feed(loud(160))
            await talk(call)
            assert call.error is None
            assert call.finals == TEXTS
            _, second = emulator.records
            # What was said first is heard too, at its place, and paid once.
            assert second.bytes == 8 * 160 + SENT
            assert call.used[-1].seconds == emulator.seconds_billed == second.seconds_billed
            assert not emulator.violations

    run(main)


def test_sound_that_crosses_the_close_on_its_way_is_sent_again() -> None:
    """The vendor has closed for want of sound, and does not know yet that there is some."""

    async def main() -> None:
        async with (
            NovaEmulator(TEXTS, [CLOSED_AS_SOUND_COMES]) as emulator,
            calling(engine(emulator)) as call,
        ):
            await talk(call)
            assert call.error is None
            assert call.finals == TEXTS
            assert [record.bytes for record in emulator.records] == [0, SENT]
            assert call.used[-1].seconds == emulator.seconds_billed
            assert not emulator.violations

    run(main)


def test_sound_that_is_lost_time_and_again_is_a_failure() -> None:
    async def main() -> None:
        plans = [CLOSED_AS_SOUND_COMES] * 3
        async with NovaEmulator(TEXTS, plans) as emulator, calling(engine(emulator)) as call:
            await talk(call)
            assert "1011" in call.detail
            assert len(emulator.records) == 2

    run(main)


def test_a_vendor_who_always_closes_is_asked_once_a_second_and_not_more() -> None:
    async def main() -> None:
        async with (
            NovaEmulator(TEXTS, [Plan(idle_s=0.0)] * 100) as emulator,
            calling(engine(emulator)) as call,
        ):
            await asyncio.sleep(10.5)
            assert call.error is None
            assert len(emulator.records) == 11

    run(main)


def test_a_refusal_while_the_phone_rings_is_told() -> None:
    async def main() -> None:
        plans = [Plan(), FAULTS["handshake_429"]]
        async with NovaEmulator(TEXTS, plans) as emulator, calling(engine(emulator)) as call:
            await asyncio.sleep(11)
            assert "refused: 429" in call.detail

    run(main)


def test_a_pause_of_sound_is_kept_alive() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            async with calling(engine(emulator)) as call:
                await call.speak()
                await asyncio.sleep(30)
                await call.speak()
            assert (call.finals, call.error) == (TEXTS[:2], None)
            assert len(emulator.records) == 1
            assert emulator.records[0].texts.count(KEEP_ALIVE) == 7
            assert not emulator.violations

    run(main)


def test_a_socket_closed_for_want_of_sound_in_the_call_is_a_failure() -> None:
    async def main() -> None:
        settings = replace(SETTINGS, keep_alive_s=60.0)
        async with NovaEmulator(TEXTS) as emulator, calling(engine(emulator, settings)) as call:
            await call.speak()
            await asyncio.sleep(11)
            assert "1011 NET-0001" in call.detail
            assert len(emulator.records) == 1

    run(main)


def test_a_mute_vendor_is_noticed_and_not_paid_any_more() -> None:
    async def main() -> None:
        plan = FAULTS["mute_from_the_start"]
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.say(silence(3_000) + loud(1_400))
            assert not call.detail
            await call.say(loud(200))
            assert "mute" in call.detail
            billed = emulator.records[0].bytes
            await call.say(loud(500))
            assert emulator.records[0].bytes == billed

    run(main)


# -- opening and closing ---------------------------------------------------------------


def test_what_is_asked_for() -> None:
    settings = NovaSettings(
        "k",
        url="wss://example.test",
        endpointing_ms=0,
        smart_format=True,
        keyterms=("Acme Corp",),
        mip_opt_out=True,
    )
    assert settings.address == (
        "wss://example.test/v1/listen?model=nova-3&language=en&encoding=mulaw&sample_rate=8000&channels=1"
        "&interim_results=true&endpointing=0&punctuate=true&smart_format=true&keyterm=Acme%20Corp&mip_opt_out=true"
    )
    assert "sesame" not in repr(replace(settings, key="sesame"))
    assert NovaTranscriber(settings).models == ("nova-3",)
    assert not NovaTranscriber(settings).ends_turns


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (replace(SETTINGS, key="wrong"), 401),
        (replace(SETTINGS, model="flux-general-en"), 400),
        (replace(SETTINGS, model="nova-9", keyterms=("Acme",)), 400),
    ],
)
def test_a_wrong_setting_is_refused_for_good(settings: NovaSettings, status: int) -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            async with calling(engine(emulator, settings)) as call:
                assert not call.opened
            assert f"refused: {status}" in call.detail
            assert emulator.violations

    run(main)


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("nova-3", [("keyterm", "Acme Corp"), ("keyterm", "Jordan: Acme")]),
        ("nova-3-medical", [("keyterm", "Acme Corp"), ("keyterm", "Jordan: Acme")]),
        ("nova-2", [("keywords", "Acme"), ("keywords", "Corp"), ("keywords", "Jordan")]),
        ("nova-2-phonecall", [("keywords", "Acme"), ("keywords", "Corp"), ("keywords", "Jordan")]),
    ],
)
def test_models_before_the_third_are_told_words_not_terms(model: str, sent: list[tuple[str, str]]) -> None:
    """They refuse terms for good. What follows a colon would be a weight to them."""

    async def main() -> None:
        settings = replace(SETTINGS, model=model, keyterms=("Acme Corp", "Jordan: Acme"))
        async with NovaEmulator(TEXTS) as emulator, calling(engine(emulator, settings)) as call:
            await call.speak()
            assert call.finals == TEXTS[:1]
            query = emulator.records[0].query
            assert [each for each in query if each[0].startswith("key")] == sent
            assert not emulator.violations

    run(main)


@pytest.mark.parametrize("name", ["good", "mute_from_the_start"])
def test_closing_is_fast_and_says_so(name: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with NovaEmulator(TEXTS, [FAULTS.get(name, Plan())]) as emulator:
            async with calling(engine(emulator)) as call:
                await call.say(loud(300))
                assert call.ear is not None
                call.ear.voice(False)
                began = loop.time()
            assert loop.time() - began < 0.1
            await asyncio.sleep(1)
            assert call.error is None
            assert emulator.records[0].texts == [CLOSE]
            assert emulator.serving == 0

    run(main)


def test_a_call_cancelled_while_the_phone_rings_closes_its_socket() -> None:
    async def main() -> None:
        async def forever(emulator: NovaEmulator) -> None:
            async with engine(emulator).open() as ear:
                async for _ in ear.heard():
                    pass

        async with NovaEmulator(TEXTS) as emulator:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(forever(emulator))
                await asyncio.sleep(0.5)
                assert emulator.serving == 1
                task.cancel()
            await asyncio.sleep(20)
            assert emulator.serving == 0
            assert len(emulator.records) == 1

    run(main)


def test_a_call_cancelled_before_the_handshake_is_answered_ends_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with NovaEmulator(TEXTS, [FAULTS["handshake_hangs"]]) as emulator:
            with suppress(TimeoutError):
                async with asyncio.timeout(1), engine(emulator).open():
                    raise AssertionError("opened")
            assert loop.time() == pytest.approx(1, abs=0.1)

    run(main)
