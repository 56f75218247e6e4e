"""What protecting code does, where a weaker form of it would pass every other test."""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mutants import MUTATIONS, ROOT
from workspaces import Workspace

from devserver.control import page
from devserver.errors import EventRefused
from devserver.model.config import AgentGroup, NetworkConfig
from devserver.model.facts import Status
from devserver.model.principal import agent_principal
from devserver.network import grants, identity
from devserver.network.agents import Directory
from devserver.transports import inbound
from devserver.transports.http import gate

DIGEST = identity.secret_digest("secret")
GROUPS = {"team": AgentGroup("team", "hash-t")}
GRANTING = NetworkConfig("Test", groups=GROUPS, grants={"ana": ("read",)})


def join() -> None:
    """Come from the network with its token, where no new agent may come in this minute."""
    network: Any = SimpleNamespace(directory=Directory(NetworkConfig("Test")))
    joining = inbound.Joining(network, per_minute=0, token="token")
    with pytest.raises(EventRefused, match="more than 0 new agents"):
        joining.register({"agent_id": "ana", "join_token": "token"}, "http", agent_principal("", ())).send(None)


COMPARISONS: dict[str, Callable[[], object]] = {
    "an agent's secret": lambda: identity.proves("secret", DIGEST),
    "an unknown agent's secret": lambda: Directory(NetworkConfig("Test")).authenticate("nobody", "secret"),
    "a group's password": lambda: identity.choose_group(NetworkConfig("Test", groups=GROUPS), "hash-t", "team"),
    "a password without a group": lambda: identity.choose_group(NetworkConfig("Test", groups=GROUPS), "hash-t", None),
    "the password for a grant": lambda: grants.proves_grant(GRANTING, "ana", "hash-t"),
    "the join token": join,
    "the admin token": lambda: gate._proves(b"Bearer token", "token"),
    "a ticket": lambda: (tickets := page.Tickets(lambda: None)).take(tickets.make()),
}


@pytest.mark.parametrize("what", COMPARISONS)
def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """By what is called when it is compared, not by a word in the file."""
    compared: list[object] = []
    compare = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    COMPARISONS[what]()
    assert compared


@pytest.mark.parametrize("prefix", ["mods", "mods.nice"])
async def test_the_allow_list_admits_whole_names(work: Workspace, tmp_path: Path, prefix: str) -> None:
    """`mods` admits `mods.x`, and neither `modsevil` nor `modsevil.x`; nothing of a refused one is imported."""
    for package in ("modsevil", "mods/niceevil"):
        work.write(f"{package}/__init__.py", f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
        work.write(f"{package}/mod.py", "from devserver import BaseMod\nclass EvilMod(BaseMod):\n    pass\n")
    work.mod("nice", "pass")
    await work.start(dev={"mod_paths": [prefix]})
    for name in ("modsevil", "modsevil.mod", *(("mods.niceevil",) if prefix == "mods.nice" else ())):
        assert not (await work.net.load_mod(name, trusted=False)).success, name
    assert not (tmp_path / "ran").exists()
    assert (await work.net.load_mod("mods.nice", trusted=False)).success
    await work.net.unload_mod("mods.nice")


async def test_what_was_done_last_is_undone_first(work: Workspace) -> None:
    """The new instance is closed while its own modules are still the ones that are imported."""
    work.mod("work", "pass", "VERSION = 1")
    await work.start("mods.work")
    told: list[int] = []
    sys.modules["doors"].told = told  # type: ignore[attr-defined]
    body = """
    def initialize(self):
        raise RuntimeError("not today")

    def shutdown(self):
        import sys, doors
        doors.told.append(sys.modules["mods.work"].VERSION)
    """
    done = await work.save_mod("work", body, "VERSION = 2")
    assert [each.status.value for each in done.outcomes] == ["rolled_back"]
    assert told == [2]
    assert sys.modules["mods.work"].VERSION == 1


PLACES = ["mods/nice/helper.py", "mods/nice/__init__.py", "mods/shared", "mods/shared/words.py"]


@pytest.mark.parametrize("place", PLACES)
async def test_no_source_is_executed_that_others_may_have_written(work: Workspace, place: str) -> None:
    """Whatever a mod imports: neither at a load nor at the save that comes after; mended, it is loaded."""
    work.write("mods/nice/__init__.py", "")
    work.write("mods/nice/helper.py", "VERSION = 1\n")
    work.write("mods/shared/words.py", "WORD = 'one'\n")
    head = "from mods.nice import helper\nfrom mods.shared import words\n"
    text = f"{head}from devserver import BaseMod\nclass NiceMod(BaseMod):\n    seen = (helper.VERSION, words.WORD)\n"
    work.write("mods/nice/mod.py", text)
    refused, kept = work.folder / place, (work.folder / place).stat().st_mode
    refused.chmod(0o777 if refused.is_dir() else 0o666)
    await work.start("mods.nice")
    assert work.running() == {}
    refused.chmod(kept)
    assert (await work.net.load_mod("mods.nice")).success
    refused.chmod(0o777 if refused.is_dir() else 0o666)
    source = refused / "words.py" if refused.is_dir() else refused
    source.write_text("VERSION = WORD = 2\n")
    done = await work.saved(source)
    assert [each.status for each in done.outcomes] == [Status.ROLLED_BACK]
    assert work.running() == {"nice": 1}


def test_every_mutation_is_one_of_the_code() -> None:
    """`make mutate` would break nothing with a text that is not in its file any more, or tests that are not there."""
    gone = [each for each in MUTATIONS if each.text not in (ROOT / "devserver" / each.file).read_text("utf-8")]
    assert not gone
    assert all((ROOT / each.tests).is_file() for each in MUTATIONS)
