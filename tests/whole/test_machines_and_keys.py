"""Answering machines, call screeners and people who want no calls, through every interface there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.audio import mulaw
from pipeline.carriers.callee import Answer, Machine, Press, Script, Silence, Speak
from pipeline.core import events as ev
from pipeline.engines.scripted import ScriptedTranscriber
from pipeline.journal_file import steps
from tests.whole.rig import World, scripted
from tests.whole.test_whole_call import HELLO, INTERVIEW, play

ANSWER = "That is nice. Please tell me more about it."
GREETING = "You have reached the voicemail of Jo. Please leave a message after the tone."


def beep(ms: int = 400, hertz: int = 1_000) -> bytes:
    time = np.arange(ms * 8, dtype=np.float32) / mulaw.RATE
    return mulaw.encode(mulaw.from_float(0.3 * np.sin(2 * np.pi * hertz * time).astype(np.float32)))


def heard(*texts: str) -> ScriptedTranscriber:
    return ScriptedTranscriber(texts, delay_ms=80)


def test_key_9_ends_the_call_and_the_number_is_not_rung_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(Script(Answer(500), (Speak(HELLO, 700), Press("9"), Silence(30_000))))
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "opted_out")
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        assert "won't call" in turns[-1]["text"]
        refused = await person.ask("POST", "/api/calls", {"persona_id": "sarah", "channel": "phone"})
        assert (refused.status, refused.body["code"]) == (403, "opted_out")
        assert len(world.carrier.calls) == 1

    play(tmp_path, story)


def test_a_machine_is_left_a_message_after_its_beep(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        script = Script(
            Answer(500),
            (Speak(INTERVIEW, 0), Silence(1_200), Speak(beep(), 0), Silence(60_000)),
            Machine("unknown"),
        )
        person = await world.person(script)
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "voicemail")
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        assert turns[-1]["text"].startswith("This is an automated AI call")
        assert "just missed you" in turns[-1]["text"]
        events = [step.event for step in steps(world.journal(call_id))]
        assert any(isinstance(event, ev.BeepHeard) for event in events)

    play(tmp_path, story, engines=scripted(transcriber=heard(GREETING)))


def test_a_machine_is_hung_up_on_where_that_is_set(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(
            Script(Answer(500), (Silence(60_000),), Machine("machine_end_beep", 2_000))
        )
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "voicemail")
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        assert "tried to reach you" not in " ".join(turn["text"] for turn in turns)

    play(tmp_path, story, voicemail="hang_up")


def test_a_call_screener_is_told_who_calls_and_then_the_person_is_waited_for(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        script = Script(Answer(500), (Speak(HELLO, 700), Silence(14_000), Speak(HELLO, 0), Silence(9_000)))
        person = await world.person(script)
        call_id = await person.call()
        seen = await person.follow(call_id, lambda kind, data: data.get("text") == ANSWER)
        said = [
            data["text"]
            for _, kind, data in seen
            if kind == "turn" and data.get("role") == "agent" and "text" in data
        ]
        assert any("Jo asked for this call" in text for text in said)
        assert not any("still there" in text for text in said)
        assert (await person.ask("POST", f"/api/calls/{call_id}/hangup")).status == 202
        await person.follow(call_id)

    screener = "Hi, if you record your name and reason for calling, I'll see if this person is available."
    play(tmp_path, story, engines=scripted(transcriber=heard(screener, "Hello, this is Jo.")))


def test_a_caller_who_takes_leave_is_answered_and_the_call_ends(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(Script(Answer(500), (Speak(HELLO, 700), Silence(60_000))))
        call_id = await person.call()
        await person.follow(call_id)
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "agent_ended")
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        assert turns[-1]["text"] == ANSWER
        assert not turns[-1]["interrupted"]

    play(tmp_path, story, engines=scripted(transcriber=heard("Okay, I have to go now. Bye!")))
