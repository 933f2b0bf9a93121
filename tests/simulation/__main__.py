"""`python -m tests.simulation SEED`: one world, twice; what became of it, and the end of its story when it broke.

With `--count N` it is N worlds from that seed on, once each, and what became of all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path

from pipeline.clock import real_seconds
from tests.simulation.world import Outcome, Plan, simulate, template


def show(outcome: Outcome, took: float) -> None:
    truth = outcome.truth
    print(f"seed {outcome.seed}: {took:.1f} s, {outcome.audits} audits, ledger {outcome.ledger[:16]}")
    print(f"  faults: {dict(sorted(outcome.faults.items()))}")
    print(f"  answers: {dict(sorted(outcome.answers.items()))}")
    print(f"  {truth}")


def many(seeds: range, plan: Plan) -> int:
    """Lives through all of them; those that broke say how to replay them."""
    begun, faults, sums, broken, most = real_seconds(), Counter[str](), Counter[str](), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        migrated = template(Path(folder))
        for lived, seed in enumerate(seeds, 1):
            try:
                outcome = simulate(seed, plan, migrated)
            except Exception as error:
                broken += 1
                print(f"seed {seed}: {error!r}; {error.__notes__[-1]}", flush=True)
                continue
            assert outcome.truth is not None
            faults.update(outcome.faults)
            sums.update(audits=outcome.audits, relayed=outcome.relayed)
            told = ("legs", "taken_over", "carrier_s", "billed_s", "unbilled_s", "overspent", "unconfirmed")
            most = max(most, outcome.truth.most_unconfirmed)
            sums.update({name: getattr(outcome.truth, name) for name in told})
            if lived % 25 == 0 or lived == len(seeds):
                print(f"{lived} worlds in {real_seconds() - begun:.0f} s, {broken} broke", flush=True)
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {plan.nodes} nodes: {dict(sorted(faults.items()))}")
    print(f"  {dict(sums)}, most unconfirmed of one crash {most}")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--seconds", type=float, default=Plan().seconds)
    parser.add_argument("--users", type=int, default=Plan().users)
    parser.add_argument("--nodes", type=int, default=Plan().nodes)
    parser.add_argument(
        "--only",
        default="",
        help="one fault: kill, freeze, outage, roughness, clock_jump, supersede, outlive, stand_still, blackout",
    )
    parser.add_argument(
        "--unanswered",
        type=float,
        default=Plan().unanswered,
        help="part of the hang-ups and look-ups that the carrier does not answer",
    )
    parser.add_argument("--check-s", type=float, default=Plan().check_s)
    parser.add_argument("--story", action="store_true", help="print everything that happened")
    parser.add_argument("--count", type=int, default=1, help="so many seeds, each once")
    parser.add_argument("--once", action="store_true", help="do not run it again to compare the ledgers")
    given = parser.parse_args()
    plan = replace(
        Plan(),
        seconds=given.seconds,
        users=given.users,
        nodes=given.nodes,
        check_s=given.check_s,
        only=given.only,
        unanswered=given.unanswered,
    )
    if given.count > 1:
        return many(range(given.seed, given.seed + given.count), plan)
    ledgers: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        migrated = template(Path(folder))
        for _ in range(1 if given.once else 2):
            begun = real_seconds()
            try:
                outcome = simulate(given.seed, plan, migrated)
            except Exception:
                traceback.print_exc()
                return 1
            if given.story and not ledgers:
                print("\n".join(outcome.story))
            show(outcome, real_seconds() - begun)
            ledgers.append(outcome.ledger)
    if len(set(ledgers)) > 1:
        print("the same seed gave two ledgers")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
