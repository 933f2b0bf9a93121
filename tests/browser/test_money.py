"""Credit bought on the payment provider's page, and the limits."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.rig import Site, visiting
from tests.emulators.stripe import StripeEmulator

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_a_pack_is_bought_on_the_provider_s_page_and_is_there_afterwards(
    browser: Browser, site: Site, stripe: StripeEmulator
) -> None:
    account = await site.account(usd="0")
    async with visiting(browser, site, account, also=[stripe.url]) as visit:
        page = await visit.go("/credits")
        await expect(page.get_by_text("No transactions yet")).to_be_visible()
        await page.get_by_role("button", name="$10.00").click()
        await page.wait_for_url(f"{stripe.url}/c/pay/*")
        await page.get_by_role("button").first.click()
        await page.wait_for_url(f"{site.url}/credits?*")
        await expect(page.get_by_text("$10.00 of credit is there. Thank you.")).to_be_visible()
        await expect(page.locator("#balance .stat").first).to_have_text("$10.00")
        await expect(
            page.get_by_role("region", name="Transactions").get_by_role("row", name="Bought")
        ).to_have_count(1)
    assert (await site.ask("GET", "/api/credits", None, account))["balance_usd"] == "10.00"


async def test_every_kind_of_posting_has_words(browser: Browser, site: Site) -> None:
    account = await site.account()

    async def corrected(route: Route) -> None:
        """The grant told as a correction: one of its own takes a call of a real carrier and its bill."""
        answer = await route.fetch()
        listed = await answer.json()
        listed["items"][0] |= {"kind": "adjustment", "amount_usd": "0.014"}
        await route.fulfill(response=answer, json=listed)

    async with visiting(browser, site, account) as visit:
        await visit.page.route("**/api/credits/transactions*", corrected)
        page = await visit.go("/credits")
        postings = page.get_by_role("table", name="Transactions")
        await expect(postings.get_by_role("row").nth(1)).to_contain_text(
            "Corrected by the telephone bill$0.0140"
        )


async def test_limits_are_saved_shown_and_wrong_ones_are_told_at_their_field(
    browser: Browser, site: Site
) -> None:
    account = await site.account()
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/credits")
        await page.get_by_label("Per day, $").fill("a lot")
        await page.get_by_role("button", name="Save the limits").click()
        await expect(page.get_by_label("Per day, $")).to_have_attribute("aria-invalid", "true")
        await expect(page.get_by_label("Per day, $")).to_be_focused()
        visit.watch.faults = [each for each in visit.watch.faults if "status of 422" not in each]
        await page.get_by_label("Per day, $").fill("2.50")
        await page.get_by_label("Warn at, %").fill("70")
        await page.get_by_role("button", name="Save the limits").click()
        await expect(page.get_by_text("The limits are saved.")).to_be_visible()
        await expect(page.get_by_role("progressbar", name="Today")).to_be_visible()
    limits = await site.ask("GET", "/api/budget", None, account)
    assert (limits["daily_usd"], limits["warn_percent"]) == ("2.50", 70)


async def test_earlier_postings_are_loaded_once_however_often_it_is_pressed(
    browser: Browser, site: Site
) -> None:
    account = await site.account(usd="0")
    for _ in range(45):
        await site.grant(account.user["id"], "0.01")
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/credits")
        rows = page.get_by_role("region", name="Transactions").get_by_role("row", name="Granted")
        await expect(rows).to_have_count(20)
        await page.get_by_role("button", name="Show earlier ones").evaluate(
            "(button) => { button.click(); button.click(); }"
        )
        await expect(rows).to_have_count(40)
        await page.get_by_role("button", name="Show earlier ones").click()
        await expect(rows).to_have_count(45)
        await expect(page.get_by_role("button", name="Show earlier ones")).to_be_hidden()


async def test_the_price_list_shows_what_is_in_use_and_folds_the_rest(browser: Browser, site: Site) -> None:
    async with visiting(browser, site, await site.account()) as visit:
        page = await visit.go("/credits")
        used = page.get_by_role("table", name="Prices in use")
        await expect(used.get_by_role("row")).to_have_count(9)
        await expect(used).to_contain_text("whisper-tiny.en")
        await expect(used.get_by_role("link", name="deepgram.com").first).to_be_visible()
        others = page.get_by_role("table", name="All other prices")
        await expect(others).to_be_hidden()
        await page.get_by_text("All other prices this server knows").click()
        await expect(others).to_contain_text("eleven_flash_v2_5")
        await expect(page.get_by_text("original app")).to_have_count(0)
