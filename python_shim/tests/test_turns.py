"""How many calls of a pack are under way at once."""

import asyncio

from python_shim.shim.turns import MOST, Turns


def test_so_many_run_at_once_and_the_others_follow_in_order():
    turns, running, most, order = Turns(), set(), [0], []

    async def call(number):
        async with turns.of("pack"):
            running.add(number)
            order.append(number)
            most[0] = max(most[0], len(running))
            await asyncio.sleep(0)
            running.discard(number)

    async def prompt():
        await asyncio.wait_for(asyncio.gather(*(call(number) for number in range(100))), 5)

    asyncio.run(prompt())
    assert most == [MOST]
    assert order == list(range(100))


async def _take_all(turns, pack):
    for _ in range(MOST):
        await asyncio.wait_for(turns.of(pack).acquire(), 5)


def test_packs_do_not_wait_for_each_other_nor_prompts_for_what_one_before_has_left():
    turns = Turns()

    async def prompt():
        await _take_all(turns, "one")
        await _take_all(turns, "other")

    asyncio.run(prompt())
    asyncio.run(prompt())
