"""A scenario of one's own: written with what it leaves open, used, changed, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Account, Site, visiting
from tests.browser.test_pages import grave_findings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
PROMPT = "Haggle with me about the rent of {flat|a flat} in {town}."


async def test_a_scenario_is_written_used_changed_and_deleted(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 422"]
        page = await visit.go("/scenarios")
        form = page.get_by_role("region", name="A new scenario")
        await form.get_by_role("button", name="Save the scenario").click()
        await expect(form.get_by_label("Title")).to_be_focused()
        await expect(form.get_by_text("This may not be blank: write something.").first).to_be_visible()
        await form.get_by_label("Title").fill("The landlord")
        await form.get_by_label("What the call is about").fill(PROMPT)
        await expect(
            form.get_by_text("Each call asks for: flat (else “a flat”); town (needed).")
        ).to_be_visible()
        await form.get_by_label("First words").fill("Hello {name}, you called about the flat?")
        await form.get_by_label("Longest call, minutes").fill("7")
        await form.get_by_role("button", name="Save the scenario").click()
        await expect(page.get_by_text("“The landlord” is saved.")).to_be_visible()
        await expect(form.get_by_label("Title")).to_have_value("")
        mine = page.get_by_role("list", name="My scenarios").get_by_role("listitem")
        card = mine.filter(has=page.get_by_role("heading", name="The landlord"))
        await expect(card).to_contain_text("Haggle with me about the rent of a flat in town.")
        await expect(card).to_contain_text("Not used yet. At most 7 min.")
        assert await grave_findings(page) == []
        await form.get_by_role("button", name="Save the scenario").click()
        await expect(form.get_by_text("This may not be blank: write something.").first).to_be_visible()
        await expect(page.get_by_text("“The landlord” is saved.")).to_have_count(0)

        await card.get_by_role("link", name="Call with The landlord").click()
        await visit.settled()
        await expect(page.get_by_label("Scenario")).to_have_value((await found(site, account))["id"])
        await page.get_by_label("town").fill("York")
        await expect(page.get_by_text("Haggle with me about the rent of a flat in York.")).to_be_visible()
        await page.get_by_role("button", name="Call me", exact=True).click()
        await page.wait_for_url("**/live/*")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("link", name="Look at it")).to_be_visible()

        await visit.go("/scenarios")
        await expect(card).to_contain_text("Used once, last on")
        await card.get_by_role("button", name="Change The landlord").click()
        await card.get_by_label("Title").fill("The landlady")
        await card.get_by_label("Longest call, minutes").fill("")
        await card.get_by_role("button", name="Save the changes").click()
        await expect(page.get_by_role("heading", name="The landlady")).to_be_visible()
        kept = await found(site, account, "The landlady")
        assert (kept["prompt"], kept["max_minutes"], kept["uses"]) == (PROMPT, None, 1)
        await page.get_by_role("button", name="Delete The landlady").click()
        await page.get_by_role("button", name="Delete it").click()
        await expect(page.get_by_text("“The landlady” is deleted.")).to_be_visible()
        await expect(page.get_by_role("heading", name="The landlady")).to_have_count(0)


async def found(site: Site, account: Account, title: str = "The landlord") -> dict[str, Any]:
    listed = await site.ask("GET", "/api/scenarios?limit=100", None, account)
    return next(each for each in listed["items"] if each["title"] == title)
