"""A network.yaml that cannot be used, saved under a running network: what runs goes on as it is, and why is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import Agent, Json, Live, Site, serving

COUNTER = """
    def initialize(self):
        if self.config.get("most", 1) < 0:
            raise ValueError("most is at least 0")

    @mod_event_handler("work.count.get")
    async def count(self, event):
        self.state["asked"] = self.state.get("asked", 0) + 1
        return {"asked": self.state["asked"], "most": self.config.get("most", 1)}
"""
GOOD = "network:\n  name: Test\n  mods:\n    - name: mods.work\n"
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
MERGES = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 8))

REFUSED: dict[str, str | bytes] = {
    "a depth of a hundred thousand": "network: " + "[" * 100_000,
    "a billion laughs": f"a0: &a0 [lol]\n{LAUGHS}{GOOD}",
    "a bomb of merges": f"a0: &a0 {{k: v}}\n{MERGES}{GOOD}",
    "an alias of itself": f"x: &a [*a]\n{GOOD}",
    "ten megabytes": f"{GOOD}x: {'y' * 10_000_000}\n",
    "a hundred thousand keys": GOOD + "".join(f"k{n}: 1\n" for n in range(100_000)),
    "a tag of Python": f"{GOOD}x: !!python/object/apply:os.system ['touch ran']\n",
    "any tag": f"{GOOD}x: !thing 1\n",
    "a key twice": f"{GOOD}network:\n  name: Other\n",
    "a mod twice": f"{GOOD}    - name: mods.work\n",
    "a null byte": GOOD.encode() + b"\0",
    "no UTF-8": GOOD.encode() + b"# \xff\n",
    "UTF-16": GOOD.encode("utf-16"),
    "a tab": GOOD.replace("    - name", "\t- name"),
    "two documents": f"{GOOD}---\n{GOOD}",
    "a word": "network",
    "a list": "- network\n",
    "mods that are a word": GOOD.replace("\n    - name: mods.work", " x"),
    "a mod that is a number": GOOD.replace("name: mods.work", "5"),
    "a mod without a name": GOOD.replace("name: mods.work", "enabled: true"),
    "a slip of the hand": f"{GOOD}      enbaled: true\n",
    "a port in base sixty": f"{GOOD}  port: 22:22\n",
    "a truth in quotes": f'{GOOD}      enabled: "false"\n',
    "a variable": f"{GOOD}      config: {{key: '${{HOME}}'}}\n",
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with a mod that counts."""
    site = Site(tmp_path_factory.mktemp("edited") / "network")
    site.mod("work", COUNTER)
    with serving(site) as running:
        yield running


@pytest.fixture(scope="module")
def ana(live: Live) -> Agent:
    """Who asks."""
    return live.join("ana")


@pytest.fixture(autouse=True)
def unharmed(live: Live, ana: Agent) -> Iterator[None]:
    """After each test the same generation of the same mod counts on, for the same agent."""
    before, asked = live.running(), ana.send("work.count.get")["data"]["asked"]
    yield
    put(live, lambda path: path.write_text(GOOD))
    assert live.running() == before
    assert ana.send("work.count.get")["data"]["asked"] > asked


def put(live: Live, write: Callable[[Path], object]) -> None:
    """Put something in the place of network.yaml, in one go."""
    beside = live.site.folder / ".network.yaml.new"
    write(beside)
    os.replace(beside, live.site.folder / "network.yaml")


def refusal(live: Live, mark: int) -> Json:
    """The problem that is told, without a mod."""
    line = live.line("outcome", mark, mod_id=None)
    assert (line["action"], line["status"], line["agents"]["dropped"]) == ("reconfigure", "rolled_back", 0)
    return dict(line["error"])


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_at_its_place(live: Live, case: str) -> None:
    """Where there is one, and in a sentence of bounded length; nothing in the file is carried out."""
    text, mark = REFUSED[case], live.mark()
    data = text.encode() if isinstance(text, str) else text
    put(live, lambda path: path.write_bytes(data))
    error = refusal(live, mark)
    assert error["file"] == "network.yaml" and 0 < len(error["message"]) < 1000
    assert not (live.site.folder / "ran").exists()


@pytest.mark.parametrize("kind", ["pipe", "link to a secret"])
def test_what_is_no_file_of_ours_is_not_read(live: Live, tmp_path: Path, kind: str) -> None:
    """A pipe blocks no one; what another file holds is never shown."""
    secret, mark = tmp_path / "secret", live.mark()
    secret.write_text("root:verysecret:0:0\nmore: [\n")
    put(live, os.mkfifo if kind == "pipe" else lambda path: path.symlink_to(secret))
    assert "verysecret" not in str(refusal(live, mark))
    assert live.healthy()


def test_a_configuration_that_a_mod_refuses_leaves_it_the_one_it_had(live: Live, ana: Agent) -> None:
    """The others of the same file would be applied; this mod says what is wrong and runs on."""
    mark = live.mark()
    put(live, lambda path: path.write_text(f"{GOOD}      config: {{most: -1}}\n"))
    outcome = live.line("outcome", mark, mod_id="work", status="rolled_back")
    assert "most is at least 0" in outcome["error"]["message"]
    assert ana.send("work.count.get")["data"]["most"] == 1
