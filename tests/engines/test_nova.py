"""Deepgram Nova, against an emulator that keeps and breaks its protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pipeline.audio.mulaw import silence
from pipeline.clock import run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.base import Hearing, Partial, Segment, Used
from pipeline.engines.deepgram.nova import NovaSettings, NovaText, NovaTranscriber, _Results
from tests.emulators.caller import Call, calling, loud
from tests.emulators.deepgram import Act, Fault, Moment
from tests.emulators.nova import FAULTS, KEY, NovaEmulator, Outcome, Plan

TEXTS = ["Hi Sarah, this is Jordan.", "I have news.", "What do you think about it?"]
SETTINGS = NovaSettings(KEY, mute_s=1.5)
KEEP_ALIVE, FINALIZE, CLOSE = ('{"type":"KeepAlive"}', '{"type":"Finalize"}', '{"type":"CloseStream"}')


def run(check: Callable[[], Coroutine[object, object, None]]) -> None:
    run_virtual(check(), grace=0.001)


def engine(emulator: NovaEmulator, settings: NovaSettings = SETTINGS) -> NovaTranscriber:
    return NovaTranscriber(replace(settings, url=emulator.url))


async def talk(call: Call, reported_ms: int = 240, stretches: int = len(TEXTS)) -> None:
    """Stretches of speech, and a pause in which whatever is wrong shows."""
    for _ in range(stretches):
        await call.speak(1_200, reported_ms=reported_ms, step_ms=60)
    await call.say(silence(1_500), step_ms=60)


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


# -- segments --------------------------------------------------------------------------


def test_an_answer_that_does_not_come_is_waited_for_half_a_second() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with NovaEmulator(TEXTS, [FAULTS["mute_after_interim"]]) as emulator:
            settings = replace(SETTINGS, mute_s=None)
            async with engine(emulator, settings).open() as ear:
                ear.feed(loud(1_100) + silence(240))
                ear.voice(False)
                began = loop.time()
                async for each in ear.heard():
                    if isinstance(each, Segment):
                        assert each == Segment("Hi Sarah, this is")
                        break
                assert loop.time() - began == pytest.approx(0.5)

    run(main)


def test_half_a_sentence_is_no_answer_where_the_vendor_is_silent_about_the_rest() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        plan = FAULTS["mute_after_interim"]
        async with NovaEmulator(TEXTS, [plan]) as emulator, engine(emulator).open() as ear:
            ear.feed(loud(1_250) + silence(240))
            ear.voice(False)
            began = loop.time()
            heard: list[Hearing] = []

            async def listen() -> None:
                async for each in ear.heard():
                    heard.append(each)  # noqa: PERF401  # what came before the failure counts

            with pytest.raises(EngineError, match=r"no answer in 1\.5 s"):
                await listen()
            assert not [each for each in heard if isinstance(each, Segment)]
            assert loop.time() - began == pytest.approx(1.5)

    run(main)


def test_stretches_that_wait_for_a_late_answer_get_it() -> None:
    async def main() -> None:
        plan = Plan(faults=FAULTS["end_late"].faults[1:])
        async with NovaEmulator(TEXTS, [plan], interim_ms=9_000) as emulator:
            settings = replace(SETTINGS, finalize_s=0.2)
            async with calling(engine(emulator, settings)) as call:
                await call.speak(900, 240)
                await call.speak(900, 900)
            assert [call.finals, call.error] == [TEXTS[:2], None]

    run(main)


def test_a_segment_does_not_wait_when_the_vendor_found_the_silence_first() -> None:
    async def main() -> None:
        async with (
            NovaEmulator(TEXTS, [Plan(finalizes=False)]) as emulator,
            calling(engine(emulator)) as call,
        ):
            await call.say(loud(1_200) + silence(400))
            assert not call.finals
            assert call.ear is not None
            call.ear.voice(False)
            await asyncio.sleep(0.01)
            assert call.finals == TEXTS[:1]

    run(main)


def test_stretches_fed_in_one_go_are_answered_in_order() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator, calling(engine(emulator)) as call:
            assert call.ear is not None
            for _ in TEXTS:
                call.ear.feed(loud(1_000) + silence(250))
                call.ear.voice(False)
            await asyncio.sleep(0.6)
            assert call.finals == TEXTS
            assert emulator.records[0].texts == [FINALIZE] * 3

    run(main)


def test_without_sound_there_is_nothing_to_wait_for() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator, calling(engine(emulator)) as call:
            assert call.ear is not None
            call.ear.voice(True)
            call.ear.voice(False)
            await asyncio.sleep(0.01)
            assert call.told == [Segment("")]
            await call.say(silence(2_000))
            call.ear.voice(False)
            await asyncio.sleep(0.6)
            assert call.told == [Segment(""), Segment("")]

    run(main)


def results(text: str, start: float, end: float, **more: object) -> _Results:
    words = text.split()
    each = (end - start) / max(1, len(words))
    timed = [{"word": word, "start": start + number * each} for number, word in enumerate(words)]
    best = {"transcript": text, "words": timed}
    message = {"channel": {"alternatives": [best]}, "start": start, "duration": end - start, **more}
    return msgspec.convert(message, _Results)


def test_words_are_neither_lost_nor_said_twice_across_a_segment_that_could_not_wait() -> None:
    text = NovaText()
    assert text.take(results("one two", 0, 1, is_final=True)) == Partial("one two")
    assert text.take(results("three", 1, 2)) == Partial("one two three")
    assert text.end() == Segment("one two three")
    # The final text of what was told already, with two words of what comes next.
    assert text.take(results("three four five", 1, 4, is_final=True)) == Partial("four five")
    assert text.take(results("three four five", 1, 4, is_final=True)) is None
    assert text.take(results("six", 4, 5)) == Partial("four five six")
    assert text.end() == Segment("four five six")
    assert text.take(results("six", 4, 5, is_final=True)) is None
    assert text.end() == Segment("")


def test_words_that_were_not_final_stand_where_the_result_that_makes_them_so_is_left_out() -> None:
    text = NovaText()
    assert text.take(results("one two", 0, 1)) == Partial("one two")
    assert text.take(results("", 1.6, 1.6, is_final=True, from_finalize=True)) is None
    assert text.end() == Segment("one two")
    assert text.take(results("three", 1.6, 2)) == Partial("three")
    assert text.take(results("four", 2.5, 3)) == Partial("three four")
    assert text.end() == Segment("three four")


LEFT_OUT = "deepgram nova left out what was said"


@pytest.mark.parametrize(
    ("loud_ms", "told"),
    [(1_200, [Partial("Hi Sarah, this is")]), (600, []), (240, [])],
    ids=["told in part", "never told", "one word"],
)
def test_an_end_that_is_left_out_is_a_failure_as_soon_as_another_result_gives_it_away(
    loud_ms: int, told: list[Hearing]
) -> None:
    async def main() -> None:
        async with (
            NovaEmulator(TEXTS, [FAULTS["end_skipped"]]) as emulator,
            calling(engine(emulator)) as call,
        ):
            # The vendor finds the silence before we do: all that is left to answer to Finalize is nothing.
            await call.say(loud(loud_ms) + silence(400))
            assert call.ear is not None
            call.ear.voice(False)
            await asyncio.sleep(0.01)
            assert [call.told, call.detail] == [told, LEFT_OUT]

    run(main)


def test_a_result_that_is_not_final_gives_it_away_too() -> None:
    async def main() -> None:
        plan = Plan(faults=(Fault(Moment.END, Act.SKIP),))
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.say(loud(700) + silence(1_500))
            assert call.detail == LEFT_OUT

    run(main)


def test_an_answer_that_came_too_late_to_count_is_not_missed() -> None:
    async def main() -> None:
        plan = Plan(faults=(Fault(Moment.FINALIZED, Act.SKIP),))
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.speak(1_100)
            await call.speak(1_100)
            assert [call.finals, call.error] == [["Hi Sarah, this is", TEXTS[1]], None]

    run(main)


def test_a_late_answer_does_not_wait_for_what_is_said_after_it() -> None:
    async def main() -> None:
        plan = Plan(faults=(Fault(Moment.FINALIZED, Act.SKIP),))
        async with NovaEmulator(TEXTS, [plan]) as emulator, calling(engine(emulator)) as call:
            await call.speak(1_100, 240)
            await call.say(loud(600))
            assert [call.finals, call.error] == [["Hi Sarah, this is"], None]

    run(main)


def test_a_result_without_words_tells_nothing_of_what_was_said() -> None:
    async def main() -> None:
        faults = (Fault(Moment.INTERIM, Act.EMPTY), Fault(Moment.FINALIZED, Act.SKIP))
        async with NovaEmulator(TEXTS, [Plan(faults=faults)]) as emulator, calling(engine(emulator)) as call:
            await call.speak(1_000, 240)
            await asyncio.sleep(2)
            assert not call.finals
            assert "no answer in 1.5 s" in call.detail

    run(main)


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
        (replace(SETTINGS, model="nova-2", keyterms=("Acme",)), 400),
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


# -- the emulator itself ---------------------------------------------------------------


async def raw(emulator: NovaEmulator, *messages: str | bytes | float) -> list[dict[str, object]]:
    """What the emulator answers to these; a number is a pause."""
    answers = []
    headers = {"Authorization": f"Token {KEY}"}
    address = f"{emulator.url}/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        for message in messages:
            if isinstance(message, float):
                await asyncio.sleep(message)
            else:
                await socket.send(message)
        with suppress(ConnectionClosed):
            while True:
                answers.append(json.loads(await socket.recv()))
        answers.append({"code": socket.close_code})
    return answers


def test_the_emulator_wants_sound_in_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with NovaEmulator(TEXTS) as emulator:
            assert await raw(emulator, 6.0, KEEP_ALIVE) == [{"code": 1011}]
            assert loop.time() == pytest.approx(10, abs=0.1)
            assert await raw(emulator, silence(20), 6.0, KEEP_ALIVE) == [{"code": 1011}]
            assert loop.time() == pytest.approx(26, abs=0.1)

    run(main)


def test_the_emulator_finalizes_and_says_farewell() -> None:
    async def main() -> None:
        async with NovaEmulator(TEXTS) as emulator:
            answer, farewell, end = await raw(emulator, loud(200), FINALIZE, CLOSE)
            assert (answer["type"], answer["is_final"], answer["from_finalize"]) == ("Results", True, True)
            assert (farewell["type"], farewell["duration"], end) == ("Metadata", 0.2, {"code": 1000})
            assert await raw(emulator, '{"type":"ForceEndTurn"}') == [{"code": 1008}]
            assert len(emulator.violations) == 1

    run(main)
