"""The ElevenLabs voice against its emulator: what each fault comes to, barge-ins, contexts, reopening.

Long because it goes through one vendor's faults, each in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace

import pytest

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.elevenlabs import (
    CONTEXTS,
    FORGOTTEN_S,
    VOICES,
    ElevenLabsSettings,
    ElevenLabsSpeaker,
    ElevenLabsVoice,
)
from tests.emulators import elevenlabs
from tests.emulators.elevenlabs import FAULTS, ElevenLabs
from tests.emulators.sounding import KEY, Plan, Then, When, only, tone
from tests.engines.saying import NEXT, TEXT, Heard, failed, said

GRACE = 0.001
SETTINGS = ElevenLabsSettings(key=KEY)


def sound(text: str, voice: str = VOICES["sarah"]) -> bytes:
    return tone(voice, text)


@asynccontextmanager
async def opened(vendor: ElevenLabs, voice: str = "sarah") -> AsyncIterator[ElevenLabsVoice]:
    async with ElevenLabsSpeaker(replace(SETTINGS, url=vendor.url)).open(voice) as speaking:
        yield speaking


# -- each fault ------------------------------------------------------------------------


REFUSED = {
    "handshake_401": False,
    "handshake_403": False,
    "handshake_404": False,
    "handshake_429": True,
    "handshake_500": True,
    "handshake_503_once": True,
    "handshake_never_answered": True,
}
"""Faults at the door, and whether they may pass."""

OUTCOMES: dict[str, tuple[Heard, bool | None]] = {
    "slow_first_sound": (Heard.WHOLE, None),
    "too_slow_first_sound": (Heard.NOTHING, True),
    "slow_pieces": (Heard.WHOLE, None),
    "silent_for_ever": (Heard.NOTHING, True),
    "silent_but_over": (Heard.NOTHING, True),
    "stall_in_mid_utterance": (Heard.SOME, True),
    "dropped_before_sound": (Heard.NOTHING, True),
    "dropped_in_mid_utterance": (Heard.SOME, True),
    "dropped_between_utterances": (Heard.WHOLE, None),
    "closed_cleanly_in_mid_utterance": (Heard.SOME, True),
    "closed_going_away_before_sound": (Heard.NOTHING, True),
    "closed_cleanly_between_utterances": (Heard.WHOLE, None),
    "no_end": (Heard.NO_END, True),
    "garbage": (Heard.SOME, True),
    "garbage_between_utterances": (Heard.WHOLE, None),
    "not_an_object": (Heard.SOME, True),
    "not_unicode": (Heard.WHOLE, None),
    "message_too_big": (Heard.SOME, True),
    "unknown_messages": (Heard.WHOLE, None),
    "one_byte_pieces": (Heard.WHOLE, None),
    "one_huge_piece": (Heard.WHOLE, None),
    "quota_told": (Heard.NOTHING, False),
    "quota_told_in_mid_utterance": (Heard.SOME, False),
    "quota_closed": (Heard.NOTHING, False),
    "key_told": (Heard.NOTHING, False),
    "voice_told": (Heard.NOTHING, False),
    "text_too_long_told": (Heard.NOTHING, False),
    "busy_told": (Heard.NOTHING, True),
    "concurrency_told": (Heard.NOTHING, True),
    "contexts_told": (Heard.NOTHING, True),
    "unheard_of_told": (Heard.SOME, True),
    "sound_of_another_context": (Heard.WHOLE, None),
    "input_timeout_between_utterances": (Heard.WHOLE, None),
    "voice_and_model_mismatch": (Heard.NOTHING, True),
    "snake_case": (Heard.WHOLE, None),
    "null_fields": (Heard.WHOLE, None),
    "messages_without_sound": (Heard.WHOLE, None),
    "no_context_named": (Heard.WHOLE, None),
    "late_sound": (Heard.WHOLE, None),
    "bad_base64": (Heard.SOME, True),
    "broken_base64": (Heard.SOME, True),
    "sound_is_a_number": (Heard.SOME, True),
    "binary_sound": (Heard.SOME, True),
}
"""What the utterance that is hit comes to, and whether its failure may pass."""
OF_ONE = {"voice_told", "text_too_long_told"}
"""Failures that say nothing of other voices and texts."""


def test_every_fault_has_an_outcome() -> None:
    assert FAULTS.keys() == REFUSED.keys() | OUTCOMES.keys()


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_at_the_door_shows_when_the_voice_is_opened(fault: str) -> None:
    async def main() -> None:
        async with ElevenLabs(plan=only(FAULTS[fault])) as vendor:
            with pytest.raises(EngineError) as caught:
                async with opened(vendor):
                    pass
            assert caught.value.retryable is REFUSED[fault]
            assert caught.value.of_one is (fault == "handshake_404")
            assert KEY not in caught.value.detail
            async with opened(vendor) as voice:
                assert await said(voice, TEXT) == sound(TEXT)

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_spoils_at_most_its_own_utterance(fault: str) -> None:
    async def main() -> None:
        heard, retryable = OUTCOMES[fault]
        async with ElevenLabs(plan=only(FAULTS[fault]), piece_ms=20) as vendor, opened(vendor) as voice:
            started = Clock().seconds()
            if heard is Heard.WHOLE:
                assert await said(voice, TEXT) == sound(TEXT)
            else:
                part, error = await failed(voice, TEXT)
                assert error.retryable is retryable
                assert error.of_one is (fault in OF_ONE)
                assert KEY not in error.detail
                assert "You cannot" not in error.detail
                assert heard.fits(part, sound(TEXT))
                assert Clock().seconds() - started <= SETTINGS.patience_s + SETTINGS.stall_s
            await asyncio.sleep(0.5)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.characters == len(TEXT + NEXT)
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("fault", OUTCOMES)
def test_barging_in_on_a_fault_spoils_nothing_after_it(fault: str) -> None:
    async def main() -> None:
        plan = only(FAULTS[fault])
        async with ElevenLabs(plan=plan, first_ms=30, piece_ms=20) as vendor, opened(vendor) as voice:
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(0.04):
                    await said(voice, TEXT)
            barged_in_on = TEXT if voice.sent else ""
            # The socket is shared: what breaks it is over before the next is asked for.
            await asyncio.sleep(0.4)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.characters == len(barged_in_on + NEXT)
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_that_stays_does_not_hang_or_leak(fault: str) -> None:
    async def main() -> None:
        async with ElevenLabs(plan=FAULTS[fault]) as vendor, opened(vendor) as voice:
            for _ in range(7):
                if OUTCOMES[fault][0] is Heard.WHOLE:
                    assert await said(voice, NEXT) == sound(NEXT)
                else:
                    await failed(voice, NEXT)
            await asyncio.sleep(2)
            assert vendor.now_open <= 1
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


# -- what is sent ----------------------------------------------------------------------


def test_a_text_is_sent_as_it_is_and_counted() -> None:
    async def main() -> None:
        texts = [TEXT, 'She said: "Naïve?"\n\tYes \\ no. 😀', "x" * 5_000]
        async with ElevenLabs() as vendor, opened(vendor) as voice:
            for text in texts:
                assert await said(voice, f" {text}\n") == sound(text)
            assert [one.text for one in vendor.spoken] == [f"{text} " for text in texts]
            assert vendor.characters == sum(map(len, texts))
            assert (vendor.sockets, vendor.violations) == (1, [])

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("text", ["", " ", "...", "😀", "*** — !\n"])
def test_what_has_no_sound_is_not_sent(text: str) -> None:
    async def main() -> None:
        async with ElevenLabs() as vendor, opened(vendor) as voice:
            assert await said(voice, text) == b""
            assert await said(voice, NEXT) == sound(NEXT)
            assert [one.text for one in vendor.spoken] == [f"{NEXT} "]

    run_virtual(main(), grace=GRACE)


def test_a_persona_has_its_voice_and_an_unknown_one_the_default() -> None:
    async def main() -> None:
        async with ElevenLabs() as vendor:
            settings = replace(
                SETTINGS, url=f"{vendor.url}/", voices={"Zoe": "an id/of?theirs"}, voice="plain"
            )
            speaker = ElevenLabsSpeaker(settings)
            assert speaker.models == ("eleven_flash_v2_5",)
            async with speaker.open("zoE") as voice:
                assert voice.model == "eleven_flash_v2_5"
                assert await said(voice, NEXT) == sound(NEXT, "an id/of?theirs")
            async with speaker.open("sarah") as voice:
                assert await said(voice, NEXT) == sound(NEXT, "plain")
            assert vendor.violations == []
        assert KEY not in repr(settings)

    run_virtual(main(), grace=GRACE)


def test_one_byte_pieces_are_gathered() -> None:
    async def main() -> None:
        async with ElevenLabs(plan=FAULTS["one_byte_pieces"]) as vendor, opened(vendor) as voice:
            sizes = []
            async with aclosing(voice.speak(TEXT)) as pieces:
                sizes = [len(piece) async for piece in pieces]
            assert min(sizes[:-1]) >= 160
            assert sum(sizes) == len(sound(TEXT))

    run_virtual(main(), grace=GRACE)


# -- cancelling ------------------------------------------------------------------------


def test_a_cancelled_utterance_is_not_heard_in_the_next() -> None:
    async def main() -> None:
        async with ElevenLabs(first_ms=80, piece_ms=50) as vendor, opened(vendor) as voice:
            for pieces in (1, 2, 3):
                assert sound(TEXT).startswith(await said(voice, TEXT, pieces))
                assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == 1
            assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("fault", ["snake_case", "null_fields", "messages_without_sound"])
def test_however_messages_are_spelled_each_belongs_to_its_context(fault: str) -> None:
    async def main() -> None:
        async with ElevenLabs(plan=FAULTS[fault], piece_ms=20) as vendor, opened(vendor) as voice:
            for _ in range(3 * CONTEXTS):
                assert sound(TEXT).startswith(await said(voice, TEXT, 2))
                assert await said(voice, NEXT) == sound(NEXT)
                await asyncio.sleep(0.5)
            assert (vendor.sockets, vendor.violations) == (1, [])

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("after_ms", [0, 1, 50, 100, 150])
def test_a_task_that_speaks_can_be_cancelled_at_any_time(after_ms: int) -> None:
    async def main() -> None:
        async with ElevenLabs(first_ms=100, piece_ms=40) as vendor, opened(vendor) as voice:
            for _ in range(3):
                async with asyncio.TaskGroup() as group:
                    speaking = group.create_task(said(voice, TEXT))
                    await asyncio.sleep(after_ms / 1000)
                    speaking.cancel()
                assert speaking.cancelled()
                assert await said(voice, NEXT) == sound(NEXT)
            await asyncio.sleep(10)
            assert all(one.over for one in vendor.spoken)
            assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


def test_rapid_barge_ins_never_reach_the_limit_of_contexts() -> None:
    async def main() -> None:
        # Slower than speech, so that what was cancelled goes on for long.
        async with ElevenLabs(first_ms=50, piece_ms=400) as vendor, opened(vendor) as voice:
            for _ in range(3 * CONTEXTS):
                assert sound(TEXT).startswith(await said(voice, TEXT, 1))
            assert vendor.most_contexts == CONTEXTS < elevenlabs.CONTEXTS
            assert vendor.sockets == 3
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.characters == 3 * CONTEXTS * len(TEXT) + len(NEXT)
            await asyncio.sleep(2)
            assert vendor.now_open == 1
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


def test_contexts_that_ended_make_room() -> None:
    async def main() -> None:
        async with ElevenLabs(first_ms=50, piece_ms=50) as vendor, opened(vendor) as voice:
            for _ in range(3 * CONTEXTS):
                await said(voice, TEXT, 1)
                await asyncio.sleep(1)
            assert vendor.sockets == 1

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(("pause", "sockets"), [(0.0, 2), (FORGOTTEN_S + 10, 1)])
def test_contexts_whose_end_is_never_told_are_forgotten(pause: float, sockets: int) -> None:
    async def main() -> None:
        plan = Plan(when=When.END, then=Then.SKIP, times=CONTEXTS)
        async with ElevenLabs(plan=plan, first_ms=50, piece_ms=50) as vendor, opened(vendor) as voice:
            for _ in range(CONTEXTS):
                await said(voice, TEXT, 1)
            await asyncio.sleep(pause)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == sockets

    run_virtual(main(), grace=GRACE)


# -- the socket ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["silent_for_ever", "stall_in_mid_utterance", "no_end"])
def test_a_socket_on_which_an_utterance_failed_is_not_used_again(fault: str) -> None:
    async def main() -> None:
        async with ElevenLabs(plan=only(FAULTS[fault])) as vendor, opened(vendor) as voice:
            await failed(voice, TEXT)
            await asyncio.sleep(2)
            assert (vendor.sockets, vendor.now_open) == (1, 0)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == 2

    run_virtual(main(), grace=GRACE)


def test_a_long_silence_costs_no_new_socket() -> None:
    async def main() -> None:
        async with ElevenLabs() as vendor, opened(vendor) as voice:
            assert await said(voice, TEXT) == sound(TEXT)
            await asyncio.sleep(900)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == 1

    run_virtual(main(), grace=GRACE)


def test_a_socket_that_died_idle_is_opened_anew() -> None:
    async def main() -> None:
        for fault in ("dropped_between_utterances", "input_timeout_between_utterances"):
            async with ElevenLabs(plan=FAULTS[fault]) as vendor, opened(vendor) as voice:
                for text in (TEXT, NEXT, TEXT):
                    assert await said(voice, text) == sound(text)
                    await asyncio.sleep(30)
                assert vendor.sockets == 3

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(("door", "retryable"), [(Plan(status=401), False), (Plan(hangs=True), True)])
def test_opening_anew_fails_as_opening_does_and_in_time(door: Plan, retryable: bool) -> None:
    async def main() -> None:
        plan = Plan(when=When.AFTER, then=Then.ABORT, times=1)
        async with ElevenLabs(plan=plan) as vendor, opened(vendor) as voice:
            await said(voice, TEXT)
            await asyncio.sleep(1)
            vendor.plan = door
            started = Clock().seconds()
            _, error = await failed(voice, NEXT)
            assert error.retryable is retryable
            assert Clock().seconds() - started <= SETTINGS.patience_s
            vendor.plan = Plan()
            assert await said(voice, NEXT) == sound(NEXT)

    run_virtual(main(), grace=GRACE)


def test_nobody_at_the_address_is_an_engine_error() -> None:
    async def main() -> None:
        async with ElevenLabs() as vendor:
            pass
        with pytest.raises(EngineError) as caught:
            async with opened(vendor):
                pass
        assert caught.value.retryable

    run_virtual(main(), grace=GRACE)


def test_leaving_in_mid_utterance_closes_everything() -> None:
    async def leave(vendor: ElevenLabs) -> None:
        async with opened(vendor) as voice, aclosing(voice.speak(TEXT)) as pieces:
            assert await anext(pieces)
            raise EngineError("of the call")

    async def main() -> None:
        async with ElevenLabs(first_ms=50, piece_ms=500) as vendor:
            with pytest.raises(EngineError, match="of the call"):
                await leave(vendor)
            await asyncio.sleep(1)
            assert vendor.now_open == 0
            assert vendor.violations == []

    run_virtual(main(), grace=GRACE)
