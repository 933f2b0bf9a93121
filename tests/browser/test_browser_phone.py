"""The phone in the browser: what it sends, when it is picked up and put down, and that it is not lost by accident."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.rig import SENDING, Site, Visit, launched, speaking, spoken, visiting
from tests.transcribing import transcribed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
LOUD = 20
"""Of 255: far below speech, far above the noise of a resampler."""
CHATTER = tuple((0.2 + 4.0 * number, "interview") for number in range(15))
HEARD_ELEMENTS = """
(() => {
  const play = HTMLMediaElement.prototype.play;
  let over;
  window.ended = new Promise((resolve) => { over = resolve; });
  HTMLMediaElement.prototype.play = function () {
    const audio = new AudioContext();
    audio.createMediaElementSource(this).connect(audio.destination);
    this.addEventListener("ended", () => setTimeout(over, 500));
    return play.call(this);
  };
})();
"""
"""Takes what audio elements play through the speaker's tap of `rig.LISTENING_IN`."""
KEEPING_TRACKS = """
(() => {
  const ask = MediaDevices.prototype.getUserMedia;
  window.tracks = [];
  MediaDevices.prototype.getUserMedia = async function (...wanted) {
    const stream = await ask.apply(this, wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
})();
"""
FRAMES = 150
"""Three seconds, in which a microphone that is on is heard."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def talkative(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser whose microphone is spoken into all the time."""
    microphone = spoken(tmp_path_factory.mktemp("talkative") / "mic.wav", CHATTER, end_s=60)
    async with speaking(microphone) as browser:
        yield browser


async def talks(visit: Visit) -> Page:
    """A call in the browser, picked up."""
    await visit.page.context.add_init_script(SENDING)
    page = await visit.go("/")
    await page.get_by_role("button", name="Call me in the browser").click()
    await page.wait_for_url("**/live/*")
    await expect(page.get_by_text("You are on the phone.")).to_be_visible()
    return page


async def loudest(page: Page) -> float:
    """Of the frames sent from now on, for three seconds."""
    return float(
        await page.evaluate(
            """async (frames) => {
              const from = window.sent.length + 15; // those under way are from before
              while (window.sent.length < from + frames) await new Promise((resolve) => setTimeout(resolve, 20));
              return Math.max(...window.sent.slice(from));
            }""",
            FRAMES,
        )
    )


async def test_a_muted_page_stays_muted_when_it_picks_up_again(talkative: Browser, site: Site) -> None:
    async with visiting(talkative, site, await site.account()) as visit:
        page = await talks(visit)
        assert await loudest(page) > LOUD, "the microphone is heard"
        await page.get_by_role("button", name="Mute").click()
        assert await loudest(page) <= LOUD
        await page.evaluate("window.line.close()")
        await page.get_by_role("button", name="Pick up").click()
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        await expect(page.get_by_role("button", name="Unmute")).to_be_visible()
        assert await loudest(page) <= LOUD
        await page.get_by_role("button", name="Unmute").click()
        assert await loudest(page) > LOUD


async def test_a_call_that_is_over_cannot_be_picked_up(talkative: Browser, site: Site) -> None:
    async with visiting(talkative, site, await site.account()) as visit:
        page = await talks(visit)
        await page.get_by_role("button", name="Hang up").click()
        # On a machine that is busy it may be over before it was answered.
        await expect(page.get_by_text("The call is over: ")).to_be_visible()
        await expect(page.get_by_text("The phone is down.")).to_be_visible()
        for name in ("Pick up", "Mute", "Hang up"):
            await expect(page.get_by_role("button", name=name)).to_be_hidden()


async def test_a_microphone_that_is_taken_away_puts_the_phone_down_and_says_so(
    talkative: Browser, site: Site
) -> None:
    async with visiting(talkative, site, await site.account()) as visit:
        await visit.page.context.add_init_script(KEEPING_TRACKS)
        page = await talks(visit)
        await page.evaluate("window.tracks.at(-1).dispatchEvent(new Event('ended'))")
        await expect(page.locator(".notice.bad")).to_contain_text("The microphone is gone.")
        await expect(page.get_by_text("The phone is down.")).to_be_visible()
        await page.wait_for_function("() => window.line.readyState >= WebSocket.CLOSING")
        await page.get_by_role("button", name="Pick up").click()
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        assert await loudest(page) > LOUD


async def test_the_phone_is_put_down_though_the_server_does_not_answer(
    talkative: Browser, site: Site
) -> None:
    async with visiting(talkative, site, await site.account()) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await talks(visit)
        await page.route("**/hangup", lambda route: route.abort())
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_text("The call is over: you hung up.")).to_be_visible()
        await expect(page.get_by_text("The phone is down.")).to_be_visible()


async def test_without_a_microphone_no_call_is_placed(site: Site) -> None:
    account = await site.account()
    async with async_playwright() as playwright:
        browser = await launched(playwright)
        async with visiting(browser, site, account) as visit:
            page = await visit.go("/")
            await page.get_by_role("button", name="Call me in the browser").click()
            await expect(page.locator(".notice.bad")).to_contain_text(re.compile("microphone"))
            assert page.url.endswith("/")
        await browser.close()
    assert (await site.ask("GET", "/api/calls", None, account))["items"] == []


async def test_the_phone_of_a_call_is_not_left_without_being_asked(talkative: Browser, site: Site) -> None:
    async with visiting(talkative, site, await site.account()) as visit:
        page = await talks(visit)
        await page.get_by_role("link", name="Money").click()
        await page.get_by_role("button", name="Stay on the phone").click()
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        async with asyncio.TaskGroup() as tasks:
            async with page.expect_event("dialog") as asked:
                tasks.create_task(page.reload())
            dialog = await asked.value
            assert dialog.type == "beforeunload"
            await dialog.accept()
        await page.get_by_role("button", name="Pick up").click()
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        await page.get_by_role("link", name="Money").click()
        await page.get_by_role("button", name="Leave").click()
        await page.wait_for_url("**/credits")


async def test_hang_up_and_mute_stay_in_reach_on_a_phone_s_screen(talkative: Browser, site: Site) -> None:
    async with visiting(talkative, site, await site.account(), size=(390, 500)) as visit:
        page = await talks(visit)
        await expect(page.locator(".turn").first).to_be_visible(timeout=45_000)
        await page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        assert await page.evaluate("window.scrollY") > 0
        for name in ("Hang up", "Mute"):
            await expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)


async def test_a_persona_s_voice_is_heard_before_it_calls(talkative: Browser, site: Site) -> None:
    """What the button plays goes to the speaker and is that voice's words."""
    async with visiting(talkative, site, await site.account()) as visit:
        await visit.page.context.add_init_script(HEARD_ELEMENTS)
        page = await visit.go("/")
        await page.get_by_role("button", name="Hear Sarah").click()
        await page.evaluate("window.ended")
        assert "sarah" in await transcribed(await visit.played())
