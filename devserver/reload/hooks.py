"""Runs the hooks of mods: constructor, configuration, initialize, shutdown, state. Each in time, each failure named.

Runs on the mods' loop. Decides nothing about what a failure means.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from devserver.errors import HookFailed
from devserver.generation import Generation, collect_handlers, running
from devserver.mod import BaseMod
from devserver.model.lifecycle import HandOver
from devserver.reload.loader import DataReads
from devserver.reload.loader.shelf import sources_now


def make_instance(mod_class: type[BaseMod], mod_path: str) -> BaseMod:
    """An instance of a mod's class, with its path as name where the constructor takes one."""
    try:
        takes_name = _takes_an_argument(mod_class)
        return mod_class(mod_path) if takes_name else mod_class()
    except (SystemExit, KeyboardInterrupt) as request:
        raise HookFailed(f"{mod_class.__name__}() asked the process to end ({request!r})") from request


def _takes_an_argument(mod_class: type[BaseMod]) -> bool:
    try:
        inspect.signature(mod_class).bind("name")
    except TypeError:
        return False
    return True


def hand_over_of(mod_class: type[BaseMod]) -> HandOver:
    """The way to hand over that a mod's class names. Raises HookFailed for an unknown one."""
    try:
        return HandOver(mod_class.reload_mode)
    except ValueError:
        known = ", ".join(each.value for each in HandOver)
        raise HookFailed(f"reload_mode is {mod_class.reload_mode!r}; it is one of {known}") from None


async def initialize(generation: Generation, limit: float, is_source: Callable[[Path], bool]) -> None:
    """Start an instance: its `initialize()`, its handlers, and what it read on the way (where `is_source` says so).

    Raises HookFailed when it returns False, takes longer than `limit` seconds, or asks the process to end; otherwise
    whatever it raises.
    """
    reads = DataReads()
    with reads.recording():
        answer = await call_hook(generation, generation.instance.initialize, "initialize()", limit)
    if answer is False:
        raise HookFailed(f"{generation.mod_id}: initialize() returned False")
    generation.handlers = collect_handlers(generation.instance)
    generation.reads = sources_now(path for path in reads.paths() if is_source(path))


async def shutdown(generation: Generation, limit: float) -> list[BaseException]:
    """End an instance: its `shutdown()`, what it asked to be called on close, its tasks. Every failure is returned."""
    instance = generation.instance
    failures: list[BaseException] = []
    for function, name in (
        (instance.shutdown, "shutdown()"),
        *((each, "on_close") for each in reversed(_closing(instance))),
    ):
        try:
            await call_hook(generation, function, name, limit)
        except Exception as error:
            failures.append(error)
    _closing(instance).clear()
    await end_tasks(generation, limit)
    return failures


def _closing(instance: BaseMod) -> list[Callable[[], Any]]:
    return instance._closing


async def end_tasks(generation: Generation, limit: float) -> tuple[asyncio.Task[Any], ...]:
    """Cancel the tasks that a generation started and still runs; those that do not end in `limit` seconds."""
    tasks = [each for each in generation.tasks if not each.done() and each is not asyncio.current_task()]
    for task in tasks:
        task.cancel(f"{generation.name} has ended")
    if not tasks:
        return ()
    _, left = await asyncio.wait(tasks, timeout=limit)
    return tuple(left)


async def call_hook(generation: Generation, hook: Callable[..., Any], name: str, limit: float, *arguments: Any) -> Any:
    """Call a hook, sync or async, as code of its generation.

    Raises HookFailed when it takes longer than `limit` seconds or asks the process to end; otherwise what it raises.
    """
    call = generation.begin(None)
    token = running.set(call)
    try:
        answer = hook(*arguments)
        if inspect.isawaitable(answer):
            async with asyncio.timeout(limit):
                answer = await answer
        return answer
    except TimeoutError as late:
        if name not in str(late):
            raise HookFailed(f"{generation.mod_id}: {name} did not come back within {limit:g} s") from late
        raise
    except (SystemExit, KeyboardInterrupt) as request:
        raise HookFailed(f"{generation.mod_id}: {name} asked the process to end ({request!r})") from request
    finally:
        running.reset(token)
        generation.end(call)


async def reconfigure(generation: Generation, config: Mapping[str, Any], limit: float) -> bool:
    """Offer a changed configuration to a running instance; whether it took it."""
    answer = await call_hook(generation, generation.instance.update_config, "update_config()", limit, dict(config))
    return answer is not False


def takes_config(instance: BaseMod) -> bool:
    """Whether a mod's class says that it takes a changed configuration in place."""
    return type(instance).update_config is not BaseMod.update_config
