"""Agents are known again after a restart: what is kept of them, where, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workspaces import until

from devserver.model.config import AgentGroup, NetworkConfig
from devserver.network.agents import Directory
from devserver.server.identities import BEFORE, NAME, IdentityStore
from devserver.server.runfile import FOLDER, write_private

CONFIG = NetworkConfig("Test", groups={"admin": AgentGroup("admin", "abc")})


def a_store(folder: Path) -> tuple[IdentityStore, list[str]]:
    """A store that writes at once, and what it tells."""
    told: list[str] = []
    return IdentityStore(folder, told.append, delay=0.0), told


def file_of(folder: Path) -> Path:
    """The file of a workspace."""
    return folder / FOLDER / NAME


def kept(folder: Path) -> list[str]:
    """The ids in the file."""
    ids: dict[str, None] = {}
    for line in file_of(folder).read_text().splitlines() if file_of(folder).exists() else ():
        row = json.loads(line)
        if "gone" in row:
            ids.pop(row["gone"], None)
        else:
            ids[row["agent_id"]] = None
    return list(ids)


def followed(folder: Path) -> tuple[Directory, IdentityStore, list[str]]:
    """A directory whose agents are kept."""
    directory = Directory(CONFIG)
    store, told = a_store(folder)
    store.follow(directory)
    return directory, store, told


async def test_an_agent_goes_on_with_its_secret_in_the_next_run(tmp_path: Path) -> None:
    """Its id, secret, group and metadata are as they were, without another registration."""
    directory, store, _ = followed(tmp_path)
    secret = directory.register("ana", {"name": "Ana"}, password_hash="abc").secret
    store.close()
    again, _, told = followed(tmp_path)
    agent = again.authenticate("ana", secret)
    assert agent is not None and told == []
    assert (agent.group, agent.metadata, agent.transport) == ("admin", {"name": "Ana"}, "http")
    assert again.authenticate("ana", "wrong") is None


async def test_agents_that_come_and_leave_are_written_meanwhile(tmp_path: Path) -> None:
    """A process that is killed has lost no one who came before, and kept no one who left."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    await until(lambda: kept(tmp_path) == ["ana"])
    directory.register("bob", {})
    directory.unregister("ana")
    await until(lambda: kept(tmp_path) == ["bob"])
    store.close()


async def test_who_waits_for_a_change_finds_it_on_disk(tmp_path: Path) -> None:
    """At once, however long other changes may wait; what comes during one write is one more write."""
    directory, writes = Directory(CONFIG), []
    all_have_come = threading.Event()
    store = IdentityStore(tmp_path, pytest.fail, delay=3600.0)

    def counted(write: Callable[[Any], None]) -> Callable[[Any], None]:
        def run(rows: Any) -> None:
            writes.append(1)
            assert all_have_come.wait(30)
            write(rows)

        return run

    store.save = counted(store.save)  # type: ignore[method-assign]
    store.add = counted(store.add)  # type: ignore[method-assign]
    store.follow(directory)

    async def come(number: int) -> None:
        directory.register(f"agent{number}", {})
        await store.written()
        assert f"agent{number}" in kept(tmp_path)

    coming = [asyncio.create_task(come(number)) for number in range(200)]
    # After the first step of each of them: it has registered then.
    asyncio.get_running_loop().call_soon(all_have_come.set)
    await asyncio.gather(*coming)
    assert len(writes) <= 3
    await store.written()
    store.close()
    await store.written()


async def test_who_waits_is_let_go_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A folder that cannot be written keeps no one out, and is told of once."""
    file_of(tmp_path).parent.write_text("a file where the folder should be")
    directory = Directory(CONFIG)
    store, told = a_store(tmp_path)
    store.follow(directory)
    before = len(told)
    for agent_id in ("ana", "bob"):
        directory.register(agent_id, {})
        await store.written()
    store.close()
    assert len(told) == before + 1 and "cannot be written" in told[-1]


async def test_the_end_of_a_network_forgets_nobody(tmp_path: Path) -> None:
    """Who is let go after the store was closed comes back next time."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    store.close()
    directory.unregister("ana")
    assert kept(tmp_path) == ["ana"] and directory.on_change == []


async def test_closing_writes_what_is_still_to_be_written(tmp_path: Path) -> None:
    """Also when the delay has not passed."""
    directory = Directory(CONFIG)
    store = IdentityStore(tmp_path, pytest.fail, delay=3600.0)
    store.follow(directory)
    directory.register("ana", {})
    assert not file_of(tmp_path).exists()
    store.close()
    assert kept(tmp_path) == ["ana"]


def test_the_file_is_private_and_holds_no_secret(tmp_path: Path) -> None:
    """Only this user can read it, and what is in it lets no one in."""
    directory, store, _ = followed(tmp_path)
    secret = directory.register("ana", {}).secret
    store.close()
    assert stat.S_IMODE(file_of(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(file_of(tmp_path).parent.stat().st_mode) == 0o700
    assert secret not in file_of(tmp_path).read_text()


DAMAGE = [b"{", b"{}", b"null", b"[" * 100_000, b"\xff\xff", b"\0" * 5000]


@pytest.mark.parametrize("damage", DAMAGE, ids=["open", "object", "null", "deep", "bytes", "zeros"])
def test_a_damaged_file_is_told_and_kept_aside(tmp_path: Path, damage: bytes) -> None:
    """What can be read of it counts; new agents are kept in a file of their own."""
    directory, store, _ = followed(tmp_path)
    secret = directory.register("ana", {}).secret
    store.close()
    whole = file_of(tmp_path).read_bytes()
    file_of(tmp_path).write_bytes(damage + b"\n" + whole)
    again, following, told = followed(tmp_path)
    assert again.authenticate("ana", secret) is not None
    assert len(told) == 1 and "damaged" in told[0]
    (aside,) = file_of(tmp_path).parent.glob(f"{NAME}.*")
    assert aside.read_bytes() == damage + b"\n" + whole and aside.name in told[0]
    again.register("bob", {})
    following.close()
    assert kept(tmp_path) == ["ana", "bob"]


def test_a_line_that_was_cut_off_is_no_damage(tmp_path: Path) -> None:
    """A process that is killed while it writes has not answered that registration."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    store.close()
    with file_of(tmp_path).open("ab") as stream:
        stream.write(b'{"agent_id": "bo')
    again, following, told = followed(tmp_path)
    assert told == [] and [each.agent_id for each in again.agents()] == ["ana"]
    again.register("cy", {})
    following.close()
    assert kept(tmp_path) == ["ana", "cy"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_put_aside(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Nothing is read from it, nothing waits for it, and agents are kept from now on."""
    file_of(tmp_path).parent.mkdir(mode=0o700)
    make(file_of(tmp_path))
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    store.close()
    assert kept(tmp_path) == ["ana"]


def test_agents_of_an_earlier_version_are_known(tmp_path: Path) -> None:
    """Its file was one list; it stays as it is."""
    before = Directory(CONFIG)
    secret = before.register("ana", {"x": 1}).secret
    write_private(tmp_path, BEFORE, json.dumps(before.export_identities()))
    directory, store, told = followed(tmp_path)
    assert directory.authenticate("ana", secret) is not None and told == []
    directory.register("bob", {})
    store.close()
    assert kept(tmp_path) == ["ana", "bob"]


def test_a_registration_writes_no_more_where_many_agents_are_known(tmp_path: Path) -> None:
    """1,100 agents with 62 KB of metadata each once made a registration 80 times as slow, and the file unreadable."""
    directory = Directory(NetworkConfig("Test", max_agents=2000))
    store, told = a_store(tmp_path)
    store.follow(directory)
    for number in range(500):
        directory.register(f"agent{number}", {"x": "y" * 62_000})
    store.close()
    again = Directory(NetworkConfig("Test", max_agents=2000))
    following, more = a_store(tmp_path)
    following.follow(again)
    assert len(again.agents()) == 500 and told == more == []
    before = file_of(tmp_path).stat()
    again.register("one.more", {})
    following.close()
    after = file_of(tmp_path).stat()
    assert after.st_ino == before.st_ino and 0 < after.st_size - before.st_size < 1000


async def test_a_file_that_was_taken_away_is_written_anew(tmp_path: Path) -> None:
    """With all who are registered."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    await store.written()
    shutil.rmtree(file_of(tmp_path).parent)
    directory.register("bob", {})
    await store.written()
    assert kept(tmp_path) == ["ana", "bob"]
    store.close()


async def test_a_file_of_agents_that_come_and_go_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Lines about agents that have gone are dropped from time to time."""
    directory, store, _ = followed(tmp_path)
    for number in range(5000):
        directory.register(f"agent{number}", {})
        directory.unregister(f"agent{number}")
        if number % 10 == 0:
            await store.written()
    store.close()
    assert len(file_of(tmp_path).read_text().splitlines()) < 2000


def test_new_metadata_and_a_proof_of_one_who_returns_are_kept(tmp_path: Path) -> None:
    """It is known by them in the next run."""
    directory, store, _ = followed(tmp_path)
    secret = directory.register("ana", {"x": 1}).secret
    directory.register("ana", {"x": 2}, secret=secret, trusted=True)
    store.close()
    again, _, _ = followed(tmp_path)
    (agent,) = again.agents()
    assert (agent.metadata, agent.proven) == ({"x": 2}, True)


def test_a_file_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    """They could have put an agent of their own into it."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    store.close()
    file_of(tmp_path).chmod(0o666)
    again, _, told = followed(tmp_path)
    assert again.agents() == () and len(told) == 1


@pytest.mark.parametrize(
    "changed",
    [{"agent_id": "mod:wiki"}, {"agent_id": 7}, {"secret_sha256": ""}, {"metadata": None}, {"group": None}],
)
def test_a_row_that_no_registration_could_have_made_is_left_out(tmp_path: Path, changed: dict[str, object]) -> None:
    """The others come back."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    directory.register("bob", {})
    store.close()
    rows = [json.loads(line) for line in file_of(tmp_path).read_text().splitlines()]
    store.save([{**rows[0], **changed}, rows[1]])
    again, _, _ = followed(tmp_path)
    assert [agent.agent_id for agent in again.agents()] == ["bob"]


def test_a_folder_that_cannot_be_written_is_told_and_ends_nothing(tmp_path: Path) -> None:
    """Agents come and go as without it."""
    file_of(tmp_path).parent.write_text("a file where the folder should be")
    directory = Directory(CONFIG)
    store, told = a_store(tmp_path)
    store.follow(directory)
    directory.register("ana", {})
    store.close()
    assert [agent.agent_id for agent in directory.agents()] == ["ana"]
    assert told and "cannot be" in told[-1]
