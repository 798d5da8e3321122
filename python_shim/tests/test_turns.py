"""How many calls of a pack are under way at once."""

import asyncio

from python_shim.shim.turns import MOST, Turns


def test_so_many_run_at_once_and_the_others_follow_in_order():
    turns, running, most, order = Turns(), set(), [0], []

    async def call(number):
        await turns.take("pack")
        running.add(number)
        order.append(number)
        most[0] = max(most[0], len(running))
        await asyncio.sleep(0)
        running.discard(number)
        turns.give("pack")

    async def prompt():
        await asyncio.wait_for(asyncio.gather(*(call(number) for number in range(100))), 5)

    asyncio.run(prompt())
    assert most == [MOST]
    assert order == list(range(100))


def test_packs_do_not_wait_for_each_other():
    async def prompt():
        for _ in range(MOST):
            await turns.take("one")
        await asyncio.wait_for(turns.take("other"), 5)

    turns = Turns()
    asyncio.run(prompt())


def test_the_turns_of_calls_that_were_given_up_go_to_others():
    async def waits(name):
        await turns.take("pack")
        got.append(name)

    async def prompt():
        for _ in range(MOST):
            await turns.take("pack")
        tasks = [asyncio.create_task(waits(name)) for name in ("gone", "handed", "last")]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        turns.give("pack")  # on its way to the second, which is cancelled before it comes
        tasks[1].cancel()
        await asyncio.wait_for(tasks[2], 5)

    async def prompt_that_ends():
        for _ in range(MOST):
            await turns.take("pack")
        ended.append(asyncio.ensure_future(turns.take("pack")))
        await asyncio.sleep(0)

    turns, got, ended = Turns(), [], []
    asyncio.run(prompt())
    assert got == ["last"]

    turns = Turns()
    asyncio.run(prompt_that_ends())
    for _ in range(MOST):
        turns.give("pack")
    asyncio.run(asyncio.wait_for(turns.take("pack"), 5))
