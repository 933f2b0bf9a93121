"""Whole servers in simulated time, under faults: each seed a world that has to keep every promise about money."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import Broken, Plan, simulate, template

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS, LONG = range(1, 21), range(1, 501)
LONG_PLAN = Plan(seconds=600.0, users=4, check_s=1.0)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_keeps_its_promises(seed: int, migrated: Path) -> None:
    simulate(seed, Plan(), migrated)


@pytest.mark.soak
@pytest.mark.parametrize("seed", LONG)
def test_a_long_world_keeps_its_promises(seed: int, migrated: Path) -> None:
    simulate(seed, LONG_PLAN, migrated)


def test_without_faults_every_second_is_billed_and_nobody_is_refused_for_ours(migrated: Path) -> None:
    outcome = simulate(7, Plan(faults=False), migrated)
    assert outcome.truth is not None
    assert (outcome.truth.unbilled_s, outcome.truth.unconfirmed) == (0, 0)
    assert outcome.truth.legs >= 5
    assert outcome.truth.charged > 0
    assert not any(" 50" in answer for answer in outcome.answers), outcome.answers


def test_the_same_seed_gives_the_same_ledger(migrated: Path) -> None:
    first, second, other = (simulate(seed, Plan(seconds=60.0), migrated) for seed in (3, 3, 4))
    assert first.ledger == second.ledger != other.ledger
    assert first.story == second.story


def test_it_is_the_same_in_another_process_with_other_hashes() -> None:
    command = [sys.executable, "-m", "tests.simulation", "5", "--once", "--seconds", "60"]
    told = [
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert told[0][0].split("ledger")[1] == told[1][0].split("ledger")[1]
    assert told[0][1:] == told[1][1:]


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        ("UPDATE user_credits SET balance_nano = balance_nano + 1", "I1"),
        ("DELETE FROM call_cost_events WHERE seq = 2", "I3"),
        ("UPDATE credit_transactions SET idem_key = 'x' || id WHERE kind = 'usage'", "I6"),
        # The process that had the call is gone, and the one that runs has left its hold where it was.
        (
            "UPDATE calls SET owner = 'gone'; UPDATE credit_holds SET opened_at = '2026-11-01 00:00:00.000000'",
            "I14",
        ),
        (
            "UPDATE call_cost_breakdowns SET quantity = quantity + 60 WHERE service = 'carrier'",
            "I3",
        ),
    ],
)
def test_a_spoilt_ledger_is_noticed_and_the_way_to_replay_it_told(
    sabotage: str, found: str, migrated: Path
) -> None:
    with pytest.raises(Broken) as broken:
        simulate(2, Plan(sabotage=sabotage), migrated)
    assert str(broken.value).startswith(found)
    assert broken.value.__notes__[-1] == "replay it: .venv/bin/python -m tests.simulation 2"
