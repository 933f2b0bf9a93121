"""One server and one browser for all the tests here that a worker runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.rig import Site, serving, speaking, spoken
from tests.emulators.stripe import KEY, SECRET, StripeEmulator

LINES = ((10.5, "interview"), (28.0, "weaknesses"), (40.0, "joke"), (52.0, "hobbies"))
"""What the microphone says, each at its second: after the disclosure and the greeting, then after each answer."""


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def stripe() -> AsyncIterator[StripeEmulator]:
    async with StripeEmulator() as emulator:
        yield emulator


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def site(stripe: StripeEmulator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    payments = {
        "STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_URL": stripe.url,
    }  # fmt: skip
    with serving(tmp_path_factory.mktemp("site"), **payments) as started:
        stripe.webhook = f"{started.url}/stripe/webhook"
        yield started


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("microphone") / "mic.wav"
    return spoken(path, LINES, end_s=90)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser(microphone: Path) -> AsyncIterator[Browser]:
    async with speaking(microphone) as started:
        yield started
