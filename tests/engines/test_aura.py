"""The Aura voice against its emulator: what each fault comes to, clearing, reopening.

Long because it goes through one vendor's faults, each in turn.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.deepgram.aura import LONGEST_SPEAK, VOICES, AuraSettings, AuraSpeaker, AuraVoice, split
from tests.emulators.aura import FAULTS, STALE, Aura, AuraPlan
from tests.emulators.sounding import KEY, Plan, Then, When, only, tone
from tests.engines.saying import NEXT, TEXT, Heard, failed, said

GRACE = 0.001
SETTINGS = AuraSettings(key=KEY)


def sound(text: str, voice: str = VOICES["sarah"]) -> bytes:
    return tone(voice, text)


@asynccontextmanager
async def opened(vendor: Aura, voice: str = "sarah") -> AsyncIterator[AuraVoice]:
    async with AuraSpeaker(replace(SETTINGS, url=vendor.url)).open(voice) as speaking:
        yield speaking


# -- each fault ------------------------------------------------------------------------


REFUSED = {
    "handshake_401": False,
    "handshake_402": False,
    "handshake_403": False,
    "handshake_404": False,
    "handshake_429": True,
    "handshake_500": True,
    "handshake_503_once": True,
    "handshake_never_answered": True,
}
"""Faults at the door, and whether they may pass."""

OUTCOMES = {
    "slow_first_sound": Heard.WHOLE,
    "too_slow_first_sound": Heard.NOTHING,
    "slow_pieces": Heard.WHOLE,
    "silent_for_ever": Heard.NOTHING,
    "silent_but_over": Heard.NOTHING,
    "stall_in_mid_utterance": Heard.SOME,
    "dropped_before_sound": Heard.NOTHING,
    "dropped_in_mid_utterance": Heard.SOME,
    "dropped_between_utterances": Heard.WHOLE,
    "closed_cleanly_in_mid_utterance": Heard.SOME,
    "closed_going_away_before_sound": Heard.NOTHING,
    "closed_cleanly_between_utterances": Heard.WHOLE,
    "no_end": Heard.NO_END,
    "garbage": Heard.SOME,
    "garbage_between_utterances": Heard.WHOLE,
    "not_an_object": Heard.SOME,
    "not_unicode": Heard.WHOLE,
    "message_too_big": Heard.SOME,
    "unknown_messages": Heard.WHOLE,
    "one_byte_pieces": Heard.WHOLE,
    "one_huge_piece": Heard.WHOLE,
    "stale_sound_after_clear": Heard.WHOLE,
    "clear_not_answered": Heard.WHOLE,
    "clear_not_answered_stale_sound": Heard.WHOLE,
    "metadata_late": Heard.WHOLE,
    "metadata_in_mid_utterance": Heard.WHOLE,
    "warning_before_sound": Heard.WHOLE,
    "warning_in_mid_utterance": Heard.WHOLE,
    "flush_limit_warning": Heard.WHOLE,
    "text_limit_closes": Heard.NOTHING,
    "flushed_twice": Heard.WHOLE,
    "cleared_unasked": Heard.WHOLE,
    "late_sound": Heard.WHOLE,
    "empty_sound": Heard.WHOLE,
    "error_told": Heard.SOME,
    "error_told_without_code": Heard.NOTHING,
    "closed_for_no_result": Heard.NOTHING,
    "closed_for_time_limit": Heard.WHOLE,
    "closed_for_bad_message": Heard.NOTHING,
}
"""What the utterance that is hit comes to. All of these failures may pass."""


def test_every_fault_has_an_outcome() -> None:
    assert FAULTS.keys() == REFUSED.keys() | OUTCOMES.keys()


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_at_the_door_shows_when_the_voice_is_opened(fault: str) -> None:
    async def main() -> None:
        async with Aura(plan=only(FAULTS[fault])) as vendor:
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
        heard = OUTCOMES[fault]
        async with Aura(plan=only(FAULTS[fault]), piece_ms=20) as vendor, opened(vendor) as voice:
            started = Clock().seconds()
            if heard is Heard.WHOLE:
                assert await said(voice, TEXT) == sound(TEXT)
            else:
                part, error = await failed(voice, TEXT)
                assert error.retryable
                assert KEY not in error.detail
                assert "What" not in error.detail
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
        async with (
            Aura(plan=only(FAULTS[fault]), first_ms=30, piece_ms=20) as vendor,
            opened(vendor) as voice,
        ):
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(0.04):
                    await said(voice, TEXT)
            barged_in_on = TEXT if voice.sent else ""
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.characters == len(barged_in_on + NEXT)
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_that_stays_does_not_hang_or_leak(fault: str) -> None:
    async def main() -> None:
        async with Aura(plan=FAULTS[fault]) as vendor, opened(vendor) as voice:
            for _ in range(7):
                if OUTCOMES[fault] is Heard.WHOLE:
                    assert await said(voice, NEXT) == sound(NEXT)
                else:
                    await failed(voice, NEXT)
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            assert vendor.now_open <= 1
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


# -- what is sent ----------------------------------------------------------------------


def test_a_text_is_sent_as_it_is_and_counted() -> None:
    async def main() -> None:
        texts = [TEXT, 'She said: "Naïve?"\n\tYes \\ no. 😀', "One word more. " * 300 + "End."]
        async with Aura() as vendor, opened(vendor) as voice:
            for text in texts:
                assert await said(voice, f" {text}\n") == sound(text)
            assert [one.text for one in vendor.spoken] == texts
            assert vendor.characters == sum(map(len, texts))
            assert (vendor.sockets, vendor.violations) == (1, [])

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", [0]),
        ("a" * 2_000, [2_000]),
        ("a" * 4_001, [2_000, 2_000, 1]),
        ("word " * 900, [2_000, 2_000, 500]),
        ("a" * 1_999 + " b", [2_000, 1]),
        ("a " + "b" * 2_000, [2, 2_000]),
    ],
)
def test_split(text: str, lengths: list[int]) -> None:
    parts = list(split(text))
    assert "".join(parts) == text
    assert [len(part) for part in parts] == lengths
    assert max(lengths) <= LONGEST_SPEAK


@pytest.mark.parametrize("text", ["", " ", "...", "😀", "*** — !\n"])
def test_what_has_no_sound_is_not_sent(text: str) -> None:
    async def main() -> None:
        async with Aura() as vendor, opened(vendor) as voice:
            assert await said(voice, text) == b""
            assert await said(voice, NEXT) == sound(NEXT)
            assert [one.text for one in vendor.spoken] == [NEXT]

    run_virtual(main(), grace=GRACE)


def test_a_persona_has_its_voice_and_an_unknown_one_the_default() -> None:
    async def main() -> None:
        async with Aura() as vendor:
            settings = replace(
                SETTINGS, url=f"{vendor.url}/", voices={"Zoe": "aura-2-zeus-en"}, voice="aura-2-luna-en"
            )
            speaker = AuraSpeaker(settings)
            assert speaker.models == ("aura-2",)
            async with speaker.open("zoE") as voice:
                assert voice.model == "aura-2"
                assert await said(voice, NEXT) == sound(NEXT, "aura-2-zeus-en")
            async with speaker.open("sarah") as voice:
                assert await said(voice, NEXT) == sound(NEXT, "aura-2-luna-en")
            assert vendor.violations == []
        assert KEY not in repr(settings)

    run_virtual(main(), grace=GRACE)


def test_warnings_are_logged_without_their_words() -> None:
    async def main() -> None:
        async with Aura(plan=FAULTS["flush_limit_warning"]) as vendor, opened(vendor) as voice:
            await said(voice, TEXT)

    with capture_logs() as logs:
        run_virtual(main(), grace=GRACE)
    assert [(one["event"], one["code"]) for one in logs] == [("voice_warning", "EXCEEDED_FLUSH_LIMIT")]
    assert "Too much" not in str(logs)


def test_a_socket_flushes_no_oftener_than_it_may() -> None:
    async def main() -> None:
        async with Aura() as vendor, opened(vendor) as voice:
            for _ in range(45):
                assert await said(voice, NEXT) == sound(NEXT)
            assert Clock().seconds() < 60
            assert (vendor.sockets, vendor.now_open) == (3, 1)
            await asyncio.sleep(61)
            for _ in range(20):
                assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == 3
        assert vendor.violations == []

    run_virtual(main(), grace=GRACE)


# -- cancelling ------------------------------------------------------------------------


@pytest.mark.parametrize("stale", [0, 1, 5])
def test_a_cancelled_utterance_is_not_heard_in_the_next(stale: int) -> None:
    async def main() -> None:
        async with (
            Aura(plan=AuraPlan(stale=stale), first_ms=80, piece_ms=50) as vendor,
            opened(vendor) as voice,
        ):
            for pieces in (1, 2, 3):
                part = await said(voice, TEXT, pieces)
                assert sound(TEXT).startswith(part)
                assert STALE not in part
                assert await said(voice, NEXT) == sound(NEXT)
            assert (vendor.sockets, vendor.violations) == (1, [])

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize("after_ms", [0, 1, 50, 100, 150])
def test_a_task_that_speaks_can_be_cancelled_at_any_time(after_ms: int) -> None:
    async def main() -> None:
        async with Aura(first_ms=100, piece_ms=40) as vendor, opened(vendor) as voice:
            for _ in range(3):
                async with asyncio.TaskGroup() as group:
                    speaking = group.create_task(said(voice, TEXT))
                    await asyncio.sleep(after_ms / 1000)
                    speaking.cancel()
                assert speaking.cancelled()
                assert await said(voice, NEXT) == sound(NEXT)
            assert (vendor.sockets, vendor.violations) == (1, [])

    run_virtual(main(), grace=GRACE)


def test_rapid_barge_ins_keep_one_socket() -> None:
    async def main() -> None:
        async with Aura(first_ms=50, piece_ms=400) as vendor, opened(vendor) as voice:
            for _ in range(12):
                assert sound(TEXT).startswith(await said(voice, TEXT, 1))
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.characters == 12 * len(TEXT) + len(NEXT)
            assert (vendor.sockets, vendor.violations) == (1, [])

    run_virtual(main(), grace=GRACE)


def test_a_clear_that_is_not_answered_costs_a_new_socket_and_little_time() -> None:
    async def main() -> None:
        async with (
            Aura(plan=only(FAULTS["clear_not_answered_stale_sound"])) as vendor,
            opened(vendor) as voice,
        ):
            await said(voice, TEXT, 1)
            started = Clock().seconds()
            assert await said(voice, NEXT) == sound(NEXT)
            assert Clock().seconds() - started <= SETTINGS.clear_s
            assert vendor.sockets == 2

    run_virtual(main(), grace=GRACE)


# -- the socket ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["silent_for_ever", "stall_in_mid_utterance", "no_end"])
def test_a_socket_on_which_an_utterance_failed_is_not_used_again(fault: str) -> None:
    async def main() -> None:
        async with Aura(plan=only(FAULTS[fault])) as vendor, opened(vendor) as voice:
            await failed(voice, TEXT)
            await asyncio.sleep(2)
            assert (vendor.sockets, vendor.now_open) == (1, 0)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == 2

    run_virtual(main(), grace=GRACE)


def test_a_long_silence_costs_no_new_socket() -> None:
    async def main() -> None:
        async with Aura() as vendor, opened(vendor) as voice:
            assert await said(voice, TEXT) == sound(TEXT)
            await asyncio.sleep(900)
            assert await said(voice, NEXT) == sound(NEXT)
            assert vendor.sockets == 1

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(("door", "retryable"), [(Plan(status=402), False), (Plan(hangs=True), True)])
def test_opening_anew_fails_as_opening_does_and_in_time(door: Plan, retryable: bool) -> None:
    async def main() -> None:
        async with (
            Aura(plan=Plan(when=When.AFTER, then=Then.ABORT, times=1)) as vendor,
            opened(vendor) as voice,
        ):
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


def test_leaving_in_mid_utterance_closes_everything() -> None:
    async def leave(vendor: Aura) -> None:
        async with opened(vendor) as voice, aclosing(voice.speak(TEXT)) as pieces:
            assert await anext(pieces)
            raise EngineError("of the call")

    async def main() -> None:
        async with Aura(first_ms=50, piece_ms=500) as vendor:
            with pytest.raises(EngineError, match="of the call"):
                await leave(vendor)
            await asyncio.sleep(1)
            assert (vendor.now_open, vendor.violations) == (0, [])

    run_virtual(main(), grace=GRACE)


# -- the emulator itself ---------------------------------------------------------------

PLACE = "/v1/speak?model=aura-2-thalia-en&encoding=mulaw&sample_rate=8000"
HEADERS = {"Authorization": f"Token {KEY}"}
SPEAK, FLUSH, CLEAR = {"type": "Speak", "text": "Hello."}, {"type": "Flush"}, {"type": "Clear"}


async def answers(socket: ClientConnection, *messages: object) -> tuple[list[str], int | None, str]:
    """The kinds of what comes back until the socket closes or is silent, and how it closes."""
    for message in messages:
        await socket.send(message if isinstance(message, bytes) else json.dumps(message))
    told: list[str] = []
    try:
        while True:
            async with asyncio.timeout(1):
                one = await socket.recv()
            told.append("sound" if isinstance(one, bytes) else json.loads(one)["type"])
    except TimeoutError:
        return told, None, ""
    except ConnectionClosed as error:
        return told, error.rcvd.code if error.rcvd else None, error.rcvd.reason if error.rcvd else ""


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({"type": "Speak", "text": "a" * 2_001}, 1008, "DATA-0001"),
        ({"type": "KeepAlive"}, 1008, "DATA-0000"),
        ({"type": "Speak"}, 1008, "DATA-0000"),
        ([], 1003, "MESSAGE-0000"),
        (b"sound", 1003, "MESSAGE-0000"),
    ],
)
def test_the_emulator_refuses(message: object, code: int, reason: str) -> None:
    async def main() -> None:
        async with Aura() as vendor, connect(vendor.url + PLACE, additional_headers=HEADERS) as socket:
            assert (await answers(socket, message))[1:] == (code, reason)
            assert vendor.violations

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(
    "messages", [[FLUSH], [SPEAK, FLUSH, SPEAK], [{"type": "Speak", "text": ""}, SPEAK, FLUSH]]
)
def test_the_emulator_notes(messages: list[object]) -> None:
    async def main() -> None:
        async with (
            Aura(first_ms=100) as vendor,
            connect(vendor.url + PLACE, additional_headers=HEADERS) as socket,
        ):
            assert (await answers(socket, *messages))[1] is None
            assert len(vendor.violations) == 1

    run_virtual(main(), grace=GRACE)


def test_the_emulator_speaks_what_was_flushed_and_warns_of_many_flushes() -> None:
    async def main() -> None:
        async with Aura() as vendor, connect(vendor.url + PLACE, additional_headers=HEADERS) as socket:
            assert await answers(socket, SPEAK) == (["Metadata"], None, "")
            assert await answers(socket, FLUSH) == (["sound", "sound", "sound", "Flushed"], None, "")
            for _ in range(19):
                assert "Warning" not in (await answers(socket, SPEAK, FLUSH))[0]
            assert (await answers(socket, SPEAK, FLUSH))[0][0] == "Warning"
            await asyncio.sleep(60)
            assert "Warning" not in (await answers(socket, SPEAK, FLUSH))[0]
            assert await answers(socket, {"type": "Close"}) == ([], 1000, "")
            assert vendor.violations == ["more flushes in a minute than are allowed"]
            assert vendor.characters == 22 * len("Hello.")

    run_virtual(main(), grace=GRACE)


@pytest.mark.parametrize(
    ("place", "key", "status"),
    [
        (PLACE, "wrong", 401),
        (PLACE.replace("speak", "listen"), KEY, 404),
        (PLACE.replace("aura-2-thalia-en", "nova-3"), KEY, 400),
    ],
)
def test_the_emulator_keeps_its_door(place: str, key: str, status: int) -> None:
    async def main() -> None:
        async with Aura() as vendor:
            with pytest.raises(InvalidStatus) as caught:
                await connect(vendor.url + place, additional_headers={"Authorization": f"Token {key}"})
            assert caught.value.response.status_code == status
            assert caught.value.response.headers["dg-request-id"]

    run_virtual(main(), grace=GRACE)
