"""`add --beside` and `update --try`: another version of a mod that comes from an index, beside the one that runs.

Each is a line of network.yaml under `versions`, locked and installed like all else; nothing of the mod itself changes.
When a line has ended by `promote` or `drop`, its entry goes, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devserver.cli.exits import Exit, Problem
from devserver.cli.following import Followed
from devserver.cli.installing import Choices, Here, agreed, applied, difference, guarded, nothing, prepared, read_here
from devserver.cli.output import say, show_lines
from devserver.cli.promoted import keep
from devserver.cli.staging import Asked, Given, Stage
from devserver.market import sync as market
from devserver.market.folder import alone
from devserver.market.lock import Locked
from devserver.market.sync import Ready
from devserver.market.yaml_edit import add_index, add_line, remove_line, set_in_mod
from devserver.model.config import ModSpec
from devserver.model.names import module_of, normal
from devserver.model.split import label_of_versions, label_problem, parse_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Beside which mod a version is to run, under which label, and for which agents; nothing where it is not said."""

    mod: str = ""
    label: str = ""
    share: str = ""
    agents: str = ""


@guarded
def add_beside(chosen: Choices, what: Sequence[str], asked: Asked, beside: Beside) -> int:
    """List another version of a mod beside it, lock and install it, and wait until it runs. Ends with 1 where not."""
    if len(what) != 1:
        raise Problem("one version at a time runs beside a mod", "oa-dev add wiki-extras~=2.0 --beside wiki_extras")
    here = read_here(chosen)
    with alone(here.workspace):
        try:
            found = Stage(here.config, here.workspace, here.files).given(what[0], here.catalogues, asked)
            spec = _main(here, found, beside.mod)
            values = _values(found, spec, beside)
            text = here.text
            if found.index and found.index not in here.config.indexes:
                text = add_index(text, found.index).text
            edited = add_line(text, spec.path, values)
            said = f"{here.path.name}:{edited.line} + {spec.path}@{values['label']}"
            return _brought(here, edited.text, [_line(spec, values)], chosen, listed=[said])
        except BaseException:
            here.files.put_back()
            raise


def _line(spec: ModSpec, values: dict[str, Any]) -> str:
    return f"{module_of(spec.path)}@{values['label']}"


def _main(here: Here, found: Given, named: str) -> ModSpec:
    """Return the mod of network.yaml that a version is to run beside. Raises Problem."""
    paths = [path for path, name in here.lock.mods.items() if name == normal(found.name)]
    wanted = module_of(named) if named else next(iter(paths), "")
    spec = next((each for each in here.config.mods if wanted and module_of(each.path) == wanted), None)
    if spec is None:
        raise Problem(
            f"{named or found.name} is not listed in {here.path.name}", f"oa-dev add {found.name}", Exit.FATAL
        )
    own = here.lock.mods.get(module_of(spec.path))
    if own != normal(found.name):
        whose = f"comes from {own}" if own else "lies in the workspace"
        raise Problem(f"{found.name} is not another version of {spec.path}, which {whose}", code=Exit.FATAL)
    return spec


def _values(found: Given, spec: ModSpec, beside: Beside) -> dict[str, Any]:
    """Return the entry below `versions`. Raises Problem for what cannot be there."""
    example = f"oa-dev add '{found.name}~=2.0' --beside {spec.path}"
    if not found.versions:
        raise Problem(f"which version of {found.name} is to run beside {spec.path}?", example)
    label = beside.label or label_of_versions(found.versions) or ""
    problem = label_problem(label)
    if problem is not None:
        raise Problem(f"--label {label}: {problem}", example)
    taken = [each.beside.label for each in spec.versions if each.beside is not None]
    if label in taken:
        raise Problem(f"{spec.path}@{label} is listed already", "--label names another one", Exit.FATAL)
    if beside.share and parse_share(beside.share) is None:
        raise Problem(f"--share {beside.share} is not a share of the agents", "write it like --share 10%")
    agents = [each.strip() for each in beside.agents.split(",") if each.strip()]
    values = {"label": label, "version": found.versions}
    return values | ({"share": beside.share} if beside.share else {}) | ({"agents": agents} if agents else {})


def _brought(here: Here, text: str, lines: Sequence[str], chosen: Choices, *, listed: Sequence[str]) -> int:
    """Resolve and install what another text of network.yaml wants, ask, and have it run."""
    ready = prepared(here, here.wants(text=text), chosen)
    if not chosen.as_json:
        for line in lines:
            _show(ready, line)
    if not agreed("Run it beside?" if len(lines) == 1 else "Run them beside?", chosen, ready, default=False):
        here.files.put_back()
        return Exit.FATAL
    code = applied(here, ready, chosen, concerned=tuple(lines), text=text, listed=listed)
    if code == Exit.CLEAN and not chosen.as_json:
        for line in lines:
            say(f"oa-dev split {line} 10% · oa-dev promote {line} · oa-dev remove {line}")
    return code


def _show(ready: Ready, line: str) -> None:
    locked = ready.lock.line(line)
    assert locked is not None
    say(f"{locked.name} {locked.version} as {line} · sha256 {locked.sha256[:8]}…")
    if line in ready.before and line in ready.reviews:
        show_lines(difference(ready, line))


@guarded
def update_beside(chosen: Choices, names: Sequence[str]) -> int:
    """Have the newest versions that suit run beside what runs; 1 where one does not start."""
    here = read_here(chosen)
    wanted = [here.lock.mods.get(each, normal(each)) for each in names]
    with alone(here.workspace):
        wants = here.wants()
        found = market.resolve(
            here.workspace, wants, upgrade=wanted, everything=not wanted, offline=chosen.offline, now=chosen.now,
            new_publisher=chosen.new_publisher,
        )  # fmt: skip
        moved = {new.name: (old, new) for old, new in found.moved}
        text, lines, listed = here.text, [], []
        for spec in here.config.enabled_mods:
            name = here.lock.mods.get(module_of(spec.path))
            if name not in moved:
                continue
            values = {"label": _label(*moved[name], spec), "version": f"=={moved[name][1].version}"}
            edited = add_line(text, spec.path, values)
            text = edited.text
            lines.append(_line(spec, values))
            listed.append(f"{here.path.name}:{edited.line} + {lines[-1]}")
        if not lines:
            return nothing(chosen, here.lock, "everything is up to date")
        return _brought(here, text, lines, chosen, listed=listed)


def _label(old: Locked, new: Locked, spec: ModSpec) -> str:
    """Return the major version where that tells the two apart, else all of it."""
    majors = [label_of_versions(each.version) for each in (old, new)]
    taken = [each.beside.label for each in spec.versions if each.beside is not None]
    if majors[0] != majors[1] and majors[1] is not None and majors[1] not in taken:
        return majors[1]
    return re.sub(r"[^a-z0-9_]", "_", new.version.lower())[:20]


def write_ended(line: str, *, promoted: bool, write: bool = False, as_json: bool) -> str:
    """Let network.yaml and the lock say what a promotion or drop of a line (its path) has done.

    Returns what was written; nothing where network.yaml does not list the line. A promotion of another path's code is
    for a person to write, for it would be another mod; one of a version from an index is written with `write`. The
    files before a promotion are kept for `undo`. Raises DevServerError, with all files as before.
    """
    here = read_here(Choices(yes=True, as_json=as_json))
    listed = [(mod, each) for mod in here.config.mods for each in mod.versions if each.path == line and each.beside]
    if not listed:
        return ""
    [(mod, spec)] = listed
    assert spec.beside is not None
    if promoted and spec.beside.code and not (spec.version and write):
        return ""
    edited = remove_line(here.text, mod.path, spec.beside.label)
    told = f"{here.path.name}:{edited.line} - {line}"
    if promoted and spec.version:
        edited = set_in_mod(edited.text, mod.path, "version", spec.version)
        told = f"{here.path.name}:{edited.line} version {spec.version}, without {line}"
    try:
        with alone(here.workspace):
            _write(here, edited.text, (module_of(mod.path),) if promoted else (), Choices(yes=True, as_json=as_json))
        if promoted:
            keep(here.workspace, line, here.files.before)
    except BaseException:
        here.files.put_back()
        raise
    return told


def _write(here: Here, text: str, concerned: Sequence[str], chosen: Choices) -> None:
    """Write network.yaml, and the lock where something of it changes, and wait for the mods that are concerned."""
    followed = Followed.begin(here.workspace)
    if here.lock.lines:
        wants = here.wants(text=text)
        market.write_lock(market.counted(prepared(here, wants, chosen), wants), here.files)
    here.files.write(here.path, text.encode())
    if followed is not None and concerned and here.lock.lines:
        done = followed.wait(concerned)
        if not done.good:
            raise Problem(
                f"{', '.join(concerned)} did not load from the lock; {done.note}".rstrip("; "), code=Exit.FATAL
            )
