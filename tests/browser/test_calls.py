"""The list of calls: earlier ones loaded once, failures told, and what was said found by its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, expect

from storage import calls, ids, turns
from storage.db import Database
from storage.records import NewCall
from tests.browser.rig import Account, Site, visiting
from tests.browser.test_pages import grave_findings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]


async def talked(site: Site, account: Account, times: int) -> None:
    """Calls that are over, in which a cat and a number were spoken of."""
    database = Database.open(f"sqlite:///{site.data_dir / 'callmeback.db'}", checkpoint=False)
    async with database.write() as tx:
        for number in range(times):
            at = datetime.now(UTC) - timedelta(minutes=times - number)
            new = NewCall(
                id=ids.new_id(), user_id=account.user["id"], persona_id="sarah", channel="browser",
                created_at=at, price_ids=(), owner="",
            )  # fmt: skip
            call = await calls.create(tx, new)
            await turns.add(tx, call.id, 0, "agent", f"Tell me of cat number {number}.", 0, 1_000, False)
            await calls.advance(tx, call.id, "completed", at=at)
    await database.aclose()


async def test_earlier_calls_are_loaded_once_and_a_failure_is_told(browser: Browser, site: Site) -> None:
    account = await site.account()
    await talked(site, account, 45)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/calls")
        rows = page.get_by_role("table", name="My calls").get_by_role("row", name="Sarah")
        more = page.get_by_role("button", name="Show earlier calls")
        await expect(rows).to_have_count(20)
        await page.route("**/api/calls?*", lambda route: route.abort(), times=1)
        await more.click()
        await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
        await more.evaluate("(button) => { button.click(); button.click(); }")
        await expect(rows).to_have_count(40)
        await expect(page.locator(".notice.bad")).to_have_count(0)
        await more.click()
        await expect(rows).to_have_count(45)


async def test_what_was_said_is_found_by_its_words(browser: Browser, site: Site) -> None:
    account = await site.account()
    await talked(site, account, 25)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/calls")
        await page.get_by_label("Find what was said").fill("cat number")
        await page.get_by_label("Find what was said").press("Enter")
        found = page.get_by_role("list", name="Found").get_by_role("listitem")
        await expect(found).to_have_count(20)
        await expect(found.first).to_contain_text("Sarah: Tell me of cat number")
        await expect(found.first.locator("mark").first).to_have_text("cat")
        assert await grave_findings(page) == []
        await page.get_by_role("button", name="Show more").click()
        await expect(found).to_have_count(25)
        await page.get_by_label("Find what was said").fill("“number 7”")
        await page.get_by_role("button", name="Search", exact=True).click()
        await expect(found).to_have_count(1)
        await expect(found.get_by_role("link")).to_have_attribute(
            "href", "/calls/" + await only(site, account)
        )
        await page.get_by_label("Find what was said").fill("giraffe")
        await page.get_by_role("button", name="Search", exact=True).click()
        await expect(page.get_by_text("Nothing found")).to_be_visible()


async def only(site: Site, account: Account) -> str:
    found = await site.ask("GET", '/api/transcripts?q="number 7"', None, account)
    (one,) = found["items"]
    return str(one["call_id"])
