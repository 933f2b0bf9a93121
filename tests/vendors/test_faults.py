"""Whole calls in which a vendor goes wrong in every way there is: with another engine behind it, and without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pytest

from tests.vendors.matrix import (
    CATALOGUES,
    Company,
    Vendor,
    all_without,
    call_of,
    check_alone,
    check_behind,
    check_once,
    usual,
)
from tests.vendors.rig import Held


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is special about a vendor's faults.

    `lasting`: what no retry mends. `some`: those lived through with nobody behind in every run; in `make soak`
    it is all of them. `prompted`: the vendor tells the end of a turn without its words.
    """

    lasting: frozenset[str]
    some: tuple[str, ...]
    prompted: frozenset[str] = frozenset()


TROUBLES: Mapping[Vendor, Trouble] = {
    "flux": Trouble(
        frozenset({"handshake_400", "handshake_401", "handshake_402", "handshake_403", "handshake_404"}),
        (
            "handshake_401",
            "handshake_503",
            "drop_in_turn",
            "mute_from_the_start",
            "mute_before_end",
            "turn_without_end",
            "end_late",
            "error",
        ),
        frozenset({"end_without_text"}),
    ),
    "nova": Trouble(
        frozenset({"handshake_400", "handshake_401", "handshake_402", "handshake_403", "handshake_404"}),
        (
            "handshake_401",
            "handshake_hangs",
            "drop_after_interim",
            "close_politely",
            "mute_from_the_start",
            "mute_after_interim",
            "end_late",
            "error",
        ),
        frozenset({"end_without_text"}),
    ),
    "chat": Trouble(
        frozenset(
            {
                "wrong key",
                "no credit",
                "forbidden",
                "model gone",
                "template refuses",
                "bad request",
                "quota gone",
            }
        ),
        ("wrong key", "too many", "refused", "no headers", "stalls", "error event", "empty", "end call"),
    ),
    "elevenlabs": Trouble(
        frozenset(
            {
                "handshake_401",
                "handshake_403",
                "quota_told",
                "quota_told_in_mid_utterance",
                "quota_closed",
                "key_told",
            }
        ),
        (
            "handshake_401",
            "handshake_429",
            "too_slow_first_sound",
            "stall_in_mid_utterance",
            "dropped_between_utterances",
            "no_end",
            "quota_told",
            "busy_told",
        ),
    ),
    "aura": Trouble(
        frozenset({"handshake_401", "handshake_402", "handshake_403"}),
        (
            "handshake_402",
            "handshake_never_answered",
            "silent_for_ever",
            "dropped_in_mid_utterance",
            "closed_for_time_limit",
            "no_end",
            "error_told",
            "text_limit_closes",
        ),
    ),
}


def faults(of: Callable[[Vendor], Iterable[str]]) -> pytest.MarkDecorator:
    """A case for each vendor and fault, a vendor's side by side: their calls are lived through together."""
    cases = [(vendor, fault) for vendor in TROUBLES for fault in of(vendor)]
    return pytest.mark.parametrize(
        ("vendor", "fault"), cases, ids=[f"{vendor}-{fault}" for vendor, fault in cases]
    )


every = faults(lambda vendor: CATALOGUES[vendor])
some = faults(lambda vendor: TROUBLES[vendor].some)


def usually(vendor: Vendor, company: Company, fault: str) -> Held:
    return call_of(vendor, company, fault, usual(vendor, TROUBLES[vendor].some))


def at_length(vendor: Vendor, company: Company, fault: str) -> Held:
    return call_of(vendor, company, fault, all_without(vendor))


@pytest.mark.parametrize("vendor", TROUBLES)
def test_there_are_faults_enough(vendor: Vendor) -> None:
    known, trouble = set(CATALOGUES[vendor]), TROUBLES[vendor]
    assert len(known) >= 20
    assert known >= {*trouble.some} | trouble.lasting | trouble.prompted


def test_no_vendor_is_left_out() -> None:
    assert set(TROUBLES) == set(CATALOGUES)


@pytest.mark.slow
@every
def test_another_engine_takes_over_and_nobody_hears_of_it(vendor: Vendor, fault: str) -> None:
    held = usually(vendor, Company.BEHIND, fault)
    check_behind(held, prompted=fault in TROUBLES[vendor].prompted)


@pytest.mark.slow
@some
def test_what_goes_wrong_once_costs_an_apology_at_most(vendor: Vendor, fault: str) -> None:
    check_once(usually(vendor, Company.ONCE, fault), lasting=fault in TROUBLES[vendor].lasting)


@pytest.mark.slow
@some
def test_alone_it_is_lived_with_or_the_call_ends_with_regret(vendor: Vendor, fault: str) -> None:
    check_alone(usually(vendor, Company.ALONE, fault))


@pytest.mark.soak
@every
def test_all_of_it_once(vendor: Vendor, fault: str) -> None:
    check_once(at_length(vendor, Company.ONCE, fault), lasting=fault in TROUBLES[vendor].lasting)


@pytest.mark.soak
@every
def test_all_of_it_alone(vendor: Vendor, fault: str) -> None:
    check_alone(at_length(vendor, Company.ALONE, fault))
