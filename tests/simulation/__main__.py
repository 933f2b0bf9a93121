"""`python -m tests.simulation SEED`: one world, twice; what became of it, and the end of its story when it broke."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path

from pipeline.clock import cpu_seconds
from tests.simulation.world import Outcome, Plan, simulate, template


def show(outcome: Outcome, took: float) -> None:
    truth = outcome.truth
    print(f"seed {outcome.seed}: {took:.1f} s, {outcome.audits} audits, ledger {outcome.ledger[:16]}")
    print(f"  faults: {dict(sorted(outcome.faults.items()))}")
    print(f"  answers: {dict(sorted(outcome.answers.items()))}")
    print(f"  {truth}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--seconds", type=float, default=Plan().seconds)
    parser.add_argument("--users", type=int, default=Plan().users)
    parser.add_argument("--nodes", type=int, default=Plan().nodes)
    parser.add_argument(
        "--only", default="", help="one kind of fault: kill, freeze, outage, roughness, clock_jump, supersede"
    )
    parser.add_argument("--check-s", type=float, default=Plan().check_s)
    parser.add_argument("--story", action="store_true", help="print everything that happened")
    parser.add_argument("--once", action="store_true", help="do not run it again to compare the ledgers")
    given = parser.parse_args()
    plan = replace(
        Plan(),
        seconds=given.seconds,
        users=given.users,
        nodes=given.nodes,
        check_s=given.check_s,
        only=given.only,
    )
    ledgers: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        migrated = template(Path(folder))
        for _ in range(1 if given.once else 2):
            begun = cpu_seconds()
            try:
                outcome = simulate(given.seed, plan, migrated)
            except Exception:
                traceback.print_exc()
                return 1
            if given.story and not ledgers:
                print("\n".join(outcome.story))
            show(outcome, cpu_seconds() - begun)
            ledgers.append(outcome.ledger)
    if len(set(ledgers)) > 1:
        print("the same seed gave two ledgers")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
