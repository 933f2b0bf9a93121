"""How soon the console can be used and how much it loads, in the Chromium of this machine, on loopback."""

from __future__ import annotations

import math
import statistics
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from benchmarks.figures import Figure
from tests.browser.rig import Account, Site, chromium, launched, serving, visiting

BAR_MS = 1000.0
BAR_BYTES = 200_000.0
USABLE = """() => new Promise((resolve) => {
  const look = () => {
    const prices = [...document.querySelectorAll("p.stat")];
    if (prices.length && prices.every((price) => price.textContent.includes("$"))) resolve(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
"""Milliseconds from the start of the navigation until the start page stands, its buttons work, its prices are there."""


async def _view(browser: Browser, site: Site, account: Account) -> tuple[float, float]:
    """Milliseconds and bytes of one first view: a profile with nothing kept."""
    received = 0.0

    def add(event: dict[str, float]) -> None:
        nonlocal received
        received += event["encodedDataLength"]

    async with visiting(browser, site, account) as visit:
        devtools = await visit.page.context.new_cdp_session(visit.page)
        await devtools.send("Network.enable")
        devtools.on("Network.loadingFinished", add)
        await visit.page.goto(f"{site.url}/", wait_until="commit")
        took = float(await visit.page.evaluate(USABLE))
        await visit.page.wait_for_load_state("networkidle")
    return took, received


async def measure(views: int) -> list[Figure]:
    """The first of the views meets a browser and a server that have not shown the page before."""
    if chromium() is None:
        return [Figure("console", "first view", math.nan, "ms", BAR_MS, note="no Chromium here")]
    scripted = dict.fromkeys(("STT_ENGINE", "LLM_ENGINE", "TTS_ENGINE"), "scripted")
    with (
        tempfile.TemporaryDirectory(prefix="callmeback-bench-") as made,
        serving(Path(made), **scripted) as site,
    ):
        account = await site.account(phone=True)
        async with async_playwright() as playwright:
            browser = await launched(playwright)
            found = [await _view(browser, site, account) for _ in range(views)]
            await browser.close()
    times = [took for took, _ in found]
    return [
        Figure("console", "first view can be used", times[0], "ms", BAR_MS, note="nothing kept; loopback"),
        Figure("console", "later ones, median", statistics.median(times[1:]), "ms", BAR_MS),
        Figure("console", "first view, on the wire", found[0][1], "bytes", BAR_BYTES),
    ]
