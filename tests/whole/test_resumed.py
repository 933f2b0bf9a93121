"""Calls of a server that is killed go on, all of them, however long its start takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.whole.resumed import SHARE, Outcome, killed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]


def test_every_call_of_a_killed_server_goes_on(tmp_path: Path) -> None:
    """The pause is shorter than a start takes: what counts is that the server listens before it has loaded."""
    outcome = asyncio.run(killed(tmp_path, 1, 3, 1))
    assert outcome.problems == []
    assert outcome.went_on == len(outcome.silences) == 3, outcome
    assert outcome.listened[0] < outcome.ready[0]


@pytest.mark.soak
def test_of_two_hundred_calls_that_are_cut_off_nineteen_in_twenty_go_on(tmp_path: Path) -> None:
    outcome = asyncio.run(killed(tmp_path, 20, 10, 1))
    assert outcome.problems == []
    assert outcome.went_on >= SHARE * len(outcome.silences), outcome


def test_a_call_that_is_not_heard_again_counts_against_the_rest() -> None:
    outcome = Outcome(silences=[4.0] * 19 + [float("inf")])
    assert outcome.good
    assert "19 of 20 calls went on, 19 of them within 5 s" in str(outcome)
    assert not Outcome(silences=[4.0] * 18 + [5.1, float("inf")]).good
    assert not Outcome(silences=[4.0], problems=["a breach"]).good
