"""The commands `add`, `update`, `remove`, `sync`: ask once, change files, wait for the server.

A change that does not start is taken back: the files are restored byte for byte.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from devserver.cli.exits import Exit, Problem
from devserver.cli.following import Followed
from devserver.cli.locate import network_file
from devserver.cli.output import say, say_json, show_lines
from devserver.cli.staging import FOLDER, Asked, Given, Stage
from devserver.config.network_yaml import parse_network, read_network
from devserver.errors import ConfigError, DevServerError
from devserver.loader.distributions import tops_here
from devserver.market import shown as facts
from devserver.market import sync as market
from devserver.market.catalogue import BUILT_IN, Catalogue, Entry, Release
from devserver.market.folder import alone, changed_by_hand, find_installed, folder_of, needs_in
from devserver.market.lock import NAME, BadLock, Lock
from devserver.market.package import MOST_BYTES
from devserver.market.packages import name_in
from devserver.market.places import WHEEL_PATIENCE, Ask, catalogues_of, fetched
from devserver.market.sync import Files, NothingSuits, Ready, Resolved
from devserver.market.uv import UvFailed
from devserver.market.wants import Listed, Wants
from devserver.market.wheel import built_in
from devserver.market.yaml_edit import add_index, add_mod, remove_index, remove_line, remove_mod
from devserver.model.config import NetworkConfig
from devserver.model.names import normal
from devserver.model.split import label_of, main_of
from devserver.reload.wanted import taken_names, wants_of
from devserver.ui import catalogue as catalogue_ui
from devserver.ui import market as ui
from devserver.ui.terminal import is_tty
from devserver.ui.words import count

if TYPE_CHECKING:
    from devserver.cli.became import Became

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices of a person on the command line."""

    yes: bool = False
    offline: bool = False
    now: bool = False
    new_publisher: bool = False
    as_json: bool = False
    keep: bool = False
    explain: bool = False
    sha256: str = ""
    """The digest of the reviewed package: another file of that name is not added."""


@dataclass(slots=True, kw_only=True)
class Here:
    """The workspace that a command changes, as it was read."""

    path: Path
    config: NetworkConfig
    text: str
    lock: Lock
    catalogues: Sequence[Catalogue]
    problems: Sequence[str]
    files: Files = field(default_factory=Files)
    anew: bool = False
    """Whether the lock on disk cannot be read, and is written again."""

    @property
    def workspace(self) -> Path:
        """The folder of network.yaml."""
        return self.path.parent

    def wants(self, more: Sequence[Listed] = (), *, text: str | None = None) -> Wants:
        """Return all wants together, perhaps with another text of network.yaml."""
        config = self.config if text is None else parse_network(text)
        return wants_of(config, self.workspace, self.lock, self.catalogues, more=more, file=self.path.name)


def read_here(chosen: Choices, *, may_be_bad: bool = False) -> Here:
    """Read the workspace. Raises BadLock, but with `may_be_bad`, and ConfigError."""
    path = network_file(None)
    config = read_network(path)
    lock, anew = _lock(path.parent, may_be_bad=may_be_bad)
    listed = catalogues_of(config, path.parent, Ask.KEPT if chosen.offline else Ask.FETCH)
    return Here(
        path=path,
        config=config,
        text=path.read_text(encoding="utf-8"),
        lock=lock,
        anew=anew,
        catalogues=listed.catalogues,
        problems=listed.problems,
    )


def _lock(workspace: Path, *, may_be_bad: bool) -> tuple[Lock, bool]:
    """Return the lock, and whether it has to be made again. Raises BadLock, but for `sync`."""
    try:
        return market.lock_here(workspace), False
    except BadLock:
        if not may_be_bad:
            raise
        return market.salvaged_lock(workspace), True


Command = Callable[Concatenate[Choices, P], int]


def guarded(command: Command[P]) -> Command[P]:
    """Have a command tell its errors to people and programs."""

    @wraps(command)
    def carried_out(chosen: Choices, /, *given: P.args, **named: P.kwargs) -> int:
        try:
            return command(chosen, *given, **named)
        except NothingSuits as error:
            why = error.why
            if chosen.as_json:
                sides = [{"who": each.who, "needs": each.needs, "place": each.place} for each in why.sides]
                say_json({"success": False, "error": str(error), "package": why.package, "sides": sides,
                          "sentence": why.sentence, "derivation": why.raw})  # fmt: skip
            else:
                say(f"✗ {error}")
                show_lines(ui.conflict_lines(why, whole=chosen.explain))
            return Exit.FATAL
        except UvFailed as error:
            raise Problem(
                str(error), error.said.replace("\n", " · ")[:300] if error.said else "", Exit.FATAL
            ) from error
        except (Problem, ConfigError):
            raise
        except DevServerError as error:
            raise Problem(str(error), code=Exit.FATAL) from error
        except OSError as error:
            raise Problem(
                f"{error.filename or 'a file'} cannot be written: {error.strerror}", code=Exit.FATAL
            ) from error

    return carried_out


# The commands


def called(command: str, names: Sequence[str], chosen: Collection[str]) -> int:
    """Run one of the commands by its name, with the chosen of its switches."""
    of_add = {each.name for each in fields(Asked)}
    on: dict[str, Any] = dict.fromkeys(chosen, True)
    choices = Choices(**{name: on[name] for name in on if name not in of_add})
    match command:
        case "add":
            return add(choices, names, Asked(**{name: on[name] for name in on if name in of_add}))
        case "update":
            return update(choices, names)
        case "remove":
            return remove(choices, names)
        case _:
            return sync(choices)


@guarded
def sync(chosen: Choices, *, vendor: bool = False) -> int:
    """Lock the wants, and install the lock. Exits with 1 if that is impossible, or was declined."""
    path = network_file(None)
    config, (lock, anew) = read_network(path), _lock(path.parent, may_be_bad=True)
    # If nothing has changed, no address is asked.
    kept = catalogues_of(config, path.parent, Ask.KEPT).catalogues
    if not vendor and not anew and market.is_current(path.parent, lock, wants_of(config, path.parent, lock, kept)):
        return nothing(chosen, lock)
    here = read_here(chosen, may_be_bad=True)
    if anew and not chosen.as_json:
        say(f"{NAME} cannot be read and is written again; its versions are lost")
    with alone(here.workspace):
        copied = _vendor(here) if vendor else []
        if copied and not chosen.as_json:
            say(f"{count(len(copied), 'wheel')} copied: {', '.join(each.name for each in copied)}")
        # From the folder, which comes first: the same files, in another place.
        ready = prepared(here, here.wants(), chosen)
        rows = package_rows(ready.resolved)
        if rows and not chosen.as_json:
            show_lines(ui.package_lines(rows))
            for name in ready.reviews:
                show_lines(difference(ready, name) if name in ready.before else _added_lines(ready, name, ""))
        new = len(ready.resolved.came) + len(ready.resolved.moved)
        if new and not agreed(f"Install {count(new, 'package')}?", chosen, ready, default=True):
            return Exit.FATAL
        return applied(here, ready, chosen, concerned=())


@guarded
def restore(chosen: Choices) -> int:
    """Restore installed files that were changed by hand, after a question. Exits with 1 on a no."""
    workspace = network_file(None).parent
    data = market.lock_bytes(workspace)
    installed = find_installed(workspace, data) if data is not None else None
    changed = changed_by_hand(installed) if installed is not None else {}
    if installed is None or data is None or not changed:
        return nothing(chosen, Lock(), "nothing was changed by hand")
    if not chosen.as_json:
        for name, files in changed.items():
            say(f"{name} was changed by hand: {', '.join(files)}")
    if not agreed("Restore the locked files?", chosen, None, default=False):
        return Exit.FATAL
    with alone(workspace):
        back = market.restore(workspace, installed, data, offline=chosen.offline)
    names = [str(each.relative_to(workspace)) for each in back]
    say_json({"success": True, "restored": names}) if chosen.as_json else say(f"restored {', '.join(names)}")
    return Exit.CLEAN


@guarded
def add(chosen: Choices, what: Sequence[str], asked: Asked) -> int:
    """List mods in network.yaml, lock and install them, and wait until they run, or exit with 1."""
    here = read_here(chosen)
    with alone(here.workspace):
        try:
            stage = Stage(here.config, here.workspace, here.files)
            return _add_found(here, [stage.given(each, here.catalogues, asked) for each in what], chosen)
        except BaseException:
            here.files.put_back()
            raise


def _add_found(here: Here, found: Sequence[Given], chosen: Choices) -> int:
    text = here.text
    for each in found:
        if each.index and each.index not in parse_network(text).indexes:
            text = add_index(text, each.index).text
    # Other catalogues may have become readable with it.
    more = [Listed(each.name, each.name, each.versions) for each in found]
    wants = here.wants(more, text=text)
    origins = {normal(each.name): each.origin for each in found if each.origin}
    ready = prepared(here, wants, chosen, upgrade=[each.name for each in found], origins=origins)
    paths = {path: name for path, name in ready.mods.items() if name in {normal(each.name) for each in found}}
    missing = [each for each in found if normal(each.name) not in paths.values()]
    if missing:
        here.files.put_back()
        version = ready.lock.versions.get(normal(missing[0].name), "")
        raise Problem(f"{missing[0].name} {version} is not a mod (no entry point openagents.mods)", code=Exit.FATAL)
    if chosen.sha256:
        _expect_seen(here, ready, normal(found[0].name), chosen.sha256)
    new = [path for path in paths if not any(each.path == path for each in here.config.mods)]
    if not new and ready.resolved.same and market.is_current(here.workspace, here.lock, here.wants()):
        here.files.put_back()
        names = (f"{each.name} {ready.lock.versions[normal(each.name)]}" for each in found)
        return nothing(chosen, here.lock, f"{', '.join(names)}: listed, locked and installed already")
    if not chosen.as_json:
        for each in found:
            show_lines(_added_lines(ready, normal(each.name), each.place))
        for each in found:
            if each.listed:
                say(f"oa-dev show {each.name} --source shows all of it.")
    if not agreed("Add it?" if len(found) == 1 else "Add them?", chosen, ready, default=False):
        here.files.put_back()
        return Exit.FATAL
    versions = {normal(each.name): each.versions for each in found}
    lines = []
    for path in new:
        edited = add_mod(text, path, version=versions.get(paths[path], ""))
        text = edited.text
        lines.append(f"{here.path.name}:{edited.line} + {path}")
    return applied(here, ready, chosen, concerned=tuple(paths), text=text, listed=lines)


def _expect_seen(here: Here, ready: Ready, name: str, sha256: str) -> None:
    package = ready.lock.package(name)
    if package is None or sha256 not in package.hashes:
        here.files.put_back()
        version = "" if package is None else package.version
        raise Problem(
            f"{name} {version} is not what was asked for: sha256 {sha256[:8]}… was looked at; nothing was added",
            f"oa-dev show {name} shows what there is now, and oa-dev add {name} takes it",
            Exit.FATAL,
        )


@guarded
def update(chosen: Choices, names: Sequence[str]) -> int:
    """Lock the newest versions that fit, and wait until they run. Exits with 1 if one does not."""
    here = read_here(chosen)
    wanted = [_locked_name(each, here.lock) for each in names]
    with alone(here.workspace):
        ready = prepared(here, here.wants(), chosen, upgrade=wanted, everything=not wanted)
        if ready.resolved.same:
            return nothing(chosen, here.lock, "everything is up to date")
        if not chosen.as_json:
            _show_update(ready)
        if not agreed("Update?", chosen, ready, default=False):
            return Exit.FATAL
        moved = {new.name for _, new in ready.resolved.moved}
        run = {each.path for each in here.config.enabled_mods}
        concerned = tuple(path for path, name in ready.mods.items() if name in moved and path in run)
        concerned += tuple(each.line for each in ready.lock.lines if each.line in moved)
        return applied(here, ready, chosen, concerned=concerned)


def _locked_name(name: str, lock: Lock) -> str:
    locked = lock.package(normal(name)) is not None or lock.line(name) is not None
    found = lock.mods.get(name) or ((name if "@" in name else normal(name)) if locked else None)
    if found is None:
        known = ", ".join(sorted({*lock.mods.values()})[:8])
        raise Problem(f"{name} is not locked here", f"locked are {known}" if known else "", Exit.FATAL)
    return found


@guarded
def remove(chosen: Choices, names: Sequence[str]) -> int:
    """Take mods out of network.yaml and the lock. Exits with 1 if others need one."""
    here = read_here(chosen)
    wanted = {_locked_name(each, here.lock) for each in names}
    paths = [each.path for each in here.config.mods if here.lock.mods.get(each.path) in wanted]
    lines = [each for each in wanted if "@" in each and main_of(each) not in paths]
    text = here.text
    for path in paths:
        text = remove_mod(text, path).text
    for line in lines:
        text = remove_line(text, main_of(line), label_of(line) or "").text
    paths += lines
    with alone(here.workspace):
        resolved = _resolved(here, here.wants(text=text), chosen)
        left = [each for each in wanted if each in resolved.new.all_here]
        if left:
            by = ", ".join(_asking(left[0], here.wants(text=text), resolved)) or "what stays"
            raise Problem(f"{left[0]} is needed by {by}; nothing was changed", code=Exit.FATAL)
        try:
            followed = Followed.begin(here.workspace)
            text, wheels = _without_index(here, text, resolved)
            here.files.write(here.path, text.encode())
            # First it ends, then the lock forgets it.
            done = followed.wait(paths) if followed is not None else None
            if done is not None and not done.good:
                if not chosen.as_json:
                    done.tell()
                raise Problem(f"{here.path.name} and {NAME} are as before", code=Exit.FATAL)
            ready = market.install(resolved, taken=taken_names(here.workspace), origins={}, offline=chosen.offline)
            for each in wheels:
                here.files.write(each, None)
            if wheels:
                (here.workspace / FOLDER).rmdir()
            return applied(here, ready, chosen, concerned=(), text=text, done=done)
        except BaseException:
            here.files.put_back()
            raise


def _without_index(here: Here, text: str, resolved: Resolved) -> tuple[str, list[Path]]:
    """Return network.yaml without the folder index that `add` has made, if it holds nothing but the wheels that `add`
    has put there and that go now; and those wheels."""
    built_in = (entry for each in here.catalogues if each.name == BUILT_IN for entry in each.entries.values())
    built = {release.sha256 for entry in built_in for release in entry.releases.values()}
    # What a built-in mod needs is put there with it.
    own = (each for each in resolved.gone if each.name in here.lock.facts.origins or not built.isdisjoint(each.hashes))
    put = {here.workspace / each.where for each in own}
    there = sorted((here.workspace / FOLDER).glob("*"))
    bare = remove_index(text, FOLDER) if there and put.issuperset(there) else text
    return (text, []) if bare == text else (bare, there)


# What they share


def prepare() -> None:
    """Import and read what all of these commands need in any workspace: one that is carried out after that has less
    to do."""
    import encodings.idna  # for the first address  # noqa: F401

    from packaging import metadata, pylock  # noqa: F401

    from devserver.cli import became  # noqa: F401

    for model in (Release, Entry):
        model.model_rebuild()
    here = Path(os.sep)
    wants_of(parse_network("network: {name: any, mods: []}"), here, Lock(), (built_in(),)).texts(here)
    tops_here()


def _resolved(
    here: Here, wants: Wants, chosen: Choices, *, upgrade: Collection[str] = (), everything: bool = False
) -> Resolved:
    return market.resolve(
        here.workspace,
        wants,
        upgrade=upgrade,
        everything=everything,
        anew=here.anew,
        offline=chosen.offline,
        now=chosen.now,
        new_publisher=chosen.new_publisher,
    )


def prepared(
    here: Here,
    wants: Wants,
    chosen: Choices,
    *,
    upgrade: Collection[str] = (),
    everything: bool = False,
    origins: dict[str, str] | None = None,
) -> Ready:
    """Resolve and install beside what runs."""
    resolved = _resolved(here, wants, chosen, upgrade=upgrade, everything=everything)
    for each in () if chosen.as_json else resolved.young:
        say(each)
    return market.install(resolved, taken=taken_names(here.workspace), origins=origins or {}, offline=chosen.offline)


def agreed(question: str, chosen: Choices, ready: Ready | None, *, default: bool) -> bool:
    """Return whether a person agrees; without a terminal only `--yes` does."""
    if chosen.yes:
        return True
    if chosen.as_json:
        rows = _plain_rows(ready) if ready is not None else []
        reviews = {name: facts.review_facts(each) for name, each in ready.reviews.items()} if ready is not None else {}
        say_json({"success": False, "asks": question, "packages": rows, "reviews": reviews})
        return False
    if not (is_tty(sys.stdin) and is_tty(sys.stdout)):
        say(f"{question} --yes says so")
        return False
    answer = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
    return answer in ("y", "yes") if answer else default


def applied(
    here: Here,
    ready: Ready,
    chosen: Choices,
    *,
    concerned: Sequence[str],
    text: str | None = None,
    listed: Sequence[str] = (),
    done: Became | None = None,
) -> int:
    """Put the lock into effect, and wait for the result; one that does not start is taken back."""
    followed = Followed.begin(here.workspace)
    config = here.config if text is None else parse_network(text)
    ready = market.counted(ready, wants_of(config, here.workspace, ready.lock))
    market.write_lock(ready, here.files)
    if text is not None:
        here.files.write(here.path, text.encode())
    if not chosen.as_json:
        _say_locked(ready, listed)
    if followed is not None and concerned and here.files.before:
        done = followed.wait(concerned)
        if done is not None and not done.good and not chosen.keep:
            return _taken_back(here, followed, done, chosen)
    elif followed is not None and done is None:
        # Missing packages are looked for then.
        followed.settle()
    if chosen.as_json:
        say_json(
            {
                "success": True,
                **installed_row(ready),
                "listed": list(listed),
                "notes": list(ready.resolved.young),
                "done": list(done.rows) if done is not None else [],
            }
        )
    elif done is not None:
        done.tell()
    elif followed is None and concerned:
        say("no oa-dev is running for this folder: oa-dev run loads it")
    return Exit.CLEAN


def _taken_back(here: Here, followed: Followed, done: Became, chosen: Choices) -> int:
    here.files.put_back()
    followed.settle()
    said = f"{here.path.name} and {NAME} are as before; --keep leaves it, and it is tried again when something changes"
    if chosen.as_json:
        say_json({"success": False, "error": said, "done": list(done.rows)})
    else:
        done.tell()
        say(said)
    return Exit.FATAL


def _say_locked(ready: Ready, listed: Sequence[str]) -> None:
    if ready.resolved.same and not listed:
        # In a fresh clone, as a rule.
        say(_installed(ready.lock))
        return
    news = len(ready.resolved.came) + len(ready.resolved.moved)
    gone = [each.name for each in ready.resolved.gone]
    parts = [f"locked {count(news, 'package')}" if news else "locked"]
    parts += [f"without {', '.join(gone)}"] if gone else []
    parts += [f"installed in {ready.seconds * 1000:.0f} ms"] if news else []
    parts += listed
    say(" · ".join(parts))


def nothing(chosen: Choices, lock: Lock, words: str = "") -> int:
    said = words or _installed(lock)
    say_json({"success": True, "installed": None, "message": said}) if chosen.as_json else say(said)
    return Exit.CLEAN


def _installed(lock: Lock) -> str:
    return f"what is locked is installed: {count(len(lock.here), 'package')}"


def package_rows(resolved: Resolved) -> list[dict[str, Any]]:
    """Return the packages that come, go and move, with the mods that need them."""
    rows: list[tuple[str, str | None, str | None]] = [(each.name, None, each.version) for each in resolved.came]
    rows += [(new.name, old.version, new.version) for old, new in resolved.moved]
    rows += [(each.name, each.version, None) for each in resolved.gone]
    return [
        {"name": name, "from": old, "to": new, "needed_by": list(_needing(name, resolved.wants)) if new else []}
        for name, old, new in rows
    ]


def _asking(name: str, wants: Wants, resolved: Resolved) -> Iterator[str]:
    """Return what needs a distribution: mods of the workspace, and other locked packages."""
    for each in wants.needing:
        if any(name_in(text) == name for text in each.requires):
            yield f"{each.who} ({each.place})"
    folder = folder_of(resolved.workspace, resolved.old)
    yield from (each.name for each in resolved.new.here if name in needs_in(folder, each.name))


def _needing(name: str, wants: Wants) -> Iterator[str]:
    """Return what asks for a package by its name; the needs of others for it are left out."""
    listing = wants.listing(name)
    if listing is not None:
        yield f"{wants.file}:{listing.line}" if listing.line else wants.file
    for each in wants.needing:
        if any(name_in(text) == name for text in each.requires):
            yield each.who


def _plain_rows(ready: Ready) -> list[dict[str, Any]]:
    return [{key: each[key] for key in ("name", "from", "to")} for each in package_rows(ready.resolved)]


def installed_row(ready: Ready) -> dict[str, Any]:
    """Return what was installed, for programs."""
    return {
        "installed": {
            "lock": NAME,
            "packages": _plain_rows(ready),
            "env": str(ready.folder.relative_to(ready.workspace)),
            "duration_ms": round(ready.seconds * 1000, 1),
        }
    }


# Screens


def _added_lines(ready: Ready, name: str, place: str) -> Iterator[Any]:
    review = ready.reviews.get(name)
    if review is None:
        return
    values = {**facts.review_facts(review), "name": name, "version": review.package.version}
    publisher, is_verified = ready.lock.facts.publishers.get(name), name in ready.resolved.verified
    how = "verified" if is_verified else facts.NOT_VERIFIED
    values["by"] = f"{publisher} ({how})" if publisher else facts.NOT_ATTESTED
    yield from catalogue_ui.added_lines(values, place)
    others = [each for each in package_rows(ready.resolved) if each["name"] != name]
    yield from ui.package_lines(others)


def _show_update(ready: Ready) -> None:
    for old, new in ready.resolved.moved:
        if new.name in ready.before and new.name in ready.reviews:
            say(f"{new.name} {old.version} → {new.version}")
            show_lines(difference(ready, new.name))
    others = [each for each in package_rows(ready.resolved) if each["name"] not in ready.before]
    show_lines(ui.package_lines(others))


def difference(ready: Ready, name: str) -> Iterator[Any]:
    yield from catalogue_ui.difference_lines(facts.difference_facts(ready.before[name], ready.reviews[name]))


def _vendor(here: Here) -> list[Path]:
    """Copy the locked wheels into the first folder of `dev.indexes`; return them."""
    folder = next((each for each in here.config.indexes if "://" not in each), None)
    if folder is None:
        raise Problem("no folder is listed in dev.indexes", "list one, as in indexes: [mods-index]", Exit.FATAL)
    fetch = partial(fetched, patience=WHEEL_PATIENCE, most=MOST_BYTES)
    return market.vendor(here.lock, here.workspace / folder, fetch, here.files)
