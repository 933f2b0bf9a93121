"""A server set to hosted engines, by its settings alone, with emulated vendors behind them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from pipeline.audio.wav import read_wav
from pipeline.carriers.callee import Answer, HangUp, Machine, Script, Silence, Speak
from pipeline.conducted import replay_call
from pipeline.traffic import read
from tests.emulators import chat, elevenlabs, flux, sounding
from tests.vendors.checks import estimated
from tests.whole.rig import World, run, serving

CALLERS = Path("server/callers")
SAID = ("Hi Sarah, this is Jordan.", "My sister is getting married in June.")
ANSWERED = (
    "Hello Jordan! It is **lovely** to hear you.",
    "A wedding in June, for $5,000? How wonderful!",
)
TALK = Script(
    Answer(500),
    (
        Speak(read_wav(CALLERS / "hello.wav"), 900),
        Speak(read_wav(CALLERS / "sister.wav"), 900),
        Silence(6_000),
        HangUp(),
    ),
    Machine("human"),
)
SPEED = 3.0


def test_a_call_with_hosted_engines_is_understood_spoken_and_billed_as_the_vendors_count(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with (
            flux.FluxEmulator(SAID, eot_ms=300, eager_ms=150) as ears,
            chat.ChatEmulator(ANSWERED, first_ms=100) as mind,
            elevenlabs.ElevenLabs(first_ms=80) as voice,
        ):
            vendors: dict[str, Any] = {
                "stt_engine": "deepgram", "deepgram_url": ears.url, "deepgram_api_key": flux.KEY,
                "llm_engine": "openai", "llm_base_url": mind.url, "llm_model": chat.MODEL, "llm_api_key": chat.KEY,
                "llm_price_usd": "0.35/0.35/0.75",
                "tts_engine": "elevenlabs", "elevenlabs_url": voice.url, "elevenlabs_api_key": sounding.KEY,
                "record_calls": True, "local_prices": "list", "idle_prompt_ms": 60_000,
            }  # fmt: skip
            async with serving(tmp_path, by_settings=True, **vendors) as world:
                await story(world, ears, mind, voice)
                assert await world.breaches() == []

    run(main(), SPEED)


def timed() -> dict[str, float]:
    """How many turns `/metrics` has of each stage."""
    stages = ("end_of_turn", "first_token", "first_audio", "first_frame", "audible")
    name = "callmeback_turn_seconds_count"
    return {stage: REGISTRY.get_sample_value(name, {"stage": stage}) or 0 for stage in stages}


async def story(
    world: World, ears: flux.FluxEmulator, mind: chat.ChatEmulator, voice: elevenlabs.ElevenLabs
) -> None:
    person = await world.person(TALK)
    before = timed()
    call_id = await person.call()
    events = await person.follow(call_id)
    call = (await person.ask("GET", f"/api/calls/{call_id}")).body
    assert call["end_reason"] == "caller_hung_up"
    assert call["latency"]["turns"] == 2
    assert timed() == {stage: count + 2 for stage, count in before.items()}
    assert [data["latency"] for _, kind, data in events if kind == "turn" and "latency" in data]
    assert call["eager"]["begun"] >= 1

    turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
    assert [turn["text"] for turn in turns if turn["role"] == "caller"] == [*SAID]
    spoken = " ".join(turn["text"] for turn in turns if turn["role"] == "agent")
    assert "It is lovely to hear you." in spoken
    assert "five thousand dollars" in spoken

    costs = (await person.ask("GET", f"/api/calls/{call_id}/costs")).body
    lines = {(line["service"], line["unit"]): line for line in costs["lines"]}
    assert lines["stt", "second"]["model"] == "flux-general-en"
    assert lines["stt", "second"]["quantity"] == ears.seconds_billed
    assert lines["tts", "char"]["model"] == "eleven_flash_v2_5"
    greeting = next(turn["text"] for turn in turns if turn["role"] == "agent")
    assert "Jordan" not in greeting
    assert lines["llm", "token_in"]["model"] == chat.MODEL
    # Of a reply that was dropped nobody tells the count: it is estimated from what had arrived of what was written.
    counts = [served.billed if served.told else estimated(served) for served in mind.served]
    assert lines["llm", "token_in"]["quantity"] == sum(count.uncached for count in counts)
    told = sum(count.out for count in counts if not count.estimated)
    assert told > 0
    assert told <= lines["llm", "token_out"]["quantity"] <= sum(count.out for count in counts)

    journal, facts = world.journal(call_id), read(world.settings.calls_dir / f"{call_id}.traffic")
    again = await asyncio.to_thread(replay_call, journal, facts)
    assert again.replay.difference is None
    assert again.frames > 10
