"""Every page: usable by everybody, in both colours and on a phone's screen, small, and nothing from elsewhere.

Errors of scripts, breaches of the content policy and requests to others fail each test here by its visit.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, expect

from server.console import PAGES, REFERENCE
from tests.browser.rig import DESKTOP, PHONE, Account, Site, Visit, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]
FIRST_VIEW_BYTES = 200_000
GRAVE = {"serious", "critical"}
WHAT = {"exclude": [["article:nth-of-type(n+4)"]]}
"""The reference has an article a route, all made alike: some stand for all."""


async def grave_findings(page: Page) -> list[str]:
    """What axe finds serious or critical, in both colours and both sizes."""
    found = []
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width, height in (DESKTOP, PHONE):
            await page.set_viewport_size({"width": width, "height": height})
            report = (await Axe().run(page, context=WHAT)).response["violations"]
            found += [
                f"{page.url} {scheme} {width}: {each['id']} {[node['html'][:120] for node in each['nodes']]}"
                for each in report
                if each["impact"] in GRAVE
            ]
            wide = await page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if wide > 0:
                found.append(f"{page.url} {width}: {wide} pixels wider than the screen")
    return found


SEEN_IN_CALL = {"/live/{id}", "/calls/{id}"}
PATHS = [page.path for page in (*PAGES, REFERENCE) if page.path not in SEEN_IN_CALL]


@pytest.mark.parametrize("path", PATHS)
async def test_axe_finds_nothing_grave(browser: Browser, site: Site, path: str) -> None:
    account = None if path == "/login" else await site.account()
    if path == "/operator" and account is not None:
        await site.promote(account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go(path)
        assert await grave_findings(page) == []
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)


async def test_axe_finds_nothing_grave_where_nobody_is_signed_in(browser: Browser, site: Site) -> None:
    async with visiting(browser, site) as visit:
        page = await visit.go("/")
        await expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        assert await grave_findings(page) == []


async def test_axe_finds_nothing_grave_in_a_call_or_after_it(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await page.get_by_role("button", name="Call me", exact=True).click()
        await page.wait_for_url("**/live/*")
        # Until an answer was timed: what is drawn of it has to fit too.
        await expect(page.get_by_text("How fast it answers")).to_be_visible(timeout=60_000)
        assert await grave_findings(page) == []
        await page.get_by_role("button", name="Hang up").click()
        await page.get_by_role("link", name="Look at it").click()
        await page.wait_for_url("**/calls/*")
        await visit.settled()
        await expect(page.locator(".wave")).to_be_visible()
        await expect(page.locator(".waterfall svg.chart")).to_be_visible()
        assert await grave_findings(page) == []
        for figures in await page.get_by_text("As figures").all():
            await figures.click()
        await expect(page.get_by_role("columnheader", name="Sent")).to_be_visible()
        assert await grave_findings(page) == []
        await visit.go("/calls")
        assert await grave_findings(page) == []


@dataclass
class Received:
    size: int = 0
    files: int = 0

    def add(self, event: dict[str, float]) -> None:
        self.size += round(event["encodedDataLength"])
        self.files += 1


@pytest.mark.parametrize("path", ["/", "/login"])
async def test_a_first_view_is_small(browser: Browser, site: Site, path: str) -> None:
    """Bytes on the wire with their headers, nothing kept from before, until the page asks for nothing more."""
    account = await site.account() if path == "/" else None
    async with visiting(browser, site, account) as visit:
        received, devtools = Received(), await visit.page.context.new_cdp_session(visit.page)
        await devtools.send("Network.enable")
        devtools.on("Network.loadingFinished", received.add)
        await visit.go(path)
        await visit.page.wait_for_load_state("networkidle")
        assert received.files > 8, "it was not counted"
        assert 20_000 < received.size <= FIRST_VIEW_BYTES, f"{received.size} bytes in {received.files} files"


async def test_pages_refuse_inline_scripts_and_foreign_hosts(browser: Browser, site: Site) -> None:
    """The policy is in force: what it must catch is caught."""
    async with visiting(browser, site) as visit:
        visit.watch.expected = ["Content Security Policy"]
        page = await visit.go("/login")
        blocked = await page.evaluate(
            """async () => {
              const seen = [];
              document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
              const script = document.createElement("script");
              script.textContent = "window.ran = true";
              document.head.append(script);
              await fetch("http://localhost:9/").catch(() => {});
              await new Promise((resolve) => setTimeout(resolve));
              return [...seen, window.ran === true];
            }"""
        )
        visit.watch.faults = [each for each in visit.watch.faults if "localhost:9" not in each]
        assert blocked == ["script-src-elem", "connect-src", False]


async def test_the_theme_is_kept_and_the_menu_says_where_one_is(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        page = await visit.go("/")
        await page.get_by_role("button", name="Use the dark colours").click()
        await visit.go("/calls")
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await expect(page.get_by_role("link", name="Calls", exact=True)).to_have_attribute(
            "aria-current", "page"
        )
        await expect(page.get_by_text("No calls yet")).to_be_visible()


async def test_the_chosen_colours_are_there_before_the_modules(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        page = await visit.go("/calls")
        await page.get_by_role("button", name="Use the dark colours").click()
        held = asyncio.Event()

        async def late(route: Route) -> None:
            await held.wait()
            await route.continue_()

        await page.route("**/static/js/shell.js", late)
        await page.reload(wait_until="commit")
        await expect(page.get_by_text("Loading…")).to_be_visible()
        try:
            await expect(page.locator("html")).to_have_attribute("data-theme", "dark", timeout=3000)
        finally:
            held.set()
        await expect(page.get_by_role("button", name="Use the light colours")).to_be_visible()


TOLD = """
async () => {
  const { Transcript } = await import("/static/js/transcript.js");
  const told = new Transcript("Sarah");
  document.getElementById("content").replaceChildren(told.element);
  const rest = Object.assign(document.createElement("p"), { style: "height: 3000px" });
  document.getElementById("content").append(rest);
  const say = (index) => told.put({ index, role: "agent", text: `Line ${index}.`, started_ms: 0, ended_ms: 0 });
  const seen = () => {
    const { top, bottom } = told.list.lastElementChild.getBoundingClientRect();
    return top > -2 && bottom < innerHeight + 2;
  };
  for (let index = 0; index < 60; index += 1) say(index);
  const followed = seen();
  scrollTo(0, 0);
  say(60);
  const above = scrollY;
  scrollTo(0, document.body.scrollHeight);
  const was = rest.getBoundingClientRect().bottom;
  say(61);
  await new Promise((resolve) => requestAnimationFrame(resolve));
  const below = Math.round(rest.getBoundingClientRect().bottom - was);
  told.list.lastElementChild.scrollIntoView({ block: "end" });
  say(62);
  return { followed, above, below, again: seen() };
}
"""


async def test_a_transcript_follows_who_reads_its_end_and_nobody_else(browser: Browser, site: Site) -> None:
    async with visiting(browser, site) as visit:
        page = await visit.go("/login")
        found = await page.evaluate(TOLD)
    assert found == {"followed": True, "above": 0, "below": 0, "again": True}


# -- my number, my wish ---------------------------------------------------------------------


async def test_a_number_opted_out_is_not_rung_and_the_page_says_why(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        await page.get_by_role("button", name="Never ring this number").click()
        await page.get_by_role("button", name="Keep it").click()
        await page.get_by_role("button", name="Never ring this number").click()
        await page.get_by_role("button", name="Stop calls").click()
        await expect(page.get_by_text("This number will not be rung any more.")).to_be_visible()
        for _ in ("at once", "and after a reload"):
            await expect(page.get_by_text("wants no calls and is not rung.")).to_be_visible()
            await expect(page.get_by_text("verified", exact=True)).to_have_count(0)
            page = await visit.go("/settings")
        visit.watch.expected = ["status of 403"]
        await refused(visit, account)


async def test_a_pin_for_ringing_in_is_set_changed_and_removed(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/settings")
        visit.watch.expected = ["status of 422"]
        await page.get_by_label("PIN", exact=True).fill("123456")
        await page.get_by_role("button", name="Set it").click()
        await expect(page.get_by_text("this PIN is too easy to guess")).to_be_visible()
        await page.get_by_label("PIN", exact=True).fill("271828")
        await page.get_by_role("button", name="Set it").click()
        await expect(page.get_by_role("button", name="Change it")).to_be_visible()
        assert (await site.ask("GET", "/api/me", None, account))["inbound_pin"] is True
        await page.get_by_role("button", name="Remove it").click()
        await expect(page.get_by_role("button", name="Set it")).to_be_visible()
        assert (await site.ask("GET", "/api/me", None, account))["inbound_pin"] is False


async def refused(visit: Visit, account: Account) -> None:
    page = await visit.go("/")
    await expect(page.get_by_text("wants no calls and is not rung: verify it again")).to_be_visible()
    await page.get_by_role("button", name="Call me", exact=True).click()
    await expect(page.locator(".notice.bad")).to_contain_text(
        re.compile("Verify the number again under Settings")
    )
    assert (await visit.site.ask("GET", "/api/calls", None, account))["items"] == []
