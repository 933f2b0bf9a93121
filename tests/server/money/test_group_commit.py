"""Group commit: nobody waits for a timer, nobody is served twice, and what is wrong with one stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.clock import run_virtual
from server.money.group_commit import GroupCommit
from storage.db import DatabaseDown


class Counter:
    """Serves numbers with their doubles; each transaction takes a second. Odd ones are refused."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.broken: set[int] = set()
        self.down = False

    async def serve(self, asked: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(asked))
        await asyncio.sleep(1)
        if self.down:
            raise DatabaseDown("away", retryable=True)
        if self.broken & set(asked):
            raise ZeroDivisionError
        return [ValueError(number) if number % 2 else 2 * number for number in asked]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_who_is_alone_begins_at_once() -> None:
    async def main() -> None:
        counter, began = Counter(), now()
        assert await GroupCommit(counter.serve).join("a", 2) == 4
        assert now() - began == pytest.approx(1)

    run_virtual(main())


def test_who_comes_meanwhile_shares_the_next_transaction_in_order() -> None:
    async def main() -> None:
        counter, began = Counter(), now()
        commits = GroupCommit(counter.serve, largest=3)
        answers = await asyncio.gather(*(commits.join("a", 2 * number) for number in range(6)))
        assert answers == [4 * number for number in range(6)]
        assert counter.groups == [[0], [2, 4, 6], [8, 10]]
        assert now() - began == pytest.approx(3)

    run_virtual(main())


def test_accounts_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        counter, began = Counter(), now()
        commits = GroupCommit(counter.serve)
        await asyncio.gather(*(commits.join(key, 2) for key in "abc"))
        assert counter.groups == [[2], [2], [2]]
        assert now() - began == pytest.approx(1)

    run_virtual(main())


def test_each_gets_its_own_answer_or_refusal() -> None:
    async def main() -> None:
        commits = GroupCommit(Counter().serve)
        answers = await asyncio.gather(
            *(commits.join("a", number) for number in (0, 1, 2, 3)), return_exceptions=True
        )
        assert [answer for answer in answers if isinstance(answer, int)] == [0, 4]
        assert [str(answer) for answer in answers if isinstance(answer, ValueError)] == ["1", "3"]

    run_virtual(main())


def test_what_breaks_a_group_is_found_alone_and_the_others_are_served() -> None:
    async def main() -> None:
        counter = Counter()
        counter.broken = {4}
        commits = GroupCommit(counter.serve)
        answers = await asyncio.gather(
            *(commits.join("a", number) for number in (0, 2, 4, 6)), return_exceptions=True
        )
        assert [answers[0], answers[1], answers[3]] == [0, 4, 12]
        assert isinstance(answers[2], ZeroDivisionError)
        assert [4] in counter.groups

    run_virtual(main())


def test_a_database_that_is_down_is_not_asked_again_for_any_of_them() -> None:
    async def main() -> None:
        counter = Counter()
        commits = GroupCommit(counter.serve)
        counter.down = True
        answers = await asyncio.gather(
            *(commits.join("a", number) for number in (0, 2, 4)), return_exceptions=True
        )
        assert all(isinstance(answer, DatabaseDown) for answer in answers)
        assert sorted(number for group in counter.groups for number in group) == [0, 2, 4]

    run_virtual(main())


def test_one_that_goes_away_leaves_nothing_and_the_others_are_served() -> None:
    """Before its turn, or while it serves the others."""

    async def main() -> None:
        for leaves in (0, 1, 2):
            counter = Counter()
            commits = GroupCommit(counter.serve, largest=2)
            waiting = [asyncio.ensure_future(commits.join("a", 2 * number)) for number in range(4)]
            await asyncio.sleep(0.5)
            waiting[leaves].cancel()
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(answers[leaves], asyncio.CancelledError)
            assert [answer for answer in answers if isinstance(answer, int)] == [
                4 * number for number in range(4) if number != leaves
            ]
            assert commits._queues == {}

    run_virtual(main())
