"""A budget that runs out in mid-call: its warning and its end, as they are seen and as they are heard."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Site, visiting
from tests.transcribing import transcribed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="session"),
]
BUDGET_USD = "0.012"
"""Hardly more than what a call needs to begin."""
CALL_MS = 120_000


async def test_the_warning_and_the_end_of_a_budget_are_seen_and_heard(browser: Browser, site: Site) -> None:
    account = await site.account()
    limits = {"per_call_usd": BUDGET_USD, "warn_percent": 80, "auto_cutoff": True}
    await site.ask("PUT", "/api/budget", limits, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await page.get_by_role("button", name="Call me in the browser").click()
        await page.wait_for_url("**/live/*")
        bar = page.get_by_role("progressbar", name="Share of the budget")
        await expect(bar).not_to_have_class(re.compile("warm|bad"))
        await expect(page.get_by_text(re.compile(r"has warned: about \d:\d\d left"))).to_be_visible(timeout=CALL_MS)
        await expect(page.get_by_text(re.compile("The call is over: budget used up. It cost"))).to_be_visible(
            timeout=CALL_MS
        )
        await expect(bar).to_have_class(re.compile("warm"))
        used = float(await bar.get_attribute("aria-valuenow") or "0")
        assert 80 <= used <= 100
        call = await site.ask("GET", f"/api/calls/{page.url.rsplit('/', 1)[1]}", None, account)
        assert call["end_reason"] == "budget"
        assert float(call["total_usd"]) <= float(BUDGET_USD)
        heard = await transcribed(await visit.played())
        assert re.search(r"(minute|seconds) left", heard), heard
        assert re.search(r"time is up|have to go", heard), heard
        assert "bye" in heard.replace("-", ""), heard
