"""Runs the hooks of mods: constructor, configuration, initialize, shutdown, state. Each with a
limit, each failure named.

Runs on the mods' loop. The caller decides what a failure means.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import islice, takewhile
from pathlib import Path
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from devserver.config.json_schema import misfits_of
from devserver.config.typed import MOST_TOLD, DoesNotFit, Misfit, fitted, is_model
from devserver.errors import HookFailed, ModConfigError
from devserver.live.generation import Generation, running
from devserver.live.handlers import collect_handlers, takes_one
from devserver.live.loops import run_in_thread
from devserver.live.overseer import frames_in, frames_of
from devserver.loader import raw
from devserver.loader.build import Build
from devserver.loader.changes import (
    ProcessChanges,
    Stepwise,
    adopt,
    changes_of,
    has_to_wait,
    is_taken,
    left_behind,
    outdated_by,
    recording,
    refuse,
    source_of,
)
from devserver.loader.libraries import leads_to, names_in
from devserver.loader.made import names_of_module
from devserver.loader.reads import DataReads
from devserver.loader.refused import Attempt
from devserver.loader.successor import origin
from devserver.mod import BaseMod
from devserver.model.config import Manifest, PlaceOf
from devserver.model.facts import ErrorFacts
from devserver.model.lifecycle import HandOver
from devserver.model.plan import Step
from devserver.reload.plan.situation import unreadable
from devserver.sources.files import LISTING, sources_now

_UNWINDS = 0.5
"""Seconds that a hook gets to unwind after its cancellation."""

_MOST_WATCHED = 10_000
"""The most files that one pattern of a mod's `watch` names."""

_THREADS_END = 0.5
"""Seconds that threads get to end."""


def make_instance(mod_class: type[BaseMod], mod_path: str) -> BaseMod:
    """Return an instance of a mod's class, with its path as name if the constructor takes one."""
    changes = ProcessChanges(attempt=Attempt())
    try:
        takes_name = _takes_an_argument(mod_class)
        is_noted = _runs_own_code(mod_class)
        with recording(changes, source_of(_written_in(mod_class))) if is_noted else nullcontext():
            instance = mod_class(mod_path) if takes_name else mod_class()
        adopt(instance, changes)
        return instance
    except BaseException as request:
        refuse([changes])
        if not isinstance(request, SystemExit | KeyboardInterrupt | GeneratorExit):
            raise
        raise HookFailed(f"{mod_class.__name__}() asked the process to end ({request!r})") from request


def _written_in(mod_class: type[BaseMod]) -> str:
    """Return the module in which a mod's author wrote its class; a bridged one stands for it."""
    written: type = getattr(mod_class, "wraps", mod_class)
    return written.__module__


class _Passing(BaseMod):
    def __init__(self, mod_name: str = "") -> None:
        super().__init__(mod_name)


_SET = frozenset({*vars(BaseMod("any")), "__new__", "__setattr__", "__getattribute__"})
"""What a class may have in the way of `BaseMod`, which sets plain attributes."""


def _runs_own_code(mod_class: type[BaseMod]) -> bool:
    """Return whether making an instance runs code of a mod that may change anything. A constructor that only
    passes its name on changes nothing, and many mods have no other."""
    others = [each for each in mod_class.__mro__ if each not in (BaseMod, object)]
    if not _is_called_plainly(mod_class) or not all(_SET.isdisjoint(vars(each)) for each in others):
        return True
    init: Any = mod_class.__init__
    if init is BaseMod.__init__:
        return False
    is_direct = mod_class.__bases__ == (BaseMod,) and type(init) is FunctionType and "super" not in init.__globals__
    return not is_direct or _code(init) != _code(_Passing.__init__)


def _code(function: Any) -> tuple[bytes, tuple[str, ...], int]:
    code = function.__code__
    return code.co_code, code.co_names, code.co_argcount


def _is_called_plainly(mod_class: type[BaseMod]) -> bool:
    return mod_class.__new__ is BaseMod.__new__ and type(mod_class).__call__ is type.__call__


def _takes_an_argument(mod_class: type[BaseMod]) -> bool:
    init: Any = mod_class.__init__
    is_plain = type(init) is FunctionType and not vars(init) and not hasattr(mod_class, "__signature__")
    if is_plain and _is_called_plainly(mod_class):
        # The same in a hundredth of the time.
        return takes_one(MethodType(init, mod_class))
    try:
        inspect.signature(mod_class).bind("name")
    except TypeError:
        return False
    return True


def hand_over_of(mod_class: type[BaseMod], before: BaseMod | None = None, *, reconfigures: bool = False) -> HandOver:
    """Return the way to hand over, from the instance `before`, that a mod's class names. Raises
    HookFailed for an unknown one.

    A class may name another way (`config_mode`) for a changed configuration. If one of the two
    classes stands for an object of another kind, a rebind can hand nothing over.
    """
    named = (reconfigures and getattr(mod_class, "config_mode", None)) or mod_class.reload_mode
    try:
        mode = HandOver(named)
    except ValueError:
        known = ", ".join(each.value for each in HandOver)
        raise HookFailed(f"reload_mode is {named!r}; it is one of {known}") from None
    is_alike = hasattr(mod_class, "take_class") == (raw.own(before, "take_class") is not None)
    return mode if is_alike or mode is not HandOver.REBIND else HandOver.FRESH


def check_requires(mod_class: type[BaseMod]) -> None:
    """Raise HookFailed for a class with an unreadable `requires` or `optional`."""
    for name in ("requires", "optional"):
        texts = getattr(mod_class, name)
        if name == "optional" and hasattr(texts, "__get__"):
            # A method or a property that the author gave this name before it had a meaning here.
            continue
        is_list = isinstance(texts, Sequence) and not isinstance(texts, str)
        if not is_list or not all(isinstance(each, str) for each in texts):
            raise HookFailed(f"{name} is {texts!r}; it is a list of texts such as 'mods.wiki>=1'")
        problem = unreadable(texts)
        if problem is not None:
            raise HookFailed(f"{name}: {problem}")


async def initialize(
    generation: Generation, limit: float, is_source: Callable[[Path], bool], also: Iterable[Path] = ()
) -> None:
    """Start an instance: its `initialize()`, its handlers, the files it read (`is_source`).

    `also`: files that it is made from, whether it reads them or not. Raises HookFailed when it
    returns False, takes longer than `limit` seconds, or asks the process to end; otherwise its own
    exception.
    """
    reads, instance, answer = DataReads(is_source), generation.instance, True
    watched = (*_watched_by(generation), *also)
    if generation.manifest is not None:
        watched = (*watched, *generation.manifest.files)
    # Before it runs: what is written meanwhile may not be what it reads.
    named = sources_now(path for path in watched if is_source(path))
    try:
        if has_initialize(instance):
            with reads.recording():
                answer = await call_hook(generation, _noted(instance, instance.initialize), "initialize()", limit)
    finally:
        # Also of a failed attempt: another content may mend it.
        generation.reads = {**named, **reads.found}
    if answer is False:
        raise _failed(instance.initialize, f"{generation.mod_id}: initialize() returned False")
    generation.handlers = collect_handlers(instance)


def has_initialize(instance: BaseMod) -> bool:
    """Return whether a mod has an `initialize()` of its own: that of its base changes nothing."""
    return getattr(instance.initialize, "__func__", None) is not BaseMod.initialize


def _noted(instance: BaseMod, hook: Callable[[], Any]) -> Callable[[], Any]:
    """Return a hook that notes its changes of the process; of an async one step by step."""
    changes, source = changes_of(instance), source_of(_written_in(type(instance)))

    # Calling an async function runs nothing of it.
    function = hook.__func__ if type(hook) is MethodType else hook
    is_async = type(function) is FunctionType and bool(function.__code__.co_flags & inspect.CO_COROUTINE)

    @functools.wraps(hook)
    def noted() -> Any:
        with nullcontext() if is_async else recording(changes, source):
            answer = hook()
        return Stepwise(answer, changes, source) if inspect.isawaitable(answer) else answer

    return noted


def _watched_by(generation: Generation) -> tuple[Path, ...]:
    """Return the files that a mod's `watch` names, and folders for more. Raises HookFailed."""
    watch: Any = type(generation.instance).watch
    if hasattr(watch, "__get__"):
        # A method or a property with this name.
        return ()
    patterns = [watch] if isinstance(watch, str) else watch
    if not isinstance(patterns, Sequence) or not all(isinstance(each, str) for each in patterns):
        raise HookFailed(f"watch is {watch!r}; it is a list of patterns such as 'prompts/**'")
    for pattern in patterns:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise HookFailed(f"watch names {pattern!r}; a pattern begins in the folder of the mod, as in 'prompts/**'")
    return matching(Path(inspect.getfile(type(generation.instance))).parent, patterns)


def matching(folder: Path, patterns: Iterable[str]) -> tuple[Path, ...]:
    """Return a folder's files that patterns name, and the listings in which more may appear."""
    found: list[Path] = []
    for pattern in patterns:
        base = folder.joinpath(*takewhile(lambda part: not set("*?[") & set(part), Path(pattern).parts))
        # To Python `prompts/**` means folders alone.
        every = folder.glob(f"{pattern}/*" if pattern.endswith("**") else pattern)
        matched = list(islice(every, _MOST_WATCHED))
        folders = {base, *(each for each in matched if each.is_dir()), *(each.parent for each in matched)}
        found += [each for each in matched if each.is_file()]
        found += [each / LISTING for each in folders if each.is_dir()]
    return tuple(found)


async def shutdown(generation: Generation, limit: float) -> list[BaseException]:
    """End an instance: its `shutdown()`, its calls on close, its tasks, all it installed.

    Returns every failure; `generation.left_behind` has what is still there.
    """
    hook = generation.instance.shutdown
    if changes_of(generation.instance).attempt is not None:
        # It was refused: what its end changes where it has put its own is no one else's change.
        hook = _noted(generation.instance, hook)
    failures = await _call(generation, hook, "shutdown()", limit)
    return failures + await discard(generation, limit)


async def discard(generation: Generation, limit: float) -> list[BaseException]:
    """End what an instance started and installed, served or not; return every failure."""
    instance = generation.instance
    failures: list[BaseException] = []
    for function in reversed(instance._closing):
        failures += await _call(generation, function, "on_close", limit)
    instance._closing.clear()
    await end_tasks(generation, limit)
    refuse([changes_of(generation.instance)])
    seconds = min(limit, _THREADS_END)
    generation.left_behind += await run_in_thread(left_behind, seconds) if has_to_wait() else left_behind(0)
    return failures


async def _call(generation: Generation, hook: Callable[[], Any], name: str, limit: float) -> list[BaseException]:
    try:
        await call_hook(generation, hook, name, limit)
    except Exception as error:
        return [error]
    return []


def take_back(instance: BaseMod) -> Callable[[], None]:
    """Take back an instance's changes before its successor is made; return their undo."""
    changes = changes_of(instance)
    changes.detach()
    return changes.attach


def keep(instance: BaseMod) -> None:
    """Let what an instance has changed in modules of others stand, but for what it takes with it."""
    changes_of(instance).attempt = None


def give_way(instance: BaseMod, before: BaseMod) -> None:
    """Let others' changes over the former instance's registrations stand over these, too."""
    if instance is not before:
        changes_of(instance).give_way(changes_of(before))


def outdated(build: Build, pairs: Sequence[tuple[Generation, Generation]]) -> tuple[str, ...]:
    """Return what replaced versions have left in modules that stay and a fresh start would have
    otherwise, each once, in words. `pairs`: the generations before and after the build."""
    theirs = [
        words
        for old, new in pairs
        if new.instance is not old.instance
        for words in outdated_by(
            changes_of(old.instance),
            changes_of(new.instance),
            source_of(_written_in(type(new.instance))),
            build.executed,
            functools.partial(may_reach_at_end, [old]),
        )
    ]
    options = [
        words
        for library, words in build.options_gone()
        if not any(is_taken(library, changes_of(old.instance)) for old, _ in pairs)
    ]
    return tuple(dict.fromkeys((*build.outdated, *theirs, *options)))


_AT_END = 10
"""An ExitStack has what its callbacks are called with seven steps away."""


def may_reach_at_end(generations: Iterable[Generation | None], module: str) -> bool:
    """Return whether the code that ends these mods may take something out of a module: it names that or a part of
    it, or has something that leads there, as what a helper gave it to sign off."""
    return any(each is not None and _may_reach_at_end(each, module) for each in generations)


def _may_reach_at_end(generation: Generation, module: str) -> bool:
    found: set[str] = set()
    seen: set[int] = set()
    mod_class = type(generation.instance)
    classes = dict.fromkeys((*raw.mro(mod_class), *raw.mro(getattr(mod_class, "wraps", mod_class))))
    spaces = [dict(raw.attributes(generation.instance)), *map(raw.names_of, classes)]
    pending = [*(space["shutdown"] for space in spaces if "shutdown" in space), *generation.instance._closing]
    for thing in pending:
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if leads_to(thing, module, depth=_AT_END):
            return True
        kind = type(thing)
        function = thing.__func__ if kind is MethodType or kind is staticmethod or kind is classmethod else thing
        if type(function) is FunctionType:
            fresh = names_in(function.__code__) - found
            found |= fresh
            near = (*spaces, function.__globals__)
            pending += [space[name] for name in fresh for space in near if name in space]
        elif origin(thing) is not None:
            # An object of the mod, of which a method is called.
            pending += filter(None, (raw.lookup(kind, name) for name in found))
    return not found.isdisjoint(names_of_module(module))


async def end_tasks(generation: Generation, limit: float) -> tuple[asyncio.Task[Any], ...]:
    """Cancel a generation's running tasks; return those that do not end in `limit` seconds."""
    # Those of a constructor were started before their owner was known.
    known = {*generation.tasks, *generation.instance._tasks}
    tasks = [each for each in known if not each.done() and each is not asyncio.current_task()]
    for task in tasks:
        task.cancel(f"{generation.name} has ended")
    if not tasks:
        return ()
    _, left = await asyncio.wait(tasks, timeout=limit)
    return tuple(left)


async def call_hook(generation: Generation, hook: Callable[..., Any], name: str, limit: float, *arguments: Any) -> Any:
    """Call a hook, sync or async, as code of its generation. Raises HookFailed when it takes longer
    than `limit` seconds or asks the process to end; otherwise its own exception."""
    call = generation.begin(None)
    token = running.set(call)
    try:
        answer = hook(*arguments)
        return await _in_time(answer, limit) if inspect.isawaitable(answer) else answer
    except _TookTooLong as late:
        raise _failed(hook, f"{generation.mod_id}: {name} did not come back within {limit:g} s") from late
    except (SystemExit, KeyboardInterrupt) as request:
        raise _failed(hook, f"{generation.mod_id}: {name} asked the process to end ({request!r})") from request
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # From an awaitable of the mod: not our cancellation, and it must not end us.
        raise _failed(hook, f"{generation.mod_id}: {name} awaited something that was cancelled") from cancelled
    except Exception:
        raise
    except BaseException as odd:
        # GeneratorExit, or a class of the mod's own: a way to end like any other.
        raise _failed(hook, f"{generation.mod_id}: {name} raised {odd!r}") from odd
    finally:
        running.reset(token)
        generation.end(call)


def runs_hook(frames: Iterable[FrameType]) -> bool:
    """Return whether these frames of a thread run a hook, sync or async."""
    codes = (call_hook.__code__, _contained.__code__)
    return any(frame.f_code in codes for frame in frames)


def stack_of(work: asyncio.Future[Any]) -> list[FrameType]:
    """Return a hook task's stack, into the task in which the hook runs; outermost first."""
    found = list(frames_of(work)) if isinstance(work, asyncio.Task) else []
    inner = next((each.f_locals.get("task") for each in found if each.f_code is _in_time.__code__), None)
    found += frames_of(inner) if isinstance(inner, asyncio.Task) else ()
    stepped = next((each.f_locals["self"] for each in found if each.f_code is Stepwise.__await__.__code__), None)
    return found if stepped is None else [*found, *frames_in(stepped.awaited)]


class _TookTooLong(Exception):
    """Our limit, in contrast to a TimeoutError of the mod's own."""


async def _in_time(answer: Awaitable[Any], limit: float) -> Any:
    """Await in a task of its own: a hook that swallows its cancellation blocks no caller."""
    task = asyncio.ensure_future(_contained(answer))
    # Also without a caller, so that asyncio does not complain.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        in_time = await _ends(task, limit)
    finally:
        task.cancel()
    if not in_time:
        await _ends(task, _UNWINDS)
        raise _TookTooLong
    value, request = task.result()
    if request is not None:
        raise request
    return value


async def _ends(task: asyncio.Future[Any], seconds: float) -> bool:
    """Wait for a task; return whether it ended in time."""
    woken = asyncio.Event()
    task.add_done_callback(lambda _: woken.set())
    # A loop keeps a cancelled timer with its context until it is due, and so a generation.
    timer = asyncio.get_running_loop().call_later(seconds, woken.set, context=contextvars.Context())
    try:
        await woken.wait()
    finally:
        timer.cancel()
    return task.done()


async def _contained(answer: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return `answer`'s result, or its exception, kept from the loop and our own cancelling."""
    try:
        return await answer, None
    except Exception:
        raise
    except BaseException as request:
        return None, request


def _failed(hook: Callable[..., Any], message: str) -> HookFailed:
    """Return the failure of a hook, with the place where the mod defines it."""
    code = getattr(inspect.unwrap(hook), "__code__", None)
    return HookFailed(message) if code is None else HookFailed(message, file=code.co_filename, line=code.co_firstlineno)


def take_manifest(mod_class: type[BaseMod], manifest: Manifest | None) -> None:
    """Complete the attributes of a class with those of the manifest beside it."""
    said = {} if manifest is None else {"version": manifest.version, "requires": manifest.requires}
    for name, value in said.items():
        if value is not None and name not in vars(mod_class):
            setattr(mod_class, name, value)


def config_model(mod_class: type[BaseMod], module: ModuleType) -> Any:
    """Return a mod's configuration model: `Config` in its class, else in its module."""
    found = (getattr(each, "Config", None) for each in (mod_class, module))
    return next((each for each in found if is_model(each)), None)


def settings_of(model: Any, step: Step, place_of: PlaceOf | None, manifest: Manifest | None = None) -> Any:
    """Return a step's configuration, with the defaults of its manifest, as an instance of `model`;
    None without a model.

    Without a model the schema of the manifest counts. Raises ModConfigError with every value that
    does not fit, each at its place if `place_of` knows it.
    """
    defaults = {} if manifest is None else manifest.defaults
    values = {**defaults, **step.config}
    misfits: tuple[Misfit, ...] = ()
    if model is not None:
        try:
            return fitted(model, values, closed=True)
        except DoesNotFit as error:
            misfits = error.misfits
    elif manifest is not None and manifest.schema is not None:
        misfits = misfits_of(manifest.schema, values)[:MOST_TOLD]
    if misfits:
        raise ModConfigError(tuple(_config_problem(each, step.mod_path, place_of) for each in misfits))
    return None


def _config_problem(misfit: Misfit, mod_path: str, place_of: PlaceOf | None) -> ErrorFacts:
    where = None if place_of is None else place_of(misfit.loc, misfit.about_key)
    return ErrorFacts("ConfigError", f"config of {mod_path}: {misfit.sentence}", where, hint=misfit.hint)


async def reconfigure(generation: Generation, config: Any, limit: float) -> bool:
    """Offer a running instance its changed configuration; return whether it took it."""
    answer = await call_hook(generation, generation.instance.update_config, "update_config()", limit, config)
    return answer is not False


def takes_config(instance: BaseMod) -> bool:
    """Return whether a mod's class says that it takes a changed configuration in place."""
    return type(instance).update_config is not BaseMod.update_config
