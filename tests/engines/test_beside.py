"""What comes out of a context with tasks beside it, and that no task outlives it."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clock import run_virtual
from pipeline.core.errors import EngineError
from pipeline.engines.beside import beside, plain_group

FAILED = EngineError("the body's", retryable=True)


async def fails() -> None:
    raise ValueError("the task's")


async def fails_when_stopped() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise ValueError("the task's")


def test_the_bodys_error_comes_out_as_it_is_once_the_tasks_are_done() -> None:
    done: list[str] = []

    async def task() -> None:
        await asyncio.sleep(1)
        done.append("task")

    async def body() -> None:
        async with plain_group() as tasks:
            tasks.create_task(task())
            raise FAILED

    with pytest.raises(EngineError) as raised:
        run_virtual(body())
    assert raised.value is FAILED
    assert done == ["task"]


def test_a_tasks_error_ends_the_body_and_comes_out_in_a_group() -> None:
    async def body() -> None:
        async with plain_group() as tasks:
            tasks.create_task(fails())
            await asyncio.sleep(3600)

    with pytest.raises(ExceptionGroup) as raised:
        run_virtual(body())
    assert [str(error) for error in raised.value.exceptions] == ["the task's"]


def test_of_two_errors_none_is_lost() -> None:
    async def body() -> None:
        async with beside(fails_when_stopped()):
            await asyncio.sleep(0)
            raise FAILED

    with pytest.raises(ExceptionGroup) as raised:
        run_virtual(body())
    assert [str(error) for error in raised.value.exceptions] == [str(FAILED), "the task's"]


def test_cancelled_from_outside_it_is_cancelled_and_so_is_the_work() -> None:
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    async def body() -> None:
        async with asyncio.timeout(1), beside(work()):
            await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        run_virtual(body())
    assert ended == [True]


def test_work_that_can_be_told_to_stop_is_waited_for() -> None:
    told = asyncio.Event()
    ended: list[str] = []

    async def work() -> None:
        await told.wait()
        await asyncio.sleep(1)
        ended.append("by itself")

    async def body() -> None:
        async with beside(work(), told.set):
            await asyncio.sleep(1)

    run_virtual(body())
    assert ended == ["by itself"]
