"""A recurring call made in plain words, seen in the calendar, skipped, paused, cancelled."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Site, lost, visiting

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
        await expect(page.get_by_text("scheduling a call I ask for automated calls")).to_be_visible()
        await page.get_by_label("What the persona should know").fill("My stand-up is at ten.")
        await page.get_by_role("button", name="Schedule it").click()
        await expect(page.get_by_text("It is scheduled.")).to_be_visible()
        runs = page.get_by_role("region", name="The next four weeks").locator(".run")
        await expect(runs.first).to_contain_text("9:30")
        assert await runs.count() >= 15, "every working day of all four weeks"
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


async def test_a_schedule_whose_answer_was_lost_is_not_made_twice(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)

    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/schedules")
        await page.route("**/api/scheduled-calls", lost, times=1)
        send = page.get_by_role("button", name="Schedule it")
        cards = page.get_by_role("list", name="Scheduled").get_by_role("listitem")
        await send.click()
        await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
        await send.click()
        await expect(page.get_by_text("It is scheduled.")).to_be_visible()
        await expect(cards).to_have_count(1)
        await send.click()
        await expect(cards).to_have_count(2)
    kept = await site.ask("GET", "/api/scheduled-calls", None, account)
    assert len(kept["items"]) == 2, "asked for again after it was seen, it is another one"


async def test_what_is_to_come_is_seen_behind_very_many_that_are_over(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    coming = {"persona_id": "sarah", "rrule": "FREQ=DAILY", "context": "Still to come."}
    await site.ask("POST", "/api/scheduled-calls", coming, account)
    await site.canceled(account, 501)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/schedules")
        cards = page.get_by_role("list", name="Scheduled").get_by_role("listitem")
        await expect(cards).to_have_count(1)
        await expect(cards).to_contain_text("Still to come.")
        await page.get_by_text("Earlier").click()
        past = page.get_by_role("list", name="Earlier").get_by_role("listitem")
        await expect(past).to_have_count(20)
        await page.get_by_role("button", name="Show more").click()
        await expect(past).to_have_count(40)


async def test_a_missed_call_is_told_on_every_page_until_it_was_seen(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    await site.missed(account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        told = page.locator("#missed")
        await expect(told).to_contain_text("A scheduled call was missed: ")
        page = await visit.go("/settings")
        await expect(told).to_contain_text("The server was not there in time.")
        visit.watch.expected = ["ERR_FAILED"]
        await page.route("**/api/missed-calls/seen", lambda route: route.abort(), times=1)
        await told.get_by_role("button", name="I have seen it").click()
        await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
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


WEST = "America/Los_Angeles"
LOCAL_DAY = "([zone, days]) => new Intl.DateTimeFormat('en-CA', {timeZone: zone}).format(Date.now() + days * 86400000)"


async def test_the_last_day_of_a_schedule_rings_west_of_utc(browser: Browser, site: Site) -> None:
    """Half past seven in the evening there is the next day already in UTC."""
    account = await site.account(phone=True)
    await site.ask("PATCH", "/api/me", {"timezone": WEST}, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/schedules")
        last = await page.evaluate(LOCAL_DAY, [WEST, 4])
        await page.get_by_label("Time", exact=True).fill("19:30")
        await page.get_by_label("How often").select_option("daily")
        await page.get_by_label("Until").fill(last)
        await page.get_by_role("button", name="Schedule it").click()
        await expect(page.get_by_text("It is scheduled.")).to_be_visible()
        runs = page.get_by_role("region", name="The next four weeks").locator(".run")
        await expect(runs).to_have_count(4)
    (kept,) = (await site.ask("GET", "/api/scheduled-calls", None, account))["items"]
    assert kept["next_runs"][-1].startswith(f"{last}T19:30")


async def test_a_schedule_is_changed_and_keeps_what_was_not(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    rule = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=7;BYMINUTE=30"
    made = await site.ask(
        "POST", "/api/scheduled-calls",
        {"persona_id": "brad", "rrule": rule, "context": "Wake me.", "timezone": "Europe/Berlin"}, account,
    )  # fmt: skip
    await site.ask("POST", f"/api/scheduled-calls/{made['id']}/skip", None, account)
    path = f"/api/scheduled-calls/{made['id']}"
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/schedules")
        card = page.get_by_role("list", name="Scheduled").get_by_role("listitem")
        await expect(card.get_by_role("heading")).to_contain_text(
            re.compile(r"except \w+day \d+ \w+ 20\d\d at 07:30")
        )
        await card.get_by_role("button", name="Change").click()
        await expect(card.get_by_label("Time")).to_have_value("07:30")
        await expect(card.get_by_text("In Europe/Berlin.")).to_be_visible()
        await expect(card.get_by_label("Fri")).to_be_checked()
        await expect(card.get_by_label("Sat")).not_to_be_checked()
        await card.get_by_label("What the persona should know").fill("Wake me gently.")
        await card.get_by_role("button", name="Save the change").click()
        await expect(page.get_by_text("The change is saved.")).to_be_visible()
        words = await site.ask("GET", path, None, account)
        assert (words["context"], words["rrule"]) == ("Wake me gently.", rule)
        await card.get_by_role("button", name="Change").click()
        await card.get_by_label("Who").select_option("Sarah")
        await card.get_by_label("Time").fill("08:15")
        await card.get_by_label("Fri").uncheck()
        preview = card.locator("form .notice")
        await expect(preview).to_contain_text(
            "Every Monday, Tuesday, Wednesday and Thursday at 08:15 Europe/Berlin"
        )
        await card.get_by_role("button", name="Save the change").click()
        await expect(card.get_by_role("heading")).to_contain_text("Sarah: every Monday, Tuesday")
    moved = await site.ask("GET", path, None, account)
    assert (moved["persona_id"], moved["rrule"]) == ("sarah", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH")
    assert moved["skip"] == words["skip"], "what was skipped stays skipped"
    assert {run[11:16] for run in moved["next_runs"]} == {"08:15"}


async def test_a_rule_that_the_form_cannot_say_is_kept_and_may_be_changed_in_words(
    browser: Browser, site: Site
) -> None:
    account = await site.account(phone=True)
    rule = "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=9;BYMINUTE=0"
    made = await site.ask("POST", "/api/scheduled-calls", {"persona_id": "brad", "rrule": rule}, account)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 422"]
        page = await visit.go("/schedules")
        card = page.get_by_role("list", name="Scheduled").get_by_role("listitem")
        await card.get_by_role("button", name="Change").click()
        await expect(card.get_by_label("How often")).to_have_value("kept")
        await expect(card.locator("form .notice")).to_contain_text("the second Tuesday at 09:00")
        await card.get_by_label("How often").select_option("once")
        await card.get_by_label("Day", exact=True).fill("2026-01-01")
        await expect(card.locator("form .notice")).to_contain_text(
            "Day and time: This is past: choose a later moment."
        )
        await card.get_by_label("How often").select_option("kept")
        await card.get_by_label("What the persona should know").fill("It is the second Tuesday.")
        await card.get_by_role("button", name="Save the change").click()
        await expect(page.get_by_text("The change is saved.")).to_be_visible()
    kept = await site.ask("GET", f"/api/scheduled-calls/{made['id']}", None, account)
    assert (kept["rrule"], kept["context"]) == (rule, "It is the second Tuesday.")
