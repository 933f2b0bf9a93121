"""My number and my wishes: quiet hours of my own, what I agreed to, and what became of a number I lost."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.rig import PASSWORD, Site, phone_of, visiting
from tests.browser.test_pages import grave_findings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
OTHER = phone_of(999)


async def proves(page: Page, number: str) -> None:
    await page.get_by_label("Phone number").fill(number)
    await page.get_by_role("button", name="Send me a code").click()
    shown = await page.get_by_text("is your Call Me Back code").inner_text()
    await page.get_by_label("Code sent to the number").fill(
        shown.removeprefix("Simulated phone: ").split()[0]
    )
    await page.get_by_role("button", name="Verify").click()


async def test_quiet_hours_and_consents_and_a_number_that_was_lost(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    number = account.user["phone"]
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        await expect(page.get_by_label("From")).to_be_hidden()
        await page.get_by_label("No calls in these hours").select_option("My own")
        await page.get_by_label("From").fill("23:30")
        await page.get_by_label("Until").fill("06:15")
        await page.get_by_role("button", name="Save quiet hours").click()
        await expect(page.get_by_text("Your quiet hours are kept.")).to_be_visible()
        said = page.get_by_role("list", name="What you agreed to").get_by_role("listitem")
        await expect(said).to_have_count(2)
        await expect(said.first).to_contain_text("Quiet hours 23:30-06:15")
        await expect(said.last).to_contain_text(f"Calls to this number, by entering its code{number}")
        await page.get_by_text("The words").click()
        await expect(page.get_by_text("I ask for automated calls with an artificial voice")).to_be_visible()
        assert (await site.ask("GET", "/api/me", None, account))["quiet_hours"] == "23:30-06:15"
        assert await grave_findings(page) == []

        other = await site.account()
        await site.ask("POST", "/api/me/phone", {"phone": number}, other)
        texts = await site.ask("GET", "/api/simulation/texts", None, other)
        await site.ask("POST", "/api/me/phone/verify", {"code": texts["items"][0]["body"].split()[0]}, other)
        page = await visit.go("/settings")
        await expect(page.get_by_text("Somebody else has verified this number since.")).to_be_visible()
        await expect(page.get_by_role("button", name="Save quiet hours")).to_have_count(0)
    async with visiting(browser, site, other) as visit:
        page = await visit.go("/settings")
        await expect(page.get_by_text("This number belonged to another account before.")).to_be_visible()


async def test_quiet_hours_are_there_once_a_number_is_verified(browser: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        await expect(page.get_by_role("button", name="Save quiet hours")).to_have_count(0)
        await proves(page, phone_of(998))
        await page.get_by_label("No calls in these hours").select_option("None: ring me at any hour")
        await page.get_by_role("button", name="Save quiet hours").click()
        await expect(page.get_by_text("Your quiet hours are kept.")).to_be_visible()
    assert (await site.ask("GET", "/api/me", None, account))["quiet_hours"] == "off"


async def test_what_cannot_be_fetched_once_a_number_is_verified_is_told(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/settings")
        await page.route("**/api/me/consents*", lambda route: route.abort())
        await proves(page, phone_of(997))
        await expect(page.get_by_text("verified", exact=True)).to_be_visible()
        await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")


async def test_utc_can_be_chosen_by_who_lives_elsewhere(browser: Browser, site: Site) -> None:
    account = await site.account()
    await site.ask("PATCH", "/api/me", {"timezone": "Europe/Berlin"}, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        zones = page.get_by_label("Time zone")
        await expect(zones).to_have_value("Europe/Berlin")
        await zones.select_option("UTC")
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
    assert (await site.ask("GET", "/api/me", None, account))["timezone"] == "UTC"


async def test_who_was_not_rung_back_is_told_why_until_it_was_seen(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    await site.unrung(account, "insufficient_credit")
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        told = page.locator(".notice.warm", has_text="You rang and were told that we ring back; we did not")
        await expect(told).to_contain_text("There was not enough credit.")
        assert await grave_findings(page) == []
        await told.get_by_role("button", name="All right").click()
        await expect(told).to_have_count(0)
        await visit.go("/settings")
        await expect(page.get_by_role("heading", name="Your phone")).to_be_visible()
        await expect(told).to_have_count(0)
    assert (await site.ask("GET", "/api/me", None, account))["missed_call_back"] is None


async def test_another_number_ends_other_sessions_and_not_this_one(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        await page.get_by_role("button", name="Use another number").click()
        await proves(page, OTHER)
        await expect(page.get_by_text(OTHER, exact=True)).to_be_visible()
        page = await visit.go("/settings")
        await expect(page.get_by_text(OTHER, exact=True)).to_be_visible()
    assert (await site.answer("GET", "/api/me", None, account)).status_code == 401, (
        "whoever else had a session"
    )


async def test_a_password_is_changed_and_other_sessions_end(browser: Browser, site: Site) -> None:
    account = await site.account()
    wrong = {"email": account.email, "password": PASSWORD}
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 422"]
        page = await visit.go("/settings")
        await page.get_by_label("The one you have").fill("not this one")
        await page.get_by_label("A new one").fill("staple battery 42")
        await page.get_by_role("button", name="Change the password").click()
        await expect(page.get_by_text("This is not your password.")).to_be_visible()
        await page.get_by_label("The one you have").fill(PASSWORD)
        await page.get_by_label("A new one").fill("short")
        await page.get_by_role("button", name="Change the password").click()
        await expect(page.get_by_text("This needs at least 8 characters.")).to_be_visible()
        await page.get_by_label("A new one").fill("staple battery 42")
        await page.get_by_role("button", name="Change the password").click()
        await expect(page.get_by_text("Your password is changed.")).to_be_visible()
        await visit.go("/calls")
        await expect(page.get_by_text("No calls yet")).to_be_visible()
    assert (await site.answer("GET", "/api/me", None, account)).status_code == 401, "the other session"
    assert (await site.answer("POST", "/api/auth/login", wrong, None)).status_code == 401
    await site.ask("POST", "/api/auth/login", {**wrong, "password": "staple battery 42"})
