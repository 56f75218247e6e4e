"""The queue and the event of one connection, which stand in for those of asyncio."""

import asyncio

import pytest

from devserver.transports.http.light import Mailbox, Sign


async def test_items_come_out_as_they_went_in():
    """Also when some are taken while others come."""
    box: Mailbox[int] = Mailbox()
    seen = []
    for number in range(0, 30, 3):
        for each in range(3):
            box.put_nowait(number + each)
        seen += [await box.get(), await box.get()]
    while not box.empty():
        seen.append(await box.get())
    assert seen == list(range(30))


async def test_a_reader_is_woken_by_the_first_item():
    """And gets the others without waiting."""
    box: Mailbox[int] = Mailbox()
    reading = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    box.put_nowait(1)
    box.put_nowait(2)
    assert (await reading, await box.get(), box.empty()) == (1, 2, True)


async def test_a_reader_that_gives_up_takes_nothing_along():
    """The next one gets the item."""
    box: Mailbox[int] = Mailbox()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await box.get()
    box.put_nowait(1)
    assert await box.get() == 1


async def test_a_sign_lets_all_go_on():
    """Those who wait and those who come later, until it is down again."""
    sign = Sign()
    waiting = [asyncio.create_task(sign.wait()) for _ in range(3)]
    gone = waiting.pop()
    await asyncio.sleep(0)
    gone.cancel()
    sign.set()
    sign.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert (await sign.wait(), sign.is_set()) == (True, True)
    sign.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await sign.wait()
