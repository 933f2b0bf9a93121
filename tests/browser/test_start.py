"""The start page: an order is placed once and never twice, nothing written is lost, both prices are told."""

from __future__ import annotations

import asyncio
from decimal import ROUND_HALF_UP, Decimal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from storage import users
from storage.db import Database
from tests.browser.rig import Account, Site, launched, lost, phone_of, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]
EXCUSE = {"title": "A way out", "prompt": "Get me out of {place}."}


async def called(page: Page, *, first: bool) -> str:
    """Ring, hang up: the path of that call's page."""
    if not first:
        await page.get_by_role("button", name="Call me", exact=True).click()
    await page.wait_for_url("**/live/*")
    path = urlsplit(page.url).path
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_role("link", name="Look at it")).to_be_visible()
    return path


async def test_back_and_call_again_is_another_call(browser: Browser, site: Site) -> None:
    """The page comes back from the browser's memory as it was left, its scripts and what they knew included."""
    account = await site.account(phone=True)
    async with async_playwright() as playwright:
        keeping = await launched(playwright, back_cache=True)
        async with visiting(keeping, site, account) as visit:
            page = await visit.go("/")
            await page.evaluate("window.leftOnce = true")
            await page.get_by_role("button", name="Call me", exact=True).click()
            one = await called(page, first=True)
            await page.go_back(wait_until="commit")
            await page.wait_for_url(f"{site.url}/", wait_until="commit")
            assert await page.evaluate("window.leftOnce"), "it was loaded anew: nothing is tried here"
            two = await called(page, first=False)
        await keeping.close()
    assert one != two
    calls = await site.ask("GET", "/api/calls", None, account)
    assert {f"/live/{call['id']}" for call in calls["items"]} == {one, two}


async def lose_the_answer(page: Page) -> None:
    """To an order that was placed."""
    await page.route("**/api/calls", lost, times=1)
    await page.get_by_role("button", name="Call me", exact=True).click()
    await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")


async def test_the_answer_to_an_order_that_was_lost_is_fetched_by_the_next_try(
    browser: Browser, site: Site
) -> None:
    """The order was placed and its answer never came: pressed again it is the same order."""
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/")
        await lose_the_answer(page)
        await page.get_by_role("button", name="Call me", exact=True).click()
        await page.wait_for_url("**/live/*")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("link", name="Look at it")).to_be_visible()
    assert len((await site.ask("GET", "/api/calls", None, account))["items"]) == 1


async def test_an_order_that_is_changed_after_its_answer_was_lost_is_another_one(
    browser: Browser, site: Site
) -> None:
    """The first is placed, and said to be: its key is not used for what it does not fit."""
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED", "status of 409"]
        page = await visit.go("/")
        await lose_the_answer(page)
        await page.get_by_label("At most").fill("7")
        await page.get_by_role("button", name="Call me", exact=True).click()
        await expect(page.locator(".notice.bad")).to_contain_text("already on a call with us")
        (call,) = (await site.ask("GET", "/api/calls", None, account))["items"]
        await site.ask("POST", f"/api/calls/{call['id']}/hangup", None, account)


async def test_a_press_before_the_call_s_page_is_there_orders_nothing_more(
    browser: Browser, site: Site
) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        held = asyncio.Event()

        async def late(route: Route) -> None:
            await held.wait()
            await route.continue_()

        await page.route("**/live/*", late)
        orders = []
        page.on("request", lambda request: orders.append(request.url.endswith("/api/calls")))
        await page.get_by_role("button", name="Call me", exact=True).evaluate(
            """async (ring) => {
              for (let pressed = 0; pressed < 2; pressed += 1) {
                ring.click();
                while (ring.ariaBusy) await new Promise((resolve) => setTimeout(resolve, 5));
              }
            }"""
        )
        held.set()
        await page.wait_for_url("**/live/*")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("link", name="Look at it")).to_be_visible()
    assert sum(orders) == 2, "pressed twice"
    assert len((await site.ask("GET", "/api/calls", None, account))["items"]) == 1


async def pasted(page: Page, label: str, text: str) -> None:
    """As a person does it: what has no room in the field is cut off."""
    await page.get_by_label(label).focus()
    await page.evaluate("(text) => document.execCommand('insertText', false, text)", text)


async def test_proving_a_phone_keeps_what_was_chosen_and_written(browser: Browser, site: Site) -> None:
    account = await site.account()
    await site.ask("POST", "/api/scenarios", EXCUSE, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await page.get_by_role("radio", name="Sarah").check()
        await page.get_by_label("Scenario").select_option("A way out")
        await page.get_by_label("place").fill("the dinner")
        await page.get_by_label("Anything the persona should know").fill("At nine.")
        await page.get_by_label("Phone number").fill(phone_of(996))
        await page.get_by_role("button", name="Send me a code").click()
        await expect(
            page.get_by_text("By entering the code or scheduling a call I ask for automated calls")
        ).to_be_visible()
        text = await page.locator(".notice", has_text="Simulated phone").text_content() or ""
        code = next(word for word in text.split() if word.isdigit())
        await pasted(page, "Code sent to the number", f" {code[:3]} {code[3:]}\n")
        await page.get_by_role("button", name="Verify").click()
        await expect(page.get_by_role("button", name="Call me", exact=True)).to_be_enabled()
        await expect(page.get_by_label("Phone number")).to_have_count(0)
        await expect(page.get_by_role("radio", name="Sarah")).to_be_checked()
        await expect(page.get_by_label("place")).to_have_value("the dinner")
        await expect(page.get_by_label("Anything the persona should know")).to_have_value("At nine.")


async def test_pages_that_take_orders_work_without_a_secure_context(browser: Browser, site: Site) -> None:
    """Over http from another machine browsers have no `crypto.randomUUID`."""
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        await visit.page.context.add_init_script("delete Crypto.prototype.randomUUID;")
        page = await visit.go("/credits")
        await expect(page.locator("#balance")).to_be_visible()
        page = await visit.go("/")
        await page.get_by_role("button", name="Call me", exact=True).click()
        await page.wait_for_url("**/live/*")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("link", name="Look at it")).to_be_visible()


async def test_enter_in_a_field_keeps_what_was_written_and_out_of_the_address(
    browser: Browser, site: Site
) -> None:
    account = await site.account(phone=True)
    await site.ask("POST", "/api/scenarios", EXCUSE, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await page.get_by_label("Scenario").select_option("A way out")
        await page.get_by_label("place").fill("the dinner")
        await page.get_by_label("place").press("Enter")
        await expect(page.get_by_role("button", name="Call me", exact=True)).to_be_focused()
        await expect(page.get_by_label("place")).to_have_value("the dinner")
        assert page.url == f"{site.url}/"
    assert (await site.ask("GET", "/api/calls", None, account))["items"] == []


async def test_an_operator_made_since_and_a_new_name_are_seen_on_the_next_page(
    browser: Browser, site: Site
) -> None:
    account = await site.account(name="Olga")
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/calls")
        await expect(page.get_by_role("link", name="Operator")).to_be_hidden()
        await site.promote(account)
        await site.ask("PATCH", "/api/me", {"name": "Olga the Second"}, account)
        await visit.go("/")
        await expect(page.get_by_role("link", name="Operator")).to_be_visible()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Olga the Second")


async def test_who_signed_out_is_not_shown_their_pages_by_going_back(browser: Browser, site: Site) -> None:
    account = await site.account(name="Olga")
    async with async_playwright() as playwright:
        keeping = await launched(playwright, back_cache=True)
        async with visiting(keeping, site, account) as visit:
            page = await visit.go("/credits")
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url("**/login")
            await page.go_back(wait_until="commit")
            await page.wait_for_url("**/login?next=*")
            await expect(page.get_by_text("$5.00")).to_have_count(0)
        await keeping.close()


async def test_nothing_is_planned_at_first_and_a_limit_shortens_the_call(
    browser: Browser, site: Site
) -> None:
    account = await site.account(phone=True)
    await site.ask(
        "POST", "/api/scenarios", {"title": "Brief", "prompt": "Be brief.", "max_minutes": 2}, account
    )
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        await expect(page.get_by_label("Scenario").locator(":checked")).to_have_text("No scenario")
        minutes = page.get_by_label("At most")
        await expect(page.get_by_text("talks 15 minutes at most.")).to_be_visible()
        await expect(minutes).to_have_attribute("max", "15")
        await minutes.fill("9")
        await page.get_by_label("Scenario").select_option("Brief")
        await expect(page.get_by_text("“Brief” lasts 2 minutes at most.")).to_be_visible()
        await expect(minutes).to_have_value("2")
        priced = await site.ask("GET", "/api/estimate?minutes=2", None, account)
        price = page.locator(".grid > div", has_text="On your phone").locator(".stat")
        shown = Decimal(priced["total_usd"]).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        await expect(price).to_have_text(f"about ${shown}")
        await page.get_by_role("button", name="Call me", exact=True).click()
        await page.wait_for_url("**/live/*")
        placed = (await site.ask("GET", "/api/calls", None, account))["items"][0]
        assert placed["max_minutes"] == 2
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("link", name="Look at it")).to_be_visible()


async def test_a_login_with_a_short_password_is_told_that_it_is_wrong(browser: Browser, site: Site) -> None:
    account = await site.account()
    async with visiting(browser, site) as visit:
        visit.watch.expected = ["status of 401"]
        page = await visit.go("/login")
        await page.get_by_label("E-mail").fill(account.email)
        await page.get_by_label("Password").fill("short")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_text("The e-mail address or the password is wrong.")).to_be_visible()
        await expect(page.locator(".wrong")).to_have_count(0)


async def moved_to_britain(site: Site, account: Account) -> None:
    """A number of a country that has no price, as after the operator took it off the list."""
    database = Database.open(f"sqlite:///{site.data_dir / 'callmeback.db'}", checkpoint=False)
    async with database.write() as tx:
        await users.set_phone(tx, account.user["id"], "+442079460018")
    await database.aclose()


async def test_both_prices_are_told_and_a_number_that_is_not_rung_leaves_the_other(
    browser: Browser, site: Site
) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        found = {
            channel: await site.ask("GET", f"/api/estimate?minutes=5&channel={channel}", None, account)
            for channel in ("phone", "browser")
        }
        assert float(found["browser"]["total_usd"]) < float(found["phone"]["total_usd"])
        for words, channel in (("On your phone", "phone"), ("In the browser", "browser")):
            price = page.locator(".grid > div", has_text=words).locator(".stat")
            await expect(price).to_have_text(f"about ${float(found[channel]['total_usd']):.4f}")
        await moved_to_britain(site, account)
        visit.watch.expected = ["status of 403"]
        await visit.go("/")
        await expect(page.locator(".grid > div", has_text="On your phone")).to_contain_text(
            "not rung from here"
        )
        await expect(page.locator(".grid > div", has_text="In the browser")).to_contain_text("about $")


PULLED = """
(slider) => {
  for (const minutes of [6, 7, 8, 9]) {
    slider.value = minutes;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }
  return [...document.querySelectorAll(".grid .stat")].map((price) => price.textContent);
}
"""
"""The prices just after the last step."""


async def test_the_slider_asks_for_the_price_where_it_comes_to_rest(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/")
        price = page.locator(".grid > div", has_text="In the browser").locator(".stat")
        await expect(price).to_contain_text("about $")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        minutes = page.get_by_label("At most")
        assert await minutes.evaluate(PULLED) == ["…", "…"], "what stood there is the price of another call"
        priced = await site.ask("GET", "/api/estimate?minutes=9&channel=browser", None, account)
        shown = Decimal(priced["total_usd"]).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        await expect(price).to_have_text(f"about ${shown}")
        assert len([url for url in asked if "/api/estimate" in url]) == 2, "one for each way to talk"
        await page.route("**/api/estimate*", lambda route: route.abort())
        await minutes.fill("3")
        await expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
        await expect(price).to_have_text("…")


async def test_an_answer_that_comes_late_is_not_the_price_of_what_is_chosen_by_then(
    browser: Browser, site: Site
) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["ERR_FAILED"]
        page = await visit.go("/")
        price = page.locator(".grid > div", has_text="In the browser").locator(".stat")
        await expect(price).to_contain_text("about $")
        held, failed = asyncio.Event(), asyncio.Event()

        async def late(route: Route) -> None:
            await held.wait()
            await route.abort()
            failed.set()

        minutes = page.get_by_label("At most")
        await page.route("**/api/estimate?minutes=9*", late)
        async with page.expect_request("**/api/estimate?minutes=9*"):
            await minutes.fill("9")
        await minutes.fill("3")
        await expect(price).to_contain_text("about $")
        seen = await price.text_content() or ""
        held.set()
        await failed.wait()
        await minutes.fill("4")
        await expect(price).not_to_have_text(seen)
        await expect(page.locator(".notice.bad")).to_have_count(0)
