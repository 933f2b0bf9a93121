"""Signing in: what ended a session is told, and the way back is one of this site."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.rig import PASSWORD, Account, Site, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def signs_in(page: Page, account: Account) -> None:
    await page.get_by_label("E-mail").fill(account.email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


async def test_who_is_signed_out_elsewhere_is_told_and_comes_back(browser: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 401"]
        page = await visit.go("/calls")
        await site.ask("POST", "/api/auth/logout", None, account)
        await page.goto(f"{site.url}/credits")
        await expect(page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()
        await signs_in(page, account)
        await page.wait_for_url(f"{site.url}/credits")
        await expect(page.locator("#balance")).to_contain_text("$5.00")


async def test_who_was_not_signed_in_is_not_told_that_a_session_ended(browser: Browser, site: Site) -> None:
    async with visiting(browser, site) as visit:
        page = await visit.page.context.new_page()
        await page.goto(f"{site.url}/credits")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await expect(page.get_by_text("Your session has ended")).to_have_count(0)


@pytest.mark.parametrize("way", ["//elsewhere.example/", "/%09/elsewhere.example/", "/%5Celsewhere.example/"])
async def test_signing_in_leads_to_nobody_else_s_site(browser: Browser, site: Site, way: str) -> None:
    account = await site.account()
    async with visiting(browser, site) as visit:
        page = await visit.go(f"/login?next={way}")
        await signs_in(page, account)
        await page.wait_for_url(f"{site.url}/")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Hello Jordan")


async def test_the_reference_is_read_with_a_session_that_has_ended(browser: Browser, site: Site) -> None:
    account = await site.account()
    await site.ask("POST", "/api/auth/logout", None, account)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 401"]
        page = visit.page
        await page.goto(f"{site.url}/docs", wait_until="networkidle")
        assert page.url == f"{site.url}/docs"
        await expect(page.get_by_role("heading", level=1)).to_have_text("API reference")
