"""Agents are known again after a restart: what is kept of them, where, and what is refused."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from workspaces import until

from devserver.errors import DevServerError
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.network.agents import Directory
from devserver.server.identities import NAME, IdentityStore
from devserver.server.runfile import FOLDER

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
    return [row["agent_id"] for row in json.loads(file_of(folder).read_text())] if file_of(folder).exists() else []


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
    """A process that is killed has lost nobody who came before, and kept nobody who left."""
    directory, store, _ = followed(tmp_path)
    directory.register("ana", {})
    await until(lambda: kept(tmp_path) == ["ana"])
    directory.register("bob", {})
    directory.unregister("ana")
    await until(lambda: kept(tmp_path) == ["bob"])
    store.close()


async def test_who_waits_for_a_change_finds_it_on_disk(tmp_path: Path) -> None:
    """At once, however long changes that nobody waits for may take; many that come together are few writes."""
    directory, writes = Directory(CONFIG), []
    store = IdentityStore(tmp_path, pytest.fail, delay=3600.0)
    save = store.save
    store.save = lambda rows: (writes.append(1), save(rows))  # type: ignore[method-assign,assignment,func-returns-value]
    store.follow(directory)

    async def come(number: int) -> None:
        directory.register(f"agent{number}", {})
        await store.written()
        assert f"agent{number}" in kept(tmp_path)

    await asyncio.gather(*(come(number) for number in range(200)))
    assert len(writes) < 100
    await store.written()
    store.close()
    await store.written()


async def test_who_waits_is_let_go_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A folder that cannot be written keeps nobody out, and is told of once."""
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
    """Only this user can read it, and what is in it lets nobody in."""
    directory, store, _ = followed(tmp_path)
    secret = directory.register("ana", {}).secret
    store.close()
    assert stat.S_IMODE(file_of(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(file_of(tmp_path).parent.stat().st_mode) == 0o700
    assert secret not in file_of(tmp_path).read_text()


@pytest.mark.parametrize("text", ["{", "{}", "null", "[" * 100_000])
def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, text: str) -> None:
    """The network runs; agents of the earlier run are strangers, new ones are kept."""
    store, _ = a_store(tmp_path)
    store.save([])
    file_of(tmp_path).write_text(text)
    with pytest.raises(DevServerError):
        store.load()
    directory, following, told = followed(tmp_path)
    assert len(told) == 1 and "damaged" in told[0]
    directory.register("ana", {})
    following.close()
    assert kept(tmp_path) == ["ana"]


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
    rows = json.loads(file_of(tmp_path).read_text())
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
