"""A network that others may come in to: a real server on all addresses of this machine, and who may what from where."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Answer, Json, Live, Site, serving

from devserver.server.exposure import NAME, kept_token
from devserver.server.sockets import bind, heard_addresses

ECHO = """
    @mod_event_handler("echo.say.get")
    async def say(self, event):
        return EventResponse(True, data={"source": event.source_id})
"""
OPEN = ("--host", "0.0.0.0", "--allow-host", "dev.test")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server. Its network.yaml asks for secrets not to be verified."""
    site = Site(tmp_path_factory.mktemp("exposed") / "network")
    site.mod("echo", ECHO)
    site.settings = {"disable_agent_secret_verification": True}
    with serving(site, *OPEN) as running:
        yield running


@pytest.fixture(scope="module")
def join_token(exposed: Live) -> str:
    """What strangers have to show, as the owner of the files may read it."""
    return (exposed.site.folder / ".oa-dev" / NAME).read_text().strip()


def outside() -> str:
    """An address of this machine that is not the loopback one."""
    with bind("0.0.0.0", 0, strict=True) as listening:
        found = heard_addresses(listening)
    if len(found) < 2:
        pytest.skip("this machine is on no network")
    return found[1]


def from_afar(live: Live, method: str, path: str, values: Json | None = None, host: str = "dev.test") -> Answer:
    """A request that comes in over the network, under one of its names."""
    body = b"" if values is None else json.dumps(values).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{live.port}\r\nContent-Type: application/json\r\n"
    wire = live.wire()
    wire.close()
    wire.socket = socket.create_connection((outside(), live.port), timeout=10)
    try:
        wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return wire.answer()
    finally:
        wire.close()


@pytest.mark.parametrize(("host", "status"), [("dev.test", 200), ("evil.test", 403), ("127.0.0.1.nip.io", 403)])
def test_others_come_in_by_the_allowed_name_alone(exposed: Live, host: str, status: int) -> None:
    """The check of the Host stays on: a page that rebinds its name to this machine is still no one."""
    assert from_afar(exposed, "GET", "/healthz", host=host).status == status


@pytest.mark.parametrize("host", ["dev.test", "localhost", "127.0.0.1"])
def test_a_stranger_without_the_join_token_does_not_join(exposed: Live, host: str) -> None:
    """Whatever name it claims to have used."""
    for shown in ({}, {"join_token": "wrong"}, {"password_hash": ""}):
        answer = from_afar(exposed, "POST", "/api/register", {"agent_id": "mal", **shown}, host).json
        assert (answer["success"], answer["code"]) == (False, "join_token_required")


@pytest.mark.parametrize("name", ["join_token", "password_hash"])
def test_a_stranger_with_the_join_token_joins_and_sends(exposed: Live, join_token: str, name: str) -> None:
    """In a field of its own, or in the one that unmodified clients have."""
    agent_id = f"by-{name}"
    joined = from_afar(exposed, "POST", "/api/register", {"agent_id": agent_id, name: join_token}).json
    assert joined["success"] is True
    event = {"event_name": "echo.say.get", "source_id": agent_id, "secret": joined["secret"], "payload": {}}
    assert from_afar(exposed, "POST", "/api/send_event", event).json["data"]["source"] == agent_id


def test_who_was_refused_is_written_down_with_its_address(exposed: Live) -> None:
    """A client that guesses the token from elsewhere can be found."""
    from_afar(exposed, "POST", "/api/register", {"agent_id": "mal", "join_token": "guess"})
    from_afar(exposed, "GET", "/nowhere")
    for what in ("register mal", "GET /nowhere"):
        exposed.until(lambda: f"refused '{what}' to 'a client at {outside()}'" in exposed.log())  # noqa: B023


def test_an_agent_of_this_machine_joins_as_ever(exposed: Live) -> None:
    """Without any token."""
    assert exposed.join("ana").send("echo.say.get")["data"]["source"] == "ana"


def test_secrets_are_verified_whatever_network_yaml_says(exposed: Live) -> None:
    """An agent's name alone would open the network to everyone who can guess one."""
    exposed.join("bea")
    event = {"event_name": "echo.say.get", "source_id": "bea", "secret": "guessed", "payload": {}}
    assert from_afar(exposed, "POST", "/api/send_event", event).json["code"] == "not_proven"


def test_the_control_api_is_answered_on_this_machine_alone(exposed: Live) -> None:
    """Not even the proof that the server knows its token is given to others."""
    for method, path, values in (("GET", "/_dev/status", None), ("POST", "/_dev/prove", {"nonce": "n" * 20})):
        answer = from_afar(exposed, method, path, values)
        assert (answer.status, answer.json["code"]) == (403, "not_from_here")
    assert exposed.control("status")["mods"]


def test_what_is_open_is_said_without_the_join_token(exposed: Live, join_token: str) -> None:
    """A program's output ends in files: there it says where the token is kept, in a file of this user alone."""
    said = next(each["message"] for each in exposed.told("notice") if "other machines" in each["message"])
    for part in ("unencrypted", "0.0.0.0", f"http://dev.test:{exposed.port}", f".oa-dev/{NAME}"):
        assert part in said
    kept = exposed.site.folder / ".oa-dev" / NAME
    assert kept.stat().st_mode & 0o777 == 0o600
    process = f"/proc/{exposed.process.pid}"
    said_and_kept = str(exposed.lines) + exposed.log() + str(exposed.control("status"))
    said_and_kept += Path(f"{process}/cmdline").read_text() + Path(f"{process}/environ").read_text()
    said_and_kept += (exposed.site.folder / ".oa-dev" / "run.json").read_text()
    assert join_token not in said_and_kept


def test_commands_find_a_server_that_hears_everybody(exposed: Live) -> None:
    """By the loopback address, which its run file names."""
    assert exposed.told("ready")[0]["url"] == f"http://127.0.0.1:{exposed.port}"


def test_a_server_on_one_address_is_reached_from_here_too(tmp_path: Path) -> None:
    """Agents and commands of this machine use the loopback address, at the same port."""
    site = Site(tmp_path / "network")
    site.mod("echo", ECHO)
    with serving(site, "--host", outside(), "--allow-host", "dev.test") as live:
        assert live.told("ready")[0]["url"] == f"http://127.0.0.1:{live.port}"
        assert live.join("ana").send("echo.say.get")["success"] is True
        assert from_afar(live, "GET", "/healthz").json == {"ok": True}


def test_the_join_token_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Agents elsewhere have it in their settings; a file that someone shortened is not believed."""
    token = kept_token(tmp_path)
    assert kept_token(tmp_path) == token
    file = tmp_path / ".oa-dev" / NAME
    file.write_text("short")
    os.chmod(file, 0o600)
    assert kept_token(tmp_path) not in (token, "short")
