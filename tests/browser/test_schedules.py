"""A recurring call made in plain words, seen in the calendar, skipped, paused, cancelled."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Site, visiting

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_a_schedule_is_made_seen_in_the_calendar_skipped_paused_and_cancelled(
    browser: Browser, site: Site
) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/schedules")
        await expect(page.get_by_text("Nothing is scheduled")).to_be_visible()
        await page.get_by_label("Time", exact=True).fill("09:30")
        await page.get_by_label("How often").select_option("weekly")
        await expect(page.locator("form .notice")).to_contain_text("Next:")
        await page.get_by_label("What the persona should know").fill("My stand-up is at ten.")
        await page.get_by_role("button", name="Schedule it").click()
        await expect(page.get_by_text("It is scheduled.")).to_be_visible()
        runs = page.get_by_role("region", name="The next four weeks").locator(".run")
        await expect(runs.first).to_contain_text("9:30")
        assert await runs.count() >= 10, "every working day of the next weeks"
        card = page.get_by_role("list", name="Scheduled").get_by_role("listitem")
        await expect(card).to_contain_text("My stand-up is at ten.")
        upcoming = await card.get_by_text("Next:").text_content()
        await card.get_by_role("button", name="Skip the next one").click()
        await expect(card.get_by_text("Next:")).not_to_have_text(upcoming or "")
        await card.get_by_role("button", name="Pause").click()
        await expect(card.get_by_text("Paused")).to_be_visible()
        await card.get_by_role("button", name="Go on").click()
        await expect(card.get_by_text("Waiting")).to_be_visible()
        await card.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Cancel them").click()
        await expect(page.get_by_text("Nothing is scheduled")).to_be_visible()
    kept = await site.ask("GET", "/api/scheduled-calls", None, account)
    assert [each["status"] for each in kept["items"]] == ["canceled"]


async def test_a_missed_call_is_told_on_every_page_until_it_was_seen(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    await site.missed(account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        told = page.locator("#missed")
        await expect(told).to_contain_text("A scheduled call was missed: ")
        page = await visit.go("/settings")
        await expect(told).to_contain_text("The server was not there in time.")
        await told.get_by_role("button", name="I have seen it").click()
        await expect(told).to_have_count(0)
        page = await visit.go("/schedules")
        await expect(page.get_by_text("Earlier")).to_be_visible()
        await expect(page.locator("#missed")).to_have_count(0)


async def test_what_the_scenario_leaves_open_is_asked_for(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    excuse = {"title": "A way out", "prompt": "Get me out of {place}."}
    await site.ask("POST", "/api/scenarios", excuse, account)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 422"]
        page = await visit.go("/schedules")
        await page.get_by_label("About").select_option("A way out")
        await page.get_by_role("button", name="Schedule it").click()
        await expect(page.get_by_label("place")).to_have_attribute("aria-invalid", "true")
        await page.get_by_label("place").fill("the dinner")
        await page.get_by_role("button", name="Schedule it").click()
        await expect(page.get_by_text("It is scheduled.")).to_be_visible()
        await expect(page.get_by_role("list", name="Scheduled").get_by_role("listitem")).to_contain_text(
            "the dinner"
        )
    (kept,) = (await site.ask("GET", "/api/scheduled-calls", None, account))["items"]
    assert kept["variables"] == {"place": "the dinner"}
