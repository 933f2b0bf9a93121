"""A persona of the operator's own, and a voice of the user's: all that is set for them is in effect in the call."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pipeline.clock import Clock
from pipeline.core.effects import AskReply
from pipeline.core.events import CallStarted
from pipeline.core.journal import parse_effect
from pipeline.engines.base import Voice
from pipeline.engines.breaker import Breaker
from pipeline.engines.failover.thinker import FailoverThinker
from pipeline.engines.scripted import ScriptedSpeaker, ScriptedThinker
from pipeline.journal_file import steps
from storage import personas
from storage.records import Persona
from tests.whole.rig import World, scripted
from tests.whole.test_memory import TALK, called, is_order
from tests.whole.test_whole_call import play

NORA = Persona("nora", "Nora", "", "You are Nora.", "Hello {name}.", "sarah", 30, 64, 7, 9, "companion")


class Listening:
    """A speaker that knows which voices were asked for."""

    def __init__(self) -> None:
        self._speaker = ScriptedSpeaker()
        self.models = self._speaker.models
        self.opened: set[str] = set()

    def open(self, voice: str) -> AbstractAsyncContextManager[Voice]:
        self.opened.add(voice)
        return self._speaker.open(voice)


def test_model_temperature_length_of_replies_and_calls_and_voice(tmp_path: Path) -> None:
    first, own = (
        ScriptedThinker(["From the first."], repeat=True),
        ScriptedThinker(["From its own."], repeat=True, model="companion"),
    )
    guarded = [(mind, Breaker(mind.models[0], Clock(), lambda _name, _state: None)) for mind in (first, own)]
    rows = {
        "scripted": FailoverThinker(guarded, 6.0),
        "companion": FailoverThinker(guarded[::-1], 6.0),
    }
    speaker = Listening()

    async def story(world: World) -> None:
        person = await world.person(TALK)
        async with world.parts.database.write() as tx:
            await personas.put(tx, NORA)
        told = {"kind": "teacher", "voice": "alex"}
        assert (await person.ask("PUT", "/api/personas/nora/relationship", told)).status == 200
        call_id = await called(person, "nora")
        call = (await person.ask("GET", f"/api/calls/{call_id}")).body
        assert call["max_minutes"] == 7
        recorded = list(steps(world.journal(call_id)))
        started = recorded[0].event
        assert isinstance(started, CallStarted)
        assert started.limits.max_duration_ms == 7 * 60_000
        assert started.layers[0].text == "You are Nora."
        effects = [parse_effect(line) for step in recorded for line in step.effects]
        asked = [each for each in effects if isinstance(each, AskReply) and not is_order(each.messages)]
        assert asked
        assert {(each.max_tokens, each.temperature_pct) for each in asked} == {(64, 30)}
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        said = [turn["text"] for turn in turns if turn["role"] == "agent"]
        assert "From its own." in said
        assert "From the first." not in said
        costs = (await person.ask("GET", f"/api/calls/{call_id}/costs")).body
        assert {line["model"] for line in costs["lines"] if line["service"] == "llm"} == {"companion"}
        assert speaker.opened == {"alex"}

    play(tmp_path, story, engines=scripted(thinker=rows["scripted"], minds=rows, speaker=speaker))
