"""Whole calls in which ElevenLabs goes wrong in every way there is: with another engine behind it, and without."""

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

FAULTS = CATALOGUES["elevenlabs"]
LASTING = {
    "handshake_401",
    "handshake_403",
    "handshake_404",
    "quota_told",
    "quota_told_in_mid_utterance",
    "quota_closed",
    "key_told",
    "voice_told",
    "text_too_long_told",
}
"""What no retry mends."""
SOME = (
    "handshake_401",
    "handshake_429",
    "too_slow_first_sound",
    "stall_in_mid_utterance",
    "dropped_between_utterances",
    "no_end",
    "quota_told",
    "busy_told",
)
"""For every run; `make soak` lives through all of them with nobody behind."""
CALLS = usual("elevenlabs", SOME)
ALL = all_without("elevenlabs")


def test_there_are_faults_enough() -> None:
    assert len(FAULTS) >= 20
    assert set(SOME) <= set(FAULTS)
    assert set(FAULTS) >= LASTING


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_another_engine_takes_over_and_nobody_hears_of_it(fault: str) -> None:
    held = call_of("elevenlabs", Company.BEHIND, fault, CALLS)
    check_behind(held)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SOME)
def test_what_goes_wrong_once_costs_an_apology_at_most(fault: str) -> None:
    check_once(call_of("elevenlabs", Company.ONCE, fault, CALLS), lasting=fault in LASTING)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SOME)
def test_alone_it_is_lived_with_or_the_call_ends_with_regret(fault: str) -> None:
    check_alone(call_of("elevenlabs", Company.ALONE, fault, CALLS))


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_all_of_it_once(fault: str) -> None:
    check_once(call_of("elevenlabs", Company.ONCE, fault, ALL), lasting=fault in LASTING)


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_all_of_it_alone(fault: str) -> None:
    check_alone(call_of("elevenlabs", Company.ALONE, fault, ALL))
