"""Whole calls in which Flux goes wrong in every way there is: with another engine behind it, and without."""

from __future__ import annotations

import pytest

from tests.vendors.matrix import (
    CATALOGUES,
    Company,
    all_without,
    call_of,
    check_alone,
    check_behind,
    check_once,
    usual,
)

FAULTS = CATALOGUES["flux"]
LASTING = {"handshake_400", "handshake_401", "handshake_402", "handshake_403", "handshake_404"}
"""What no retry mends."""
PROMPTED = {"end_without_text"}
"""The vendor tells the end of a turn without its words."""
SOME = (
    "handshake_401",
    "handshake_503",
    "drop_in_turn",
    "mute_from_the_start",
    "mute_before_end",
    "turn_without_end",
    "end_late",
    "error",
)
"""For every run; `make soak` lives through all of them with nobody behind."""
CALLS = usual("flux", SOME)
ALL = all_without("flux")


def test_there_are_faults_enough() -> None:
    assert len(FAULTS) >= 20
    assert set(SOME) <= set(FAULTS)
    assert set(FAULTS) >= LASTING | PROMPTED


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_another_engine_takes_over_and_nobody_hears_of_it(fault: str) -> None:
    held = call_of("flux", Company.BEHIND, fault, CALLS)
    check_behind(held, prompted=fault in PROMPTED)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SOME)
def test_what_goes_wrong_once_costs_an_apology_at_most(fault: str) -> None:
    check_once(call_of("flux", Company.ONCE, fault, CALLS), lasting=fault in LASTING)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SOME)
def test_alone_it_is_lived_with_or_the_call_ends_with_regret(fault: str) -> None:
    check_alone(call_of("flux", Company.ALONE, fault, CALLS))


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_all_of_it_once(fault: str) -> None:
    check_once(call_of("flux", Company.ONCE, fault, ALL), lasting=fault in LASTING)


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_all_of_it_alone(fault: str) -> None:
    check_alone(call_of("flux", Company.ALONE, fault, ALL))
