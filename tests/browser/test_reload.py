"""A page that is reloaded in mid-call finds the call again, and goes on with it."""

from __future__ import annotations

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
        await page.get_by_role("button", name="Pick up").click()
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        # The microphone's line begins anew with the page, and is answered.
        await expect(turns.filter(has_text="interview").first).to_be_visible(timeout=TALK_MS)
        assert (await site.ask("GET", f"/api/calls/{call_id}", None, account))["status"] == "in-progress"
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_text("The call is over: ended from here.")).to_be_visible()
