"""Pictures of every page of the console, in both colours and two sizes, with real data: `make screenshots`.

Starts a server of its own on a data directory that is thrown away, lives through a short day with it (a call in the
browser that is recorded, schedules, a purchase), and writes `docs/screenshots/PAGE-SIZE-COLOURS.png`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from playwright.async_api import Browser, Page, async_playwright, expect

from scripts.palette_png import palette_png
from tests.browser.rig import DESKTOP, PHONE, Account, Site, launched, serving, spoken, visiting
from tests.emulators.stripe import KEY, SECRET

WHERE = Path("docs/screenshots")
SIZES = {"desktop": DESKTOP, "phone": PHONE}
SELLS = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET}
"""So that the packs of credit are seen; nobody buys one here."""
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, Scheme] = ("light", "dark")
LARGEST = 100_000
TALK_MS = 60_000
LINES = ((11.0, "interview"), (27.0, "weaknesses"), (44.0, "joke"))
"""What the microphone says, each at its second: after the greeting, then after each answer."""
PAGES = ("schedules", "scenarios", "personas", "credits", "calls", "settings", "operator", "docs", "nowhere")
DECODE = """async (png) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const bytes = pen.getImageData(0, 0, image.width, image.height).data;
  const reader = new FileReader();
  const read = new Promise((resolve) => { reader.onload = () => resolve(reader.result); });
  reader.readAsDataURL(new Blob([bytes]));
  return [image.width, image.height, (await read).split(",")[1]];
}"""


class Camera:
    """Takes the page as it stands in every size and colour."""

    def __init__(self, darkroom: Page, where: Path) -> None:
        self._darkroom = darkroom
        self._where = where

    async def take(self, page: Page, name: str, at: str = "body") -> None:
        """`at`: what stands at the top of the picture, as far as the page is long enough."""
        for size, (width, height) in SIZES.items():
            for scheme in SCHEMES:
                await page.set_viewport_size({"width": width, "height": height})
                await page.emulate_media(color_scheme=scheme)
                await page.evaluate("document.activeElement?.blur()")
                await page.locator(at).first.evaluate("(element) => element.scrollIntoView()")
                raw = base64.b64encode(await page.screenshot()).decode()
                wide, high, pixels = await self._darkroom.evaluate(DECODE, raw)
                rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(high, wide, 4)
                small = palette_png(rgba[:, :, :3])
                path = self._where / f"{name}-{size}-{scheme}.png"
                path.write_bytes(small)
                print(f"{path}  {len(small):,} bytes" + ("  too large" if len(small) > LARGEST else ""))
        await page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
        await page.emulate_media(color_scheme="light")


async def live_a_day(site: Site, account: Account) -> None:
    """What is there before the pictures: limits, a note, memories, schedules."""
    limits = {"per_call_usd": "0.05", "daily_usd": "1.00", "monthly_usd": "10.00", "warn_percent": 80}
    await site.ask("PUT", "/api/budget", limits, account)
    about = {"kind": "friend", "notes": "I moved to a new flat in spring and look for work."}
    await site.ask("PUT", "/api/personas/sarah/relationship", about, account)
    for text in ("Jordan has a sister in York.", "Jordan is allergic to nuts."):
        await site.ask("POST", "/api/personas/brad/memories", {"text": text}, account)
    morning = {"at": "2030-01-07T08:30", "timezone": "UTC", "rrule": "FREQ=WEEKLY;BYDAY=MO,WE,FR"}
    plan = {"persona_id": "brad", "context": "Ask me what today's training is.", **morning}
    await site.ask("POST", "/api/scheduled-calls", {**plan, "at": await tomorrow(site, account)}, account)


async def tomorrow(site: Site, account: Account) -> str:
    """Half past eight on the day after the account was made, by the server's clock."""
    made = (await site.ask("GET", "/api/me", None, account))["created_at"]
    day = np.datetime64(made[:10]) + 1
    return f"{day}T08:30"


async def call(page: Page, camera: Camera) -> None:
    """A conversation: taken while it goes on, hung up, and looked at again."""
    await page.wait_for_load_state("networkidle")
    await page.get_by_role("radio", name="Sarah").check()
    await camera.take(page, "start")
    await page.get_by_role("button", name="Call me in the browser").click()
    await page.wait_for_url("**/live/*")
    await expect(page.locator(".turn")).to_have_count(5, timeout=TALK_MS)
    await camera.take(page, "live")
    await expect(page.locator(".turn")).to_have_count(7, timeout=TALK_MS)
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("link", name="Look at it").click()
    await page.wait_for_url("**/calls/*")
    await page.locator(".wave").wait_for()
    await camera.take(page, "call")


async def take_all(browser: Browser, site: Site, where: Path) -> None:
    darkroom = await (await browser.new_context()).new_page()
    camera = Camera(darkroom, where)
    async with visiting(browser, site) as visit:
        await camera.take(await visit.go("/login"), "login")
        await camera.take(await visit.go("/"), "landing")
    account = await site.account(phone=True)
    await live_a_day(site, account)
    async with visiting(browser, site, account) as visit:
        visit.watch.expected = ["status of 404"]  # of the page for addresses that are none
        await call(await visit.go("/"), camera)
        for name in PAGES:
            if name == "operator":
                await site.promote(account)
                await site.ask("POST", "/api/admin/audit", None, account)
                await site.ask("POST", "/api/calls", {"persona_id": "alex", "channel": "browser"}, account)
            page = await visit.go(f"/{name}")
            if name == "operator":
                await expect(page.get_by_text("The books are right")).to_be_visible()
            await page.wait_for_load_state("networkidle")
            await camera.take(page, name)
            if name == "personas":
                await camera.take(page, "memories", '[aria-label^="You and"]')
            if name == "schedules":
                await camera.take(page, "calendar", '[aria-label="The next four weeks"]')
            if name == "credits":
                await camera.take(page, "prices", '[aria-label="Prices"]')
            if name == "operator":
                await camera.take(page, "strangers", '[aria-label="Strangers who ring"]')


async def main(where: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="callmeback-screenshots-") as made:
        microphone = spoken(Path(made) / "mic.wav", LINES, end_s=120)
        with serving(Path(made), **SELLS) as site:
            async with async_playwright() as playwright:
                browser = await launched(playwright, microphone)
                await take_all(browser, site, where)
                await browser.close()


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description="Pictures of every page of the console.")
    asked.add_argument("--where", type=Path, default=WHERE)
    chosen: Path = asked.parse_args().where
    chosen.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(chosen))
