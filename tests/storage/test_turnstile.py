"""Who passes next: the urgent first, else in order; whoever gives up keeps nobody waiting."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from storage.turnstile import Turnstile

Visit = tuple[int, bool, int, int]
"""When somebody comes, whether it is urgent, how long it takes, and after how long of waiting it is given up."""


async def _passed(visits: list[Visit]) -> list[int]:
    """Who got in, in order."""
    turnstile, order, inside = Turnstile(), list[int](), set[int]()

    async def visit(number: int, comes: int, urgent: bool, takes: int, patience: int) -> None:
        await asyncio.sleep(comes)
        try:
            async with asyncio.timeout(patience + 0.5) as waiting, turnstile.passing(urgent=urgent):
                waiting.reschedule(None)
                assert not inside
                inside.add(number)
                order.append(number)
                await asyncio.sleep(takes)
                inside.remove(number)
        except TimeoutError:
            pass

    async with asyncio.TaskGroup() as tasks:
        for number, (comes, urgent, takes, patience) in enumerate(visits):
            tasks.create_task(visit(number, comes, urgent, takes, patience))
    async with turnstile.passing():  # whatever happened, it is free again
        return order


def test_the_urgent_go_first_and_the_others_in_order() -> None:
    visits = [(0, False, 10, 99), (1, False, 10, 99), (2, False, 10, 99), (3, True, 10, 99), (4, True, 1, 99)]
    assert run_virtual(_passed(visits)) == [0, 3, 4, 1, 2]


def test_whoever_gives_up_is_passed_over() -> None:
    visits = [(0, False, 10, 99), (1, False, 1, 2), (2, True, 1, 1), (3, False, 1, 99)]
    assert run_virtual(_passed(visits)) == [0, 3]


async def test_a_turn_given_to_somebody_who_is_cancelled_just_then_goes_on_to_the_next() -> None:
    turnstile, passed = Turnstile(), list[str]()

    async def visit(name: str) -> None:
        async with turnstile.passing():
            passed.append(name)

    async with asyncio.TaskGroup() as tasks:
        async with turnstile.passing():
            first, _ = tasks.create_task(visit("first")), tasks.create_task(visit("second"))
            for _ in range(3):  # until both wait
                await asyncio.sleep(0)
        first.cancel()
    assert passed == ["second"]


_visits = st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4), st.integers(0, 12))


@given(st.lists(_visits, max_size=8))
def test_never_two_at_a_time_and_always_free_at_the_end(visits: list[Visit]) -> None:
    assert len(run_virtual(_passed(visits))) <= len(visits)
