"""The start page and a call without a mouse."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.rig import Site, visiting

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="session"),
]
FOCUSED = """() => {
  const at = document.activeElement;
  const box = at.closest(".choice") ?? at;
  const label = at.labels?.[0]?.textContent ?? at.getAttribute("aria-label") ?? at.textContent;
  const outlined = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const seen = [at, box].some((each) => outlined(getComputedStyle(each)));
  return [label.trim(), seen];
}"""


async def focused(page: Page) -> str:
    """What has the focus, which has to be seen."""
    name, seen = await page.evaluate(FOCUSED)
    assert seen, f"nothing shows that {name!r} has the focus"
    return str(name)


async def tab_to(page: Page, name: str, most: int = 40) -> list[str]:
    """Press Tab until that has the focus; what was passed on the way."""
    passed: list[str] = []
    for _ in range(most):
        await page.keyboard.press("Tab")
        passed.append(await focused(page))
        if passed[-1].startswith(name):
            return passed
    raise AssertionError(f"Tab does not reach {name!r}, only {passed}")


async def test_the_focus_stays_while_a_button_is_busy_and_where_something_was_taken_away(
    browser: Browser, site: Site
) -> None:
    account = await site.account()
    for title in ("One", "Two"):
        await site.ask("POST", "/api/scenarios", {"title": title, "prompt": "Be brief."}, account)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/personas")
        await page.get_by_label("What they should know of you").fill("I like cats.")
        save = page.get_by_role("button", name="Save", exact=True)
        await save.press("Enter")
        await expect(page.get_by_text("Saved. The next call knows it.")).to_be_visible()
        await expect(save).to_be_focused()
        page = await visit.go("/scenarios")
        change = page.get_by_role("button", name="Change One")
        await change.press("Enter")
        await page.get_by_role("button", name="Leave it", exact=True).press("Enter")
        assert await page.evaluate("document.activeElement.textContent.startsWith('One')"), "at its card"
        drop = page.get_by_role("button", name="Delete Two")
        await drop.press("Enter")
        await page.get_by_role("button", name="Delete it").press("Enter")
        await expect(page.get_by_text("“Two” is deleted.")).to_be_visible()
        await expect(drop).to_have_count(0)
        assert await page.evaluate("document.activeElement !== document.body")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.closest('#content') !== null")


async def test_a_call_is_placed_and_ended_with_the_keyboard_alone(browser: Browser, site: Site) -> None:
    account = await site.account(phone=True)
    async with visiting(browser, site, account) as visit:
        page = await visit.go("/")
        assert await tab_to(page, "Skip to the content") == ["Skip to the content"]
        await page.keyboard.press("Enter")
        passed = await tab_to(page, "Hear")
        assert passed[0] in {"Brad", "Alex", "Sarah"}, "the personas come first"
        await page.keyboard.press("Shift+Tab")
        await page.keyboard.press("ArrowDown")
        chosen = await focused(page)
        assert chosen != passed[0]
        await expect(page.get_by_role("radio", name=chosen)).to_be_checked()
        await tab_to(page, "Scenario")
        await page.keyboard.press("ArrowDown")
        await tab_to(page, "Anything the persona should know")
        await page.keyboard.type("No mouse today.")
        await tab_to(page, "At most")
        price = page.locator("p.stat").first
        await expect(price).to_contain_text("$")
        before = await price.text_content()
        await page.keyboard.press("ArrowRight")
        await expect(price).not_to_have_text(before or "")
        assert (await tab_to(page, "Call me in the browser"))[0] == "Call me"
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/live/*")
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"{chosen} on the phone")
        await expect(page.get_by_text("You are on the phone.")).to_be_visible()
        await tab_to(page, "Mute")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Unmute")).to_be_focused()
        await page.keyboard.press("Shift+Tab")
        assert await focused(page) == "Hang up"
        await page.keyboard.press("Enter")
        await expect(page.get_by_text(re.compile("The call is over"))).to_be_visible()
