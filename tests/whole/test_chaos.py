"""Servers are killed and frozen at random while people call: no second is lost or doubled, and nobody pays for it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.storage.world import migrated
from tests.whole.chaos import chaos
from tests.whole.reckoning import Outcome

pytestmark = pytest.mark.slow
FEW, MANY = 5, 1_000
FAULTS = "CHAOS_FAULTS"
"""In the environment: another number of faults for the soak."""


def _through(postgres: Server, folder: Path, faults: int, seed: int) -> None:
    outcome = Outcome(seed)
    with postgres.fresh_database(prepare=migrated) as url:
        asyncio.run(chaos(folder, url, faults, outcome, print))
    assert outcome.problems == [], outcome
    assert outcome.faults.total() >= faults
    assert outcome.answered > 0
    assert outcome.taken_over > 0
    print(outcome)


@pytest.mark.timeout(300)
def test_a_few_faults(postgres: Server, tmp_path: Path) -> None:
    _through(postgres, tmp_path, FEW, 1)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_many_faults(postgres: Server, tmp_path: Path) -> None:
    _through(postgres, tmp_path, int(os.environ.get(FAULTS, MANY)), 2)
