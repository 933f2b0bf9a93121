"""The operator's page: a live call is seen, the books are audited, credit is granted, a number is stopped."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Site, lost, phone_of, visiting
from tests.browser.test_pages import grave_findings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
NOBODYS = phone_of(995)


async def test_the_operator_sees_a_call_and_acts(browser: Browser, site: Site) -> None:
    operator, other = await site.account(name="Olga"), await site.account(phone=True)
    await site.promote(operator)
    await site.silent_node(lived_s=754.5)
    async with visiting(browser, site, operator) as visit:
        page = await visit.go("/operator")
        await expect(page.get_by_role("link", name="Operator")).to_be_visible()
        silent = page.get_by_role("table", name="Nodes").get_by_role("row", name="silent for")
        await expect(silent.get_by_role("cell").nth(3)).to_have_text("12:34")
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
        done = page.get_by_role("table", name="What was done by hand")
        await expect(done.get_by_role("row", name="Granted credit")).to_contain_text("operator ")
        await expect(done).to_contain_text("Had the books audited")
        await page.get_by_label("Phone number").fill("+1 202 555 0177")
        await page.get_by_role("button", name="Never ring it").click()
        await expect(page.get_by_text("Nobody rings this number from now on.")).to_be_visible()
        await page.get_by_role("button", name="Look it up").click()
        await expect(page.get_by_text("+12025550177 wants no calls")).to_be_visible()


async def test_another_amount_after_a_lost_answer_is_another_grant(browser: Browser, site: Site) -> None:
    operator, other = await site.account(name="Olga"), await site.account(usd="0")
    await site.promote(operator)

    async with visiting(browser, site, operator) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/operator")
        await page.get_by_label("A part of the address or the name").fill(other.email)
        await page.get_by_role("button", name="Search").click()
        await page.get_by_text(f"Grant credit to {other.email}").click()
        await page.route("**/credit", lost, times=2)
        grant = page.get_by_role("button", name="Grant it")
        for _ in range(2):
            await page.get_by_label("Dollars").fill("2")
            await grant.click()
            await expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
        await page.get_by_label("Dollars").fill("3")
        await grant.click()
        await expect(page.get_by_text(f"{other.email} has $5.00 now.")).to_be_visible()


async def test_a_server_that_is_away_is_told_once_and_until_it_is_back(browser: Browser, site: Site) -> None:
    operator = await site.account(name="Olga")
    await site.promote(operator)
    async with visiting(browser, site, operator) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/operator")
        await page.get_by_label("Phone number").fill(NOBODYS)
        await page.get_by_role("button", name="Look it up").click()
        await expect(page.get_by_text(f"{NOBODYS} may be rung.")).to_be_visible()
        away = page.get_by_text("The server cannot be asked just now")
        await page.route("**/api/admin/overview", lambda route: route.abort())
        await expect(away).to_be_visible()
        await expect(page.get_by_text(f"{NOBODYS} may be rung.")).to_be_visible()
        await page.unroute("**/api/admin/overview")
        await expect(away).to_be_hidden()


SEEN_TO_GO = """
(told) => new MutationObserver(() => { window.gone ||= told.hidden; }).observe(told, { attributes: true })
"""


async def test_it_stays_told_while_another_part_of_the_page_is_renewed(browser: Browser, site: Site) -> None:
    operator = await site.account(name="Olga")
    await site.promote(operator)
    async with visiting(browser, site, operator) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        await visit.page.clock.install()
        page = await visit.go("/operator")
        away = page.get_by_text("The server cannot be asked just now")
        await page.route("**/api/admin/overview", lambda route: route.abort())
        await expect(away).to_be_visible()
        await away.evaluate(SEEN_TO_GO)
        async with page.expect_response("**/api/admin/spend"):
            await page.clock.fast_forward(60_000)
        async with page.expect_event("requestfailed"):
            await page.clock.fast_forward(5_000)
        await expect(away).to_be_visible()
        assert not await page.evaluate("window.gone")


async def test_everybody_else_finds_no_operator_page(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        page = await visit.go("/operator")
        await expect(page.get_by_text("This page is for whoever runs this server")).to_be_visible()
        await page.get_by_text("I run this server").click()
        await expect(page.get_by_text("callmeback admin p")).to_be_visible()
        assert await grave_findings(page) == []
        await expect(page.get_by_role("link", name="Operator")).to_be_hidden()


async def test_the_engines_of_the_default_set_up_are_seen_and_strangers_are_blocked(
    browser: Browser, site: Site
) -> None:
    operator = await site.account(name="Olga")
    await site.promote(operator)
    async with visiting(browser, site, operator) as visit:
        visit.watch.expected = ["status of 422"]
        page = await visit.go("/operator")
        spent = page.get_by_role("region", name="What calls cost")
        days = (await site.ask("GET", "/api/admin/spend", None, operator))["days"]
        drawn = any(float(day["usd"]) > 0 for day in days)
        await expect(spent.locator("svg.chart")).to_have_count(1 if drawn else 0)
        await expect(spent.locator(".empty")).to_have_count(0 if drawn else 1)
        engines = page.get_by_role("table", name="Engines")
        for name in ("Listening whisper-tiny.en", "Thinking companion", "Speaking hibari"):
            await expect(engines.get_by_role("row", name=name)).to_contain_text("works, in the server itself")
        strangers = page.get_by_role("region", name="Strangers who ring")
        await expect(strangers).to_contain_text("of $1.00 a day (INBOUND_DAILY_USD)")
        await expect(strangers).to_contain_text("No stranger has rung yet")
        await expect(strangers).to_contain_text("No number is blocked.")
        await strangers.get_by_label("Block a number").fill("12")
        await strangers.get_by_role("button", name="Block it").click()
        await expect(strangers.locator(".wrong")).to_contain_text("A telephone number begins with +")
        await strangers.get_by_label("Block a number").fill("+1 202 555 0171")
        await strangers.get_by_role("button", name="Block it").click()
        blocked = strangers.get_by_role("list", name="Blocked numbers").get_by_role("listitem")
        await expect(blocked).to_contain_text("The number ending in 71")
        assert await grave_findings(page) == []
        await blocked.get_by_role("button", name="Answer again").click()
        await expect(strangers.get_by_text("No number is blocked.")).to_be_visible()


async def test_moments_are_in_the_accounts_zone_whatever_the_browsers(browser: Browser, site: Site) -> None:
    """The browser of these tests is in UTC."""
    operator = await site.account(name="Olga")
    await site.promote(operator)
    await site.ask("PATCH", "/api/me", {"timezone": "Pacific/Kiritimati"}, operator)
    await site.ask("POST", "/api/admin/audit", None, operator)
    async with visiting(browser, site, operator) as visit:
        page = await visit.go("/operator")
        shown = page.get_by_role("table", name="What was done by hand").get_by_role("row").nth(1)
        at = (await site.ask("GET", "/api/admin/overview", None, operator))["log"]
        there = await page.evaluate(
            "(at) => new Date(at).toLocaleString(undefined, "
            "{dateStyle: 'medium', timeStyle: 'short', timeZone: 'Pacific/Kiritimati'})",
            next(each["at"] for each in at if each["action"] == "audit.asked"),
        )
        await expect(shown).to_contain_text(there)
