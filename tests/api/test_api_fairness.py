"""What one client sends is worked off at its own cost: others are answered as if it were not there."""

import asyncio
import json
import time

GET = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"


async def test_nothing_is_read_behind_a_request_that_is_not_answered(served):
    """A thousand requests behind a held poll wait in the kernel: what we keep of them is one reading."""
    secret = await served.join("bea")
    poll = b"GET /api/poll?agent_id=bea&secret=%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    poll %= (secret.encode(), served.port)
    async with served.line() as line:
        line.writer.write(poll + GET % served.port * 20_000)
        await served.until(lambda: served.network.directory.agent("bea").outbox.awaited)
        (connection,) = [each for each in served.connections() if each.unread]
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(connection.unread) <= 16 * 1024
        assert not connection.transport.is_reading()


async def test_requests_in_one_piece_are_answered_in_their_order(served):
    """Each after the one before it, also where one is refused."""
    host = b"Host: 127.0.0.1:%d\r\n" % served.port
    pieces = [b"GET %s HTTP/1.1\r\n" % path + host + b"\r\n" for path in (b"/healthz", b"/none", b"/api/health")]
    async with served.line() as line:
        line.writer.write(b"".join(pieces * 50))
        found = [(await line.ask(b"")).status for _ in range(150)]
    assert found == [200, 404, 200] * 50


async def test_a_line_that_registers_nothing_is_closed_after_ten_tries(served):
    """Each of which was answered."""
    async with served.socket() as line:
        for number in range(10):
            await line.send("{")
            assert json.loads(await line.recv())["code"] == "bad_json", number
        await line.wait_closed()
    assert line.close_code == 1008


async def test_a_bad_message_costs_its_line_time(served):
    """The more of them come in a row the more; a good one sets it back."""
    first, last = [], []
    async with served.agent("ana") as (line, _):
        for _ in range(3):
            began = time.perf_counter()
            took = []
            for message in ("{", "{", "{", "{", '{"type":"ping"}'):
                await line.send(message)
                await line.recv()
                took.append(time.perf_counter() - began)
            assert took[4] >= 0.01 + 0.02 + 0.03 + 0.04  # from the first: a rest begins before its answer is here
            first.append(took[1] - took[0])
            last.append(took[4] - took[3])
    assert min(first[1:]) < last[0]
