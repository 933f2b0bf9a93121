"""Personas: one is chosen after another, what is not asked for is kept, and one voice is heard at a time."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.rig import Site, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]
SOUNDING = """
window.sounds = [];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  if (!window.sounds.includes(this)) window.sounds.push(this);
  return play.call(this);
};
"""


async def test_saving_keeps_the_voice_and_the_manner_that_were_set_elsewhere(
    browser: Browser, site: Site
) -> None:
    account = await site.account()
    path = "/api/personas/brad/relationship"
    told = {"kind": "mentor", "notes": "", "voice": "sarah", "manner": "dry and brief"}
    await site.ask("PUT", path, told, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/personas")
        await page.get_by_role("radio", name="Brad").check()
        await page.get_by_label("What they should know of you").fill("I row.")
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_text("Saved. The next call knows it.")).to_be_visible()
    kept = await site.ask("GET", path, None, account)
    assert {name: kept[name] for name in told} == {**told, "notes": "I row."}


async def test_the_one_chosen_last_is_shown_whoever_is_answered_first(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        page = await visit.go("/personas")
        chosen = asyncio.Event()

        async def late(route: Route) -> None:
            await chosen.wait()
            await route.continue_()

        await page.route("**/api/personas/alex/relationship", late)
        await page.get_by_role("radio", name="Alex").check()
        await expect(page.locator("#content .loading")).to_be_visible()
        await page.get_by_role("radio", name="Sarah").check()
        await expect(page.get_by_role("region", name="You and Sarah")).to_be_visible()
        async with page.expect_response("**/api/personas/alex/relationship"):
            chosen.set()
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_text("Saved. The next call knows it.")).to_be_visible()
        await expect(page.get_by_role("region", name="You and Sarah")).to_be_visible()
        await expect(page.get_by_role("region", name="You and Alex")).to_have_count(0)


async def test_only_the_voice_asked_for_last_is_heard(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        await visit.page.context.add_init_script(SOUNDING)
        page = await visit.go("/")
        asked = asyncio.Event()

        async def late(route: Route) -> None:
            await asked.wait()
            await route.continue_()

        await page.route("**/api/personas/alex/sample", late)
        await page.get_by_role("button", name="Hear Alex").click()
        await page.get_by_role("button", name="Hear Sarah").click()
        await page.wait_for_function("() => window.sounds.length === 1 && !window.sounds[0].paused")
        async with page.expect_response("**/api/personas/alex/sample"):
            asked.set()
        await expect(page.get_by_role("button", name="Hear Alex")).not_to_have_attribute("aria-busy", "true")
        assert await page.evaluate("window.sounds.length") == 1
