"""The live view and a connection that is bad: dead without having broken, refused for a while, gone for longer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.rig import Site, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]
LOST = "Connection lost; trying again"
DEAD_AT_FIRST = """
(() => {
  const ask = window.fetch;
  let asked = 0;
  const back = new Promise((resolve) => { window.comeBack = resolve; });
  window.fetch = (path, options) => {
    if (!String(path).endsWith("/events")) return ask(path, options);
    if (++asked > 1) return back.then(() => ask(path, options));
    const body = new ReadableStream({
      start(control) {
        options.signal?.addEventListener("abort", () => control.error(options.signal.reason));
        window.dead = true;
      },
    });
    return Promise.resolve(new Response(body));
  };
})();
"""
"""The first connection for events is open and brings nothing, as one whose other end is gone without a word; another
one is had after `comeBack`."""


async def test_a_dead_connection_is_noticed_and_made_anew(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    call = await site.ask("POST", "/api/calls", {"persona_id": "sarah"}, account)
    async with visiting(browser, site, account) as visit:
        page = visit.page
        await page.context.add_init_script(DEAD_AT_FIRST)
        await page.clock.install()
        await visit.go(f"/live/{call['id']}")
        await page.wait_for_function("() => window.dead")
        await page.clock.fast_forward(30_000)
        await expect(page.get_by_text(LOST)).to_be_visible()
        await page.evaluate("window.comeBack()")
        await expect(page.get_by_text(LOST)).to_be_hidden()
        await expect(page.locator(".turn").first).to_be_visible(timeout=45_000)
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_text("The call is over")).to_be_visible()


async def test_the_time_on_the_phone_is_by_the_server_s_clock(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    call = await site.ask("POST", "/api/calls", {"persona_id": "sarah"}, account)
    async with visiting(browser, site, account) as visit:
        page = visit.page
        await page.clock.install(time=datetime.now(UTC) + timedelta(hours=1))
        await visit.go(f"/live/{call['id']}")
        await expect(page.locator(".call-bar .badge")).to_have_text("On the phone")
        await expect(page.get_by_role("timer")).to_have_text(re.compile(r"^0:\d\d$"))
        await expect(page.get_by_role("timer")).not_to_have_text("0:00")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_text("The call is over")).to_be_visible()


async def test_what_was_said_while_nobody_listened_is_fetched(browser: Browser, site: Site) -> None:
    """Events are kept for a while only: here none of them comes, and what was said is there all the same."""
    account = await site.account(phone=True)
    call = await site.ask("POST", "/api/calls", {"persona_id": "sarah"}, account)
    line = {"index": 0, "role": "agent", "text": "Said in the meantime.", "started_ms": 0, "ended_ms": 900,
            "interrupted": False, "unheard": "", "latency": None}  # fmt: skip
    tried = 0

    async def events(route: Route) -> None:
        nonlocal tried
        tried += 1
        if tried == 1:
            await route.fulfill(status=429, json={"code": "rate_limited", "detail": "Too many tries."})
        else:
            await route.fulfill(status=200, body="")

    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 429"]
        page = visit.page
        await page.route("**/events", events)
        await visit.go(f"/live/{call['id']}")
        await expect(page.get_by_text(LOST)).to_be_visible()
        await page.route(
            "**/transcript", lambda route: route.fulfill(json={"items": [line], "next_cursor": None})
        )
        await expect(page.locator(".turn")).to_have_text("Sarah 0:00Said in the meantime.")
        async with page.expect_response("**/hangup"):
            await page.get_by_role("button", name="Hang up").click()
