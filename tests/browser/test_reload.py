"""A page that is reloaded in mid-call finds the call again, and goes on with it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Site, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
TALK_MS = 45_000
AWAY_S = 5
"""Less than a call waits for its page, more than the recording may be off by."""
LOADING_S = 2.5
"""Before the first sound, and for the second that is begun."""


def seconds(shown: str | None) -> int:
    minutes, rest = (shown or "").split(":")
    return 60 * int(minutes) + int(rest)


def clock(at: int) -> str:
    return f"{at // 60}:{at % 60:02d}"


async def test_a_reload_shows_what_was_said_and_the_call_goes_on(browser: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await page.get_by_role("button", name="Call me in the browser").click()
        await page.wait_for_url("**/live/*")
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        await expect(page.locator(".speaking")).to_contain_text("Brad is speaking", timeout=TALK_MS)
        turns = page.locator(".turn")
        await expect(turns.first).to_contain_text("automated AI call", timeout=TALK_MS)
        call_id = page.url.rsplit("/", 1)[1]
        await page.reload()
        await expect(turns.first).to_contain_text("automated AI call")
        await expect(page.locator(".saying", has_text="automated AI call")).to_have_count(0)
        since = seconds(await page.get_by_role("timer").text_content())
        gone = re.compile("|".join(clock(since + AWAY_S + late) for late in range(3)))
        await expect(page.get_by_role("timer")).to_have_text(gone)
        await page.get_by_role("button", name="Pick up").click()
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        # The microphone's line begins anew with the page, and is answered.
        await expect(turns.filter(has_text="interview").first).to_be_visible(timeout=TALK_MS)
        assert (await site.ask("GET", f"/api/calls/{call_id}", None, account))["status"] == "in-progress"
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_text("The call is over: ended from here.")).to_be_visible()
        await page.get_by_role("link", name="Look at it").click()
        await expect(page.locator(".wave")).to_be_visible()
        recorded = await page.locator("audio").evaluate(
            """(audio) => new Promise((resolve) => {
              if (audio.readyState >= 1) resolve(audio.duration);
              else audio.addEventListener("loadedmetadata", () => resolve(audio.duration));
            })"""
        )
        call = await site.ask("GET", f"/api/calls/{call_id}", None, account)
        assert abs(recorded - call["duration_seconds"]) <= LOADING_S, "what was said is where it was said"
