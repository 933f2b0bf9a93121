"""A page or a carrier's socket that is gone without a word comes back, wherever it lands, and the call goes on."""

from __future__ import annotations

from pathlib import Path

from tests.whole.rig import World
from tests.whole.test_browser_phone import HELLO, _nobody, ended, on_the_line, play, ticket_of


def test_a_page_that_is_reloaded_goes_on_with_its_call(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser")
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(6)
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(4)
            assert len(page.heard) > 4000, "it says that the line was gone"
            await page.speak(HELLO)
            await page.wait(5)
            await page.tell(bye=True)
            call = await ended(person, call_id)
        assert (call["status"], call["end_reason"]) == ("completed", "caller_hung_up")
        turns = (await person.ask("GET", f"/api/calls/{call_id}/transcript")).body["items"]
        roles = [turn["role"] for turn in turns]
        assert roles[0] == "agent"
        assert roles[-2:] == ["caller", "agent"], turns

    play(tmp_path, story)


def test_a_page_that_stays_away_has_hung_up(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser")
        async with on_the_line(world, await ticket_of(person, call_id)) as page:
            await page.wait(6)
        begun = world.clock.seconds()
        call = await ended(person, call_id)
        assert (call["status"], call["end_reason"]) == ("completed", "caller_hung_up")
        awaited = world.parts.settings.resume_pause_s + 5
        # How much later depends on the machine: `ended` gives up by itself.
        assert world.clock.seconds() - begun >= awaited

    play(tmp_path, story)


def test_a_second_page_takes_the_call_from_the_first(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = await world.person(_nobody(), verified=False)
        call_id = await person.call(channel="browser")
        async with on_the_line(world, await ticket_of(person, call_id)) as first:
            await first.wait(6)
            async with on_the_line(world, await ticket_of(person, call_id)) as second:
                await second.wait(4)
                assert first.socket.closed
                assert len(second.heard) > 4000
                await second.tell(bye=True)
                assert (await ended(person, call_id))["end_reason"] == "caller_hung_up"

    play(tmp_path, story)
