"""One running application a test."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from server.logs import OURS
from tests.emulators.stripe import StripeEmulator
from tests.server.rig import Rig, running, settings
from tests.server.shop import WEBHOOK, configured


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(settings(tmp_path)) as started:
        yield started


@pytest.fixture
async def stripe() -> AsyncIterator[StripeEmulator]:
    """An emulated Stripe that listens; its events go nowhere until it is told where."""
    async with StripeEmulator() as emulator:
        yield emulator


@pytest.fixture
async def shop(tmp_path: Path, stripe: StripeEmulator) -> AsyncIterator[Rig]:
    async with running(settings(**configured(tmp_path, stripe))) as rig:  # type: ignore[arg-type]
        stripe.webhook, stripe.client = WEBHOOK, rig.http
        yield rig


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in OURS]
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in ours:
        logger.setLevel(logging.NOTSET)
    structlog.reset_defaults()
