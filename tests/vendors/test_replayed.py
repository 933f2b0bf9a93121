"""Whole calls in which a vendor goes wrong, again offline: the same steps, the same sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.conducted import replay_call
from pipeline.traffic import complete, read
from tests.vendors.matrix import CATALOGUES, Company, Vendor, cast_of
from tests.vendors.rig import hold

ONE_EACH: tuple[tuple[Vendor, str], ...] = (
    ("flux", "drop_in_turn"),
    ("nova", "mute_after_interim"),
    ("chat", "stalls"),
    ("elevenlabs", "stall_in_mid_utterance"),
    ("aura", "dropped_in_mid_utterance"),
)
ALL: Iterable[tuple[Vendor, str]] = [(vendor, fault) for vendor in CATALOGUES for fault in CATALOGUES[vendor]]


def check(vendor: Vendor, fault: str, company: Company, folder: Path) -> None:
    tape = folder / "call.traffic"
    held = hold(replace(cast_of(vendor, fault, company), tape=tape))
    facts = read(tape)
    assert complete(facts)
    again = replay_call(held.lines, facts)
    assert again.replay.difference is None


@pytest.mark.slow
@pytest.mark.parametrize(("vendor", "fault"), ONE_EACH)
def test_a_call_in_which_a_vendor_fails_for_a_moment_replays(
    vendor: Vendor, fault: str, tmp_path: Path
) -> None:
    check(vendor, fault, Company.ONCE, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("company", Company)
@pytest.mark.parametrize(("vendor", "fault"), ALL)
def test_so_does_every_other(vendor: Vendor, fault: str, company: Company, tmp_path: Path) -> None:
    check(vendor, fault, company, tmp_path)
