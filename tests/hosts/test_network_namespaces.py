"""Two hosts in two network namespaces, whose link goes down: what a cable, a switch or a tunnel does to them.

Slow, and for root alone: elsewhere it is skipped by name. The proxy of `engines` shows the same everywhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engines import TlsEngine, until
from test_plans_over_hosts import TwoHosts, mods_of_both
from workspaces import Workspace

from devserver.hosts.engine import JOIN
from devserver.model.facts import Status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NUMBER = os.getpid()  # tests of other processes make namespaces at the same time
HERE, THERE = (f"198.{18 + NUMBER // 250 % 2}.{NUMBER % 250}.{end}" for end in (1, 2))
LINK = f"oa-h{NUMBER}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
async def far(work: Workspace, tmp_path: Path) -> AsyncIterator[TwoHosts]:
    """`gpu-1` in a namespace of its own; the engine is here, and is reached over TLS."""
    openssl = shutil.which("openssl")
    if os.geteuid() != 0 or shutil.which("ip") is None or openssl is None:
        pytest.skip("network namespaces need root, the command ip, and openssl for the engine's certificate")
    mods_of_both(work, tmp_path)
    space, other = f"oa-dev-{NUMBER}", f"oa-t{NUMBER}"
    try:
        ip("netns", "add", space)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
    made = None
    try:
        ip("link", "add", LINK, "type", "veth", "peer", "name", other, "netns", space)
        ip("addr", "add", f"{HERE}/24", "dev", LINK)
        ip("link", "set", LINK, "up")
        for words in (f"addr add {THERE}/24 dev {other}", f"link set {other} up", "link set lo up"):
            ip("-n", space, *words.split())
        engine = TlsEngine(tmp_path / "hosts", openssl, HERE)
        made = TwoHosts(work, tmp_path, engine, "ip", "netns", "exec", space)
        made.ca, made.url = str(engine.certificate), lambda: f"tls://{HERE}:{engine.record.port}"
        made.before_join = lambda: _with_ca(tmp_path / "hosts" / JOIN, made.ca)
        await made.begin()
        yield made
    finally:
        if made is not None:
            await made.end()
        ip("netns", "del", space)  # the pair of links goes with it


def _with_ca(file: Path, ca: str) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ca": ca}))


@pytest.mark.parametrize("seconds", [1, 3, 10])
async def test_a_link_that_goes_down_mixes_no_versions(far: TwoHosts, seconds: int) -> None:
    """A save meanwhile changes both hosts or neither; what was missed comes once the link is back."""
    await far.config()
    assert (await far.ask("wiki.ask"))["data"]["word"] == "one"
    ip("link", "set", LINK, "down")
    saving = asyncio.ensure_future(far.work.save("mods/lib/text.py", "WORD = 'two'\n"))
    await asyncio.sleep(seconds)  # this long it is down
    ip("link", "set", LINK, "up")
    done = await asyncio.wait_for(saving, 120)
    board = next(each for each in done.outcomes if each.mod_id == "board")
    there = (await far.ask("wiki.ask"))["data"]["word"]
    if any(each.mod_id == "wiki" and each.status is Status.APPLIED for each in done.outcomes):
        assert (board.status, there) == (Status.APPLIED, "two")
    else:
        assert there == "one", "what did not change there serves as before"
    await until(lambda: far.members.alive("gpu-1"), 30)
    done = await far.work.save("mods/lib/text.py", "WORD = 'three'\n")
    assert {each.status for each in done.outcomes} == {Status.APPLIED}, [each.error for each in done.outcomes]
    assert (await far.ask("wiki.ask"))["data"]["word"] == "three"
