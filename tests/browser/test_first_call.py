"""From nothing to a conversation: account, phone, a call in the browser, hung up from another tab, looked at after."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.rig import PASSWORD, Site, Visit, visiting
from tests.transcribing import share_heard, transcribed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="session"),
]
EMAIL = "first@example.com"
TALK_MS = 45_000


async def test_a_newcomer_registers_verifies_a_phone_and_talks_in_the_browser(
    browser: Browser, site: Site
) -> None:
    async with visiting(browser, site) as visit:
        await registers(visit)
        await proves_the_phone(visit.page)
        call_id = await talks(visit)
        await hangs_up_from_a_second_tab(visit, call_id)
        said = await site_said(visit)
        heard = await transcribed(await visit.played())
        assert share_heard(said, heard) > 0.7, f"said: {said}\nheard: {heard}"
        await looks_at_it(visit)


async def registers(visit: Visit) -> None:
    page = await visit.go("/")
    await expect(page.get_by_role("heading", level=1)).to_have_text("An AI that calls you back")
    await page.get_by_role("link", name="Make an account").click()
    await page.get_by_label("Your name").fill("Jordan")
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Make the account").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Hello Jordan")
    await expect(page.get_by_text("You have no credit yet")).to_be_visible()
    user = await page.evaluate("JSON.parse(sessionStorage.getItem('callmeback.user')).id")
    await visit.site.grant(user, "5")
    await page.reload()
    await visit.settled()
    await expect(page.get_by_text("You have no credit yet")).to_have_count(0)


async def proves_the_phone(page: Page) -> None:
    await expect(page.get_by_role("button", name="Call me", exact=True)).to_be_disabled()
    await page.get_by_label("Phone number").fill("+12025550199")
    await page.get_by_role("button", name="Send me a code").click()
    text = await page.locator(".notice", has_text="Simulated phone").text_content()
    code = re.search(r"\d{6}", text or "")
    assert code is not None, text
    await page.get_by_label("Code sent to the number ending in 99").fill(code[0])
    await page.get_by_role("button", name="Verify").click()
    await expect(page.get_by_text("Your phone is verified.")).to_be_visible()
    await expect(page.get_by_role("button", name="Call me", exact=True)).to_be_enabled()


async def talks(visit: Visit) -> str:
    """Until the persona has answered what came from the microphone; the call's id."""
    page = visit.page
    await page.get_by_role("radio", name="Sarah").check()
    await page.get_by_role("button", name="Call me in the browser").click()
    await page.wait_for_url("**/live/*")
    await expect(page.get_by_text("You are on the phone.")).to_be_visible()
    turns = page.locator(".turn")
    await expect(turns.nth(0)).to_contain_text("automated AI call", timeout=TALK_MS)
    await expect(turns.nth(1)).to_contain_text("interview", timeout=TALK_MS)
    await expect(turns.nth(2)).to_contain_text("Sarah", timeout=TALK_MS)
    await expect(page.get_by_role("region", name="What it costs").get_by_role("row")).to_have_count(3)
    return page.url.rsplit("/", 1)[1]


async def hangs_up_from_a_second_tab(visit: Visit, call_id: str) -> None:
    tab = await visit.tab()
    await tab.goto(f"{visit.site.url}/calls")
    await tab.get_by_label("E-mail").fill(EMAIL)
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Sign in").click()
    await tab.get_by_role("region", name="My calls").get_by_role("link").first.click()
    await tab.wait_for_url(f"**/live/{call_id}")
    await expect(tab.locator(".turn").nth(1)).to_contain_text("interview")
    await tab.get_by_role("button", name="Hang up").click()
    for page in (tab, visit.page):
        await expect(page.get_by_text("The call is over: ended from here.")).to_be_visible()
    await expect(visit.page.get_by_text("The phone is down.")).to_be_visible()


async def site_said(visit: Visit) -> str:
    """The words of the persona, as the page shows them."""
    return " ".join(await visit.page.locator(".turn.agent > div").all_text_contents())


async def looks_at_it(visit: Visit) -> None:
    page = visit.page
    await page.get_by_role("link", name="Look at it").click()
    await page.wait_for_url("**/calls/*")
    await visit.settled()
    await expect(page.locator(".wave")).to_be_visible()
    # One turn was answered, by a reply that was begun before the turn was over.
    begun = page.locator(".facts div").filter(has_text="Answers begun early")
    await expect(begun).to_contain_text(re.compile(r"1, all used|1 of \d used, \$\d+\.\d+ for the others"))
    await page.wait_for_function("() => document.querySelector('audio').duration > 10")
    await page.locator(".turn.caller button").first.click()
    await page.wait_for_function("() => document.querySelector('audio').currentTime > 5")
    await expect(page.locator(".turn[data-now]")).to_have_count(1)
    await visit.go("/calls")
    listed = page.get_by_role("region", name="My calls").get_by_role("row").nth(1)
    await expect(listed).to_contain_text(re.compile(r"\d ms / [\d,]+ ms"))


async def over(visit: Visit) -> Page:
    """The page of a call in the browser that was begun, and hung up once something was said."""
    page = await visit.go("/")
    await page.get_by_role("button", name="Call me in the browser").click()
    await page.wait_for_url("**/live/*")
    await expect(page.locator(".turn").first).to_be_visible(timeout=TALK_MS)
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("link", name="Look at it").click()
    return page


async def test_a_call_that_is_over_is_replayed_from_its_page(browser: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        page = await over(visit)
        await page.get_by_role("button", name="Replay on the server").click()
        await expect(page.locator(".notice.good")).to_contain_text("exact")


async def test_a_call_is_read_while_its_recording_is_fetched(browser: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await over(visit)
        await expect(page.locator(".wave")).to_be_visible()
        there = asyncio.Event()

        async def late(route: Route) -> None:
            await there.wait()
            await route.abort()

        await page.route("**/audio", late, times=1)
        await page.reload()
        await expect(page.locator(".turn").first).to_contain_text("automated AI call")
        await expect(page.get_by_text("Fetching the recording…")).to_be_visible()
        there.set()
        await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".wave")).to_be_visible()
        await page.locator(".turn button").first.click()
        await page.wait_for_function("() => document.querySelector('audio').currentTime > 0")


async def test_a_call_that_went_on_in_another_process_is_heard_whole(browser: Browser, site: Site) -> None:
    """Its second part is a copy of the first; without a journal it follows it."""
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        page = await over(visit)
        await page.wait_for_function("() => document.querySelector('audio')?.duration > 1")
        once = await page.evaluate("document.querySelector('audio').duration")
        call_id = page.url.rsplit("/", 1)[1]
        part = site.data_dir / "calls" / call_id
        one = len((await site.answer("GET", f"/api/calls/{call_id}/audio", None, account)).content)
        shutil.copy(f"{part}.wav", f"{part}.2.wav")
        await page.reload()
        await page.wait_for_function(f"() => document.querySelector('audio')?.duration > {1.9 * once}")
        async with page.expect_download() as fetched:
            await page.get_by_role("button", name="Recording").click()
        sound = await (await fetched.value).path()
        assert sound.stat().st_size > 1.9 * one
        shutil.copy(f"{part}.journal", f"{part}.2.journal")
        await page.reload()
        async with page.expect_download() as fetched:
            await page.get_by_role("button", name="Journal, part 2").click()
        first = (await site.answer("GET", f"/api/calls/{call_id}/journal", None, account)).content
        assert (await (await fetched.value).path()).read_bytes() == first
