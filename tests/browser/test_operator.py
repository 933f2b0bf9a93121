"""The operator's page: a live call is seen, the books are audited, credit is granted, a number is stopped."""

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


async def test_the_operator_sees_a_call_and_acts(browser: Browser, site: Site) -> None:
    operator, other = await site.account(name="Olga"), await site.account(phone=True)
    await site.promote(operator)
    async with visiting(browser, site, operator) as visit:
        page = await visit.go("/operator")
        await expect(page.get_by_role("link", name="Operator")).to_be_visible()
        await expect(page.get_by_role("region", name="Nodes").last).to_contain_text("this one")
        call = await site.ask("POST", "/api/calls", {"persona_id": "sarah"}, other)
        await expect(page.get_by_text(other.email)).to_be_visible()
        await site.ask("POST", f"/api/calls/{call['id']}/hangup", None, other)
        await page.get_by_role("button", name="Audit the books now").click()
        await expect(page.get_by_text("The books are right")).to_be_visible()
        await page.get_by_label("A part of the address or the name").fill(other.email)
        await page.get_by_role("button", name="Search").click()
        await page.get_by_text(f"Grant credit to {other.email}").click()
        await page.get_by_label("Dollars").fill("2")
        await page.get_by_role("button", name="Grant it").click()
        await expect(page.get_by_text(f"{other.email} has $")).to_be_visible()
        await page.get_by_label("Phone number").fill("+1 202 555 0177")
        await page.get_by_role("button", name="Never ring it").click()
        await expect(page.get_by_text("Nobody rings this number from now on.")).to_be_visible()
        await page.get_by_role("button", name="Look it up").click()
        await expect(page.get_by_text("+12025550177 wants no calls")).to_be_visible()


async def test_everybody_else_finds_no_operator_page(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        visit.watch.expected = ["status of 404"]
        page = await visit.go("/operator")
        await expect(page.locator(".notice.bad")).to_be_visible()
        await expect(page.get_by_role("link", name="Operator")).to_be_hidden()
