"""A budget that runs out in mid-call: its warning and its end, as they are seen and as they are heard."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.rig import Account, Site, visiting
from tests.transcribing import transcribed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="session"),
]
CALL_MS = 120_000
WARN_PERCENT = 35
"""Reached by the first answer, so that there is time left to be warned of."""


async def test_the_warning_and_the_end_of_a_budget_are_seen_and_heard(browser: Browser, site: Site) -> None:
    account = await site.account()
    budget = await least(site, account)
    await site.ask("PUT", "/api/budget", {"per_call_usd": budget, "warn_percent": WARN_PERCENT}, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await page.get_by_role("radio", name="Sarah").check()
        await page.get_by_label("Scenario").select_option(value="")
        await page.get_by_role("button", name="Call me in the browser").click()
        await page.wait_for_url("**/live/*")
        bar = page.get_by_role("progressbar", name="Share of the budget")
        await expect(bar).not_to_have_class(re.compile("warm|bad"))
        await expect(page.get_by_text(re.compile(r"has warned: about \d:\d\d left"))).to_be_visible(
            timeout=CALL_MS
        )
        await expect(page.get_by_text(re.compile("The call is over: budget used up. It cost"))).to_be_visible(
            timeout=CALL_MS
        )
        await expect(bar).to_have_class(re.compile("warm"))
        assert 0 < float(await bar.get_attribute("aria-valuenow") or "0") <= 100
        call = await site.ask("GET", f"/api/calls/{page.url.rsplit('/', 1)[1]}", None, account)
        assert call["end_reason"] == "budget"
        assert float(call["total_usd"]) <= float(budget)
        heard = await transcribed(await visit.played())
        assert re.search(r"(minute|seconds) left", heard), heard
        assert re.search(r"time is up|have to go", heard), heard
        assert "bye" in heard.replace("-", ""), heard


async def test_after_a_reload_the_warning_says_what_is_left_by_then(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    budget = await least(site, account, "phone")
    await site.ask("PUT", "/api/budget", {"per_call_usd": budget, "warn_percent": WARN_PERCENT}, account)
    order = {"persona_id": "sarah", "channel": "phone", "max_minutes": 5}
    call = await site.ask("POST", "/api/calls", order, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go(f"/live/{call['id']}")
        warned = page.get_by_text(re.compile(r"has warned: about \d:\d\d left"))
        await expect(warned).to_be_visible(timeout=CALL_MS)
        first = await warned.text_content() or ""
        await expect(warned).not_to_have_text(first)
        later = await warned.text_content() or ""
        await page.reload()
        await expect(warned).to_be_visible()
        again = await warned.text_content() or ""
        assert seconds_in(again) <= seconds_in(later) < seconds_in(first)
    await site.ask("POST", f"/api/calls/{call['id']}/hangup", None, account)


def seconds_in(words: str) -> int:
    """ "about 1:02 left" is 62."""
    minutes, seconds = re.findall(r"\d+", words)
    return int(minutes) * 60 + int(seconds)


async def least(site: Site, account: Account, channel: str = "browser") -> str:
    """The smallest budget with which a call begins, as the refusal of a smaller one says it."""
    await site.ask("PUT", "/api/budget", {"per_call_usd": "0.001"}, account)
    order = {"persona_id": "sarah", "channel": channel, "max_minutes": 5}
    refused = (await site.answer("POST", "/api/calls", order, account)).json()
    assert refused["code"] == "budget_exhausted"
    return str(refused["needed_usd"])
