"""What a persona remembers, corrected and forgotten by the person it is about."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Site, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_a_memory_is_corrected_and_another_forgotten(browser: Browser, site: Site) -> None:
    account = await site.account()
    path = "/api/personas/sarah/memories"
    for text in ("My sister lives in Leeds.", "I am allergic to nuts."):
        await site.ask("POST", path, {"text": text}, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/personas")
        await page.get_by_role("radio", name="Sarah").check()
        memories = page.get_by_role("region", name="Memories").get_by_role("listitem")
        await expect(memories).to_have_count(2)
        sister = memories.filter(has_text="Leeds")
        await sister.get_by_role("button", name="Correct").click()
        await page.get_by_label("What is right").fill("My sister lives in York.")
        await page.get_by_role("button", name="Save", exact=True).last.click()
        await expect(memories.filter(has_text="York")).to_have_count(1)
        await page.get_by_role("button", name="Forget: I am allergic to nuts.").click()
        await expect(page.get_by_text("Forgotten: “I am allergic to nuts.”")).to_be_visible()
        await expect(memories).to_have_count(1)
    kept = await site.ask("GET", path, None, account)
    assert [each["text"] for each in kept["items"]] == ["My sister lives in York."]
