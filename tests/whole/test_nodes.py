"""Two whole servers on one PostgreSQL: whatever lands on the wrong one works all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from pipeline.carriers.callee import Answer, Busy, HangUp, Machine, Press, Script, Silence, Speak
from pipeline.core import events as ev
from pipeline.engines.scripted import ScriptedThinker, ScriptedTranscriber
from pipeline.journal_file import steps
from server.nodes.anywhere import Anywhere
from storage import addresses, calls, mailbox, opt_outs
from storage.records import STATUS_RANK
from storage.tables import stream_tokens
from tests.twilio.emulator import Mishap
from tests.whole.nodes import Nodes, two_nodes
from tests.whole.rig import Person, World, run, scripted
from tests.whole.test_browser_phone import on_the_line
from tests.whole.test_whole_call import HELLO, TALK

SPEED = 4.0
"""Slower than elsewhere: the database's time-outs shrink with it."""


def play(url: str, data_dir: Path, story: Callable[[Nodes], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        async with two_nodes(data_dir, url, **more) as nodes:
            await story(nodes)
            assert await nodes.a.breaches() == []
            assert nodes.a.carrier.alerts == []

    run(main(), SPEED)


def at(person: Person, world: World) -> Person:
    """The same person, asking another node."""
    return replace(person, world=world)


def relays(world: World) -> int:
    desk = world.parts.desk
    assert isinstance(desk, Anywhere)
    return desk.live_calls


def is_turn(role: str) -> Callable[[str, Any], bool]:
    return lambda kind, data: kind == "turn" and "text" in data and data["role"] == role


def test_a_call_whose_every_request_lands_on_the_other_node(migrated_postgres: str, tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        nodes.carrier_reaches(nodes.b)
        here = await nodes.a.person(Script(Answer(500), (*TALK.acts, HangUp()), Machine("human")))
        there = at(here, nodes.b)
        call_id = await here.call()
        async with asyncio.TaskGroup() as tasks:
            heard_here = tasks.create_task(here.follow(call_id))
            heard_there = tasks.create_task(there.follow(call_id))
        events = heard_there.result()
        numbers = [number for number, _, _ in events]
        assert numbers == sorted(set(numbers)), "ids rise"
        assert events == heard_here.result(), "and are those of the node that conducts the call"
        statuses = [data["status"] for _, kind, data in events if kind == "status"]
        # A callback that the answer overtakes is not told any more, here as on one node.
        assert [one for one in statuses if one not in {"initiated", "ringing"}] == [
            "queued",
            "in-progress",
            "completed",
        ]
        assert statuses == sorted(statuses, key=list(STATUS_RANK).index)
        spoken = [data["text"] for _, kind, data in events if is_turn("caller")(kind, data)]
        assert spoken[0] == "Hello there."

        call = (await there.ask("GET", f"/api/calls/{call_id}")).body
        assert (call["status"], call["end_reason"]) == ("completed", "caller_hung_up")
        assert call["duration_seconds"] == nodes.a.phone_call().seconds
        assert set(nodes.balancer.taken) == {nodes.b.settings.port}
        assert relays(nodes.a) == relays(nodes.b) == 0
        marks = [step.event for step in steps(nodes.a.journal(call_id))]
        assert any(isinstance(event, ev.MarkReached) for event in marks), "marks came back through the relay"
        assert any(isinstance(event, ev.MachineDetected) for event in marks), (
            "so did the verdict on who answered"
        )
        assert not (nodes.b.settings.calls_dir / f"{call_id}.journal").exists()

    play(migrated_postgres, tmp_path, story)


def test_a_call_is_hung_up_on_the_other_node(migrated_postgres: str, tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        nodes.carrier_reaches(nodes.b)
        here = await nodes.a.person(Script(Answer(500)))
        there = at(here, nodes.b)
        call_id = await here.call()
        await there.follow(call_id, is_turn("agent"))
        assert relays(nodes.b) == 1
        assert (await there.ask("POST", f"/api/calls/{call_id}/hangup")).status == 202
        events = await there.follow(call_id)
        assert events[-1][1] == "ended"
        assert events[-1][2]["end_reason"] == "user_hung_up"

    play(migrated_postgres, tmp_path, story)


def test_a_call_picked_up_while_its_hang_up_is_lost_is_connected_by_no_node_and_billed(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        nodes.carrier_reaches(nodes.b)
        here = await nodes.a.person(Script(Answer(7_000)))
        call_id = await here.call()
        await here.follow(call_id, lambda kind, data: kind == "status" and data["status"] == "ringing")
        emulator = nodes.a.emulator
        assert emulator is not None
        emulator.mishaps.extend([Mishap.TOO_MANY] * 9)  # three hang-ups
        assert (await here.ask("POST", f"/api/calls/{call_id}/hangup")).status == 202
        events = await here.follow(call_id)
        assert events[-1][1] == "ended"
        leg = nodes.a.phone_call()
        assert (leg.status, events[-1][2]["duration_seconds"]) == ("completed", leg.seconds)
        assert leg.seconds > 0
        assert events[-1][2]["total_usd"] != "0.00"
        async with nodes.a.parts.database.read() as tx:
            tokens = await tx.execute(select(func.count()).select_from(stream_tokens))
            assert tokens.scalar_one() == 0

    play(migrated_postgres, tmp_path, story)


def test_live_events_resume_on_another_node_after_the_last_one_seen(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        here = await nodes.a.person(TALK)
        there = at(here, nodes.b)
        call_id = await here.call()
        first = await here.follow(call_id, is_turn("caller"))
        seen = first[-1][0]
        rest = await there.follow(call_id, is_turn("caller"), after=seen)
        assert rest[0][0] == seen + 1
        assert [number for number, _, _ in rest] == list(range(seen + 1, rest[-1][0] + 1))
        await here.ask("POST", f"/api/calls/{call_id}/hangup")
        await here.follow(call_id)

    play(migrated_postgres, tmp_path, story)


def test_opting_out_on_one_node_ends_the_call_on_the_other_and_blocks_both(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        here = await nodes.a.person(Script(Answer(500)))
        call_id = await here.call()
        await here.follow(call_id, is_turn("agent"))
        await nodes.b.parts.desk.opt_out(here.phone, "web")
        events = await here.follow(call_id)
        assert events[-1][2]["end_reason"] == "opted_out"
        for world in (nodes.a, nodes.b):
            again = await at(here, world).ask(
                "POST", "/api/calls", {"persona_id": "sarah", "channel": "phone"}
            )
            assert (again.status, again.body["code"]) == (403, "opted_out")

    play(migrated_postgres, tmp_path, story)


def test_what_matters_is_found_without_any_word_of_it(migrated_postgres: str, tmp_path: Path) -> None:
    """The words are lost; what they are about is in the database, and looked for once a second."""

    async def story(nodes: Nodes) -> None:
        database = nodes.b.parts.database
        first = await nodes.a.person(Script(Answer(500)))
        call_id = await first.call()
        await first.follow(call_id, is_turn("agent"))
        async with database.write() as tx:
            await mailbox.put(tx, call_id, "hang_up", "{}", nodes.a.clock.utc())
        assert (await first.follow(call_id))[-1][2]["end_reason"] == "user_hung_up"

        second = await nodes.a.person(Script(Answer(500)))
        call_id = await second.call()
        await second.follow(call_id, is_turn("agent"))
        async with database.write() as tx:
            await opt_outs.add(tx, second.phone, "sms", nodes.a.clock.utc())
        assert (await second.follow(call_id))[-1][2]["end_reason"] == "opted_out"

        stopping = asyncio.Event()
        nodes.a.parts.begin_drain = stopping.set
        async with database.write() as tx:
            assert await addresses.drain_at(tx, nodes.a.settings.node_url) == 1
        async with asyncio.timeout(60):
            await stopping.wait()

    play(migrated_postgres, tmp_path, story)


def test_a_message_that_cannot_be_read_ends_no_call(migrated_postgres: str, tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        here = await nodes.a.person(Script(Answer(500)))
        call_id = await here.call()
        await here.follow(call_id, is_turn("agent"))
        async with nodes.b.parts.database.write() as tx:
            for kind, payload in (
                ("answered", "{}"), ("answered", '{"sid": "CAother", "moved": true}'), ("status", "[]"),
                ("status", '{"sid": "CAother", "status": "completed", "seconds": 3, "sequence": 1}'),
                ("machine", "{}"), ("unheard of", "{}"),
            ):  # fmt: skip
                await mailbox.put(tx, call_id, kind, payload, nodes.a.clock.utc())
            await mailbox.put(tx, call_id, "hang_up", "{}", nodes.a.clock.utc())
        assert (await here.follow(call_id))[-1][2]["end_reason"] == "user_hung_up"

    play(migrated_postgres, tmp_path, story)


def test_keys_and_a_number_nobody_answers_through_the_other_node(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        nodes.carrier_reaches(nodes.b)
        pressing = await nodes.a.person(Script(Answer(500), (Speak(HELLO, 700), Press("9"), Silence(30_000))))
        events = await pressing.follow(await pressing.call())
        assert events[-1][2]["end_reason"] == "opted_out"

        busy = await nodes.a.person(Script(Busy(500)))
        events = await at(busy, nodes.b).follow(await busy.call())
        assert (events[-1][2]["status"], events[-1][2]["end_reason"]) == ("busy", None)

    play(migrated_postgres, tmp_path, story)


def test_logging_out_on_one_node_ends_the_token_and_its_streams_on_the_other(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        here = await nodes.a.person(Script(Answer(500)))
        call_id = await here.call()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(here.follow(call_id))
            await at(here, nodes.b).follow(call_id, is_turn("agent"))
            assert (await at(here, nodes.b).ask("POST", "/api/auth/logout")).status == 204
            assert (await here.ask("GET", "/api/me")).status == 401
        assert following.result()[-1][1] != "ended", "the stream was closed in mid-call"

    play(migrated_postgres, tmp_path, story)


def test_what_the_caller_says_through_a_relay_is_heard_word_for_word(
    migrated_postgres: str, tmp_path: Path
) -> None:
    """Both directions at once, with an interruption: `clear` keeps its place among sound and marks."""

    async def story(nodes: Nodes) -> None:
        nodes.carrier_reaches(nodes.b)
        here = await nodes.a.person(TALK)
        call_id = await here.call()
        await here.follow(call_id, lambda kind, data: kind == "turn" and bool(data.get("interrupted")))
        await here.ask("POST", f"/api/calls/{call_id}/hangup")
        await here.follow(call_id)

    heard = ScriptedTranscriber(
        ("Hello there.", "I have an interview.", "Wait, sorry."), delay_ms=80, repeat=True
    )
    long = (
        "Let me tell you a very long story, which goes on and on, and then on for quite some time after that."
    )
    thinker = ScriptedThinker([long], first_ms=50, repeat=True)
    play(migrated_postgres, tmp_path, story, engines=scripted(transcriber=heard, thinker=thinker))


def test_a_page_talks_to_its_call_on_another_node_and_comes_back_by_a_third_socket(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        here = await nodes.a.person(Script(Answer(500)), verified=False)
        call_id = await here.call(channel="browser")
        for world in (nodes.b, nodes.a, nodes.b):
            ticket = (await at(here, world).ask("POST", f"/api/calls/{call_id}/ticket")).body["ticket"]
            async with on_the_line(world, ticket) as page:
                await page.wait(5)
                assert len(page.heard) > 4000, "the agent is heard"
                if world is nodes.a:
                    assert relays(nodes.b) == 0
                    continue
                assert relays(nodes.b) == 1
        assert (await here.ask("POST", f"/api/calls/{call_id}/hangup")).status == 202
        events = await here.follow(call_id)
        assert events[-1][2]["end_reason"] == "user_hung_up"
        assert [data["status"] for _, kind, data in events if kind == "status"].count("in-progress") == 1

    play(migrated_postgres, tmp_path, story)


def test_a_broken_socket_is_asked_about_on_the_other_node_and_the_call_stays_where_it_is(
    migrated_postgres: str, tmp_path: Path
) -> None:
    async def story(nodes: Nodes) -> None:
        nodes.carrier_reaches(nodes.b)
        here = await nodes.a.person(Script(Answer(500)))
        call_id = await here.call()
        await here.follow(call_id, is_turn("agent"))
        async with nodes.a.parts.database.read() as tx:
            before = await calls.get(tx, call_id)
        assert before is not None
        assert before.sid is not None
        elsewhere = nodes.b.parts.desk
        assert isinstance(elsewhere, Anywhere)
        assert await elsewhere.resumed(call_id, "CA" + "0" * 32) is None, "another leg"
        assert await elsewhere.resumed("nothing", before.sid) is None
        assert await elsewhere.resumed(call_id, before.sid) is not None
        async with nodes.a.parts.database.read() as tx:
            after = await calls.get(tx, call_id)
        assert after is not None
        assert (after.owner, after.epoch) == (before.owner, before.epoch)
        assert relays(nodes.b) == 0, "its line was let go of"
        await here.ask("POST", f"/api/calls/{call_id}/hangup")
        await here.follow(call_id)

    play(migrated_postgres, tmp_path, story)
