"""Restarts that wait: what they wait for, and what ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from workspaces import Workspace, served, until

from devserver.config.settings import read_settings
from devserver.server import outside

ASKS = {"restart": "ask"}


async def test_a_setting_that_is_taken_back_needs_no_restart(work: Workspace) -> None:
    """Nor is its former value a reason once it has another one."""
    work.mod("echo", served("echo", 1))
    await work.start("mods.echo", dev=ASKS)
    restarts = work.net.engine.restarts
    restarts.replace = lambda plan: None
    for name in ("one", "two"):
        await work.save_yaml("mods.echo", dev=ASKS, name=name)
        await until(lambda name=name: [*restarts.waiting] == [f"network.name Test → {name}"])
    await work.save_yaml("mods.echo", dev=ASKS)
    assert restarts.waiting == {}


async def test_a_restart_that_waits_for_a_mod_comes_once_its_save_is_taken_back(work: Workspace) -> None:
    """Nothing is reloaded then."""
    replaced = asyncio.Event()
    text = work.mod("echo", served("echo", 1)).read_text()
    await work.start("mods.echo")
    restarts = work.net.engine.restarts
    restarts.replace = lambda plan: replaced.set()
    await work.save_mod("echo", "def broken(:")
    work.net.engine.restart((".env changed",))
    await until(lambda: "would not load" in restarts.why)
    assert not replaced.is_set()
    await work.saved(work.write("mods/echo.py", text))
    await replaced.wait()


async def test_each_content_of_a_file_that_is_read_at_the_start_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mended one, too; the content of the start takes the reason back."""
    monkeypatch.setattr(outside, "_INTERVAL", 0.001)
    told = list[tuple[str, ...]]()

    async def look() -> None:
        pass

    watched = outside.Outside(
        lambda path: False,
        0.0,
        read_settings(tmp_path, {}, {}),
        tmp_path,
        restart=lambda reasons: told.append(("needed", *reasons)),
        forget=lambda reasons: told.append(("forgotten", *reasons)) if reasons else None,
        look_for_packages=look,
    )
    monkeypatch.setattr(watched._installed, "changed", lambda: ())
    task = asyncio.create_task(watched.run())
    file, reason = tmp_path / "pyproject.toml", "pyproject.toml changed, which is read at the start"
    for number, text in enumerate(("[tool.oa-dev\n", "[tool.oa-dev]\n"), 1):
        file.write_text(text)
        await until(lambda number=number: told == [("needed", reason)] * number)
    file.unlink()
    await until(lambda: told[2:] == [("forgotten", reason)])
    task.cancel()
    await asyncio.wait([task])
