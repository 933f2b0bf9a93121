"""The live view: words while they are said, what was not heard, the cost as it ticks, and a server that is killed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.rig import Site, serving, speaking, spoken, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="session"),
]
TALK_MS = 45_000
RUDE = ((10.5, "interview"), *((17.5 + 5.2 * number, "interrupt") for number in range(15)))
"""Said into the answers, sooner or later in the middle of one."""
PATIENT = {"END_OF_TURN_MS": "1500"}
"""So that words are known for a while before their turn is over."""
SEEN_SAYING = """
window.sayings = [];
new MutationObserver(() => {
  const said = document.querySelector(".saying.caller")?.textContent;
  if (said) window.sayings.push(said);
}).observe(document, { childList: true, subtree: true });
"""
"""Keeps what the page shows of the caller's words while they are said, which may be for a moment only."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def rude(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser whose microphone interrupts whoever speaks."""
    microphone = spoken(tmp_path_factory.mktemp("rude") / "mic.wav", RUDE, end_s=100)
    async with speaking(microphone) as browser:
        yield browser


async def begun(page: Page) -> str:
    """A call in the browser, picked up; its id."""
    await page.get_by_role("radio", name="Sarah").check()
    await page.get_by_role("button", name="Call me in the browser").click()
    await page.wait_for_url("**/live/*")
    await expect(page.get_by_text("You are on the phone.")).to_be_visible()
    return page.url.rsplit("/", 1)[1]


async def test_words_are_shown_while_they_are_said_and_those_not_heard_are_marked(
    rude: Browser, tmp_path: Path
) -> None:
    with serving(tmp_path, **PATIENT) as site:
        async with visiting(rude, site, await site.account()) as visit:
            await visit.page.context.add_init_script(SEEN_SAYING)
            page = await visit.go("/")
            await begun(page)
            saying, turns = page.locator(".saying.agent"), page.locator(".turn")
            await expect(saying).to_contain_text("automated AI call", timeout=TALK_MS)
            assert await turns.count() == 0, "its turn is not over"
            await expect(page.get_by_text("Nothing has been said yet")).to_be_hidden()
            await expect(turns.first).to_contain_text("automated AI call", timeout=TALK_MS)
            await expect(turns.nth(1)).to_contain_text("interview", timeout=TALK_MS)
            seen = await page.evaluate("window.sayings")
            assert any("interview" in said for said in seen), f"shown before the turn was over: {seen}"
            cut = page.locator(".turn.agent", has=page.locator(".unheard")).first
            await expect(cut).to_contain_text("interrupted", timeout=90_000)
            index, unheard = await cut.get_attribute("data-turn"), await cut.locator("s").text_content()
            await page.get_by_role("button", name="Hang up").click()
            await page.get_by_role("link", name="Look at it").click()
            await page.wait_for_url("**/calls/*")
            kept = page.locator(f'.turn[data-turn="{index}"]')
            await expect(kept).to_be_visible()
            assert unheard
            await expect(kept.locator("s")).to_have_text(unheard)
            heard = await kept.locator("button").text_content() or ""
            assert unheard not in heard, "the line is what was heard"


async def test_the_cost_ticks_by_service_and_the_bar_shows_what_binds(rude: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(rude, site, account) as visit:
        page = await visit.go("/")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await begun(page)
        card = page.get_by_role("region", name="What it costs")
        bar = card.get_by_role("progressbar", name="Share of the budget")
        await expect(card).to_contain_text("all the credit there is for it")
        mark = await bar.locator("i").evaluate("(each) => parseFloat(each.style.left)")
        assert 90 < mark < 100, "the warning comes about a minute before five dollars are used up"
        listening = card.get_by_role("row", name="Listening")
        await expect(listening).to_be_visible()
        await listening.evaluate("(row) => { row.dataset.seen = 'yes'; }")
        before = await listening.text_content() or ""
        asked.clear()
        await expect(listening).not_to_have_text(before)
        again = await listening.text_content() or ""
        await expect(listening).not_to_have_text(again)
        assert len([url for url in asked if url.endswith("/costs")]) <= 1, "the events tell it"
        await expect(listening).to_have_attribute("data-seen", "yes")
        await site.ask("PUT", "/api/budget", {"daily_usd": "0.50", "warn_percent": 40}, account)
        await expect(card).to_contain_text("what your limit for a day leaves")
        await expect(card).to_contain_text("from about $0.2000 on")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_text("The call is over")).to_be_visible()


async def test_the_view_outlives_a_server_that_is_killed(rude: Browser, tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        account = await site.account()
        async with visiting(rude, site, account) as visit:
            visit.watch.expected = [
                "ERR_CONNECTION_REFUSED",
                "ERR_INCOMPLETE_CHUNKED",
                "ERR_CONNECTION_RESET",
            ]
            page = await visit.go("/")
            call_id = await begun(page)
            await expect(page.locator(".turn").nth(1)).to_contain_text("interview", timeout=TALK_MS)
            site.process.kill()
            site.process.wait()
            await expect(page.get_by_text("Connection lost; trying again")).to_be_visible()
            await expect(page.get_by_text("The phone is down.")).to_be_visible()
            with serving(tmp_path, int(site.url.rsplit(":", 1)[1])):
                end = page.locator(".notice", has_text="The call is over: server was lost.")
                await expect(end).to_be_visible(timeout=TALK_MS)
                await expect(end).to_have_class(re.compile("bad"))
                await expect(page.get_by_text("Connection lost; trying again")).to_be_hidden()
                await expect(page.get_by_role("button", name="Pick up")).to_be_hidden()
                await expect(page.locator(".turn").nth(1)).to_contain_text("interview")
                call = await site.ask("GET", f"/api/calls/{call_id}", None, account)
                assert (call["status"], call["end_reason"]) == ("completed", "server_lost")
                minutes, seconds = divmod(call["duration_seconds"], 60)
                await expect(page.get_by_role("timer")).to_have_text(f"{minutes}:{seconds:02d}")
                await page.get_by_role("link", name="Look at it").click()
                await expect(page.locator(".badge.bad")).to_be_visible()
