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
NODES = (2, 2, 3, 1)
"""How many a world has, by its seed."""
PICKED_UP = ((17, 0.7), (19, 0.7), (170, 0.15))
"""Seeds, and the part of hang-ups without an answer, of worlds in which calls are given up in vain for a while."""

OUTLIVED = (1, 3)
"""Seeds of worlds in which a call goes on elsewhere, and then where it was before."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_keeps_its_promises(seed: int, migrated: Path) -> None:
    simulate(seed, Plan(nodes=NODES[seed % len(NODES)]), migrated)


@pytest.mark.soak
@pytest.mark.parametrize("seed", LONG)
def test_a_long_world_keeps_its_promises(seed: int, migrated: Path) -> None:
    simulate(seed, Plan(seconds=120.0, users=4, nodes=NODES[seed % len(NODES)], check_s=1.0), migrated)


def test_nodes_carry_each_others_calls_and_take_over_those_of_the_dead(migrated: Path) -> None:
    outcome = simulate(5, Plan(seconds=40.0, only="kill"), migrated)
    assert outcome.truth is not None
    assert outcome.faults["kill"] > 0
    assert outcome.relayed > 0, "no media socket came in on another node"
    assert outcome.truth.taken_over > 0
    assert any("call_resumed" in line for line in outcome.story)


@pytest.mark.parametrize("seed", OUTLIVED)
def test_a_node_that_lost_its_calls_outlives_those_who_took_them(seed: int, migrated: Path) -> None:
    """Its journals tell of an end that was none, and of what it bought when the calls were others'."""
    outcome = simulate(seed, Plan(seconds=60.0, only="outlive"), migrated)
    assert outcome.truth is not None
    assert outcome.faults["outlive"] > 0
    taken = [line for line in outcome.story if "call_resumed" in line and "taken_over=True" in line]
    calls = [line.split("call=")[1].split()[0] for line in taken]
    assert len(calls) > len(set(calls)), "nobody was asked again for a call that had gone on elsewhere"


@pytest.mark.parametrize(("seed", "unanswered"), PICKED_UP)
def test_who_picks_up_a_call_that_is_being_given_up_is_billed_for(
    seed: int, unanswered: float, migrated: Path
) -> None:
    """While its hang-up gets no answer, or long after, and another node than its own is asked.

    These worlds keep their promises also where `goes_on` overlooks `given_up_at`: they do not come upon the moment.
    That mistake is caught by `test_a_call_that_was_given_up_is_neither_answered_nor_gone_on_with`
    (`make mutants ARGS=answered-in-vain`).
    """
    simulate(seed, Plan(seconds=36.0, nodes=3, unanswered=unanswered), migrated)


def test_without_faults_every_second_is_billed_and_nobody_is_refused_for_ours(migrated: Path) -> None:
    outcome = simulate(7, Plan(seconds=60.0, faults=False), migrated)
    assert outcome.truth is not None
    assert (outcome.truth.unbilled_s, outcome.truth.unconfirmed) == (0, 0)
    assert outcome.truth.legs >= 5
    assert outcome.truth.charged > 0
    assert not any(" 50" in answer for answer in outcome.answers), outcome.answers


def test_the_same_seed_gives_the_same_ledger(migrated: Path) -> None:
    first, second, other = (simulate(seed, Plan(), migrated) for seed in (3, 3, 4))
    assert first.ledger == second.ledger != other.ledger
    assert first.story == second.story


def test_it_is_the_same_in_another_process_with_other_hashes() -> None:
    command = [sys.executable, "-m", "tests.simulation", "5", "--once"]
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
        simulate(2, Plan(seconds=60.0, sabotage=sabotage), migrated)
    assert str(broken.value).startswith(found)
    assert broken.value.__notes__[-1] == "replay it: .venv/bin/python -m tests.simulation 2 --seconds 60"
