"""Calls of one node for the items of a list."""

import asyncio

from python_shim.shim.one_by_one import OneByOne


def run(*works):
    """How each ended, all asked for at once."""

    async def all_of_them():
        in_order = OneByOne()
        tasks = [asyncio.ensure_future(in_order.run(work)) for work in works]
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(all_of_them())


def item(began, number, turns):
    async def work():
        began.append(number)
        for _ in range(turns):
            await asyncio.sleep(0)
        return number

    return work


def test_one_begins_when_the_one_before_it_has_ended():
    began = []

    async def last():
        assert began == [0, 1]
        return "last"

    assert run(item(began, 0, 5), item(began, 1, 0), last) == [0, 1, "last"]


def test_none_begins_after_one_that_has_failed():
    began = []

    async def fails():
        await asyncio.sleep(0)
        raise ValueError("no")

    first, failed, *others = run(item(began, 0, 3), fails, item(began, 2, 0), item(began, 3, 0))
    assert first == 0 and isinstance(failed, ValueError) and began == [0]
    assert [type(other) for other in others] == [asyncio.CancelledError, asyncio.CancelledError]
