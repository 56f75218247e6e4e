"""Checks what only executed code declares: versions and needs that it computes.

A plan reads literals. The check comes before any change of live mods.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from devserver.errors import NeedUnmet
from devserver.live.registry import Registry
from devserver.market.requirements import Requirement
from devserver.model.names import mod_id_of, module_of
from devserver.reload.carried import Candidate
from devserver.reload.plan.situation import required
from devserver.sources.declarations import read_declarations
from devserver.sources.files import read_bytes


def check_needs(candidate: Candidate, group: Sequence[Candidate], registry: Registry) -> None:
    """Raise NeedUnmet if a needed mod does not run, or a version does not suit.

    `group` comes together, `registry` has what runs. Needs of the former generation are not
    checked: a person may have forced these.
    """
    coming = {module_of(each.step.mod_path): each for each in group if each.mod_class is not None}
    kept = set() if candidate.old is None else set(_needs(candidate.old.instance))
    for needed in _needs(candidate.mod_class):
        path = module_of(needed.path)
        if needed not in kept or path in coming:
            version = _version_of(path, coming, registry)
            if version is None:
                words = f"it needs {needed}, which is not loaded; what requires names in a list of texts comes along"
                raise _unmet(words, candidate, "requires")
            if not needed.allows(version):
                raise _unmet(f"it needs {needed}, and {mod_id_of(needed.path)} is {version}", candidate, "requires")
    _check_others(candidate, coming, registry)


def _version_of(path: str, coming: Mapping[str, Candidate], registry: Registry) -> str | None:
    """Return the version that a mod (by path) has after this change; None if it does not run."""
    if path in coming:
        return str(coming[path].mod_class.version)  # type: ignore[union-attr]
    live = registry.running(path)
    return str(live.instance.version) if live is not None and module_of(live.mod_path) == path else None


def _check_others(candidate: Candidate, coming: Collection[str], registry: Registry) -> None:
    """Refuse a version that does not suit the mods that need it, if the former one does."""
    if candidate.old is None or candidate.mod_class is None:
        return
    before, now = str(candidate.old.instance.version), str(candidate.mod_class.version)
    for other in registry.live if before != now else ():
        for each in _needs(other.instance) if module_of(other.mod_path) not in coming else ():
            is_it = module_of(each.path) == module_of(candidate.step.mod_path)
            if is_it and each.allows(before) and not each.allows(now):
                words = f"{candidate.step.mod_id} {now} does not suit {other.mod_id}, which needs {each}"
                raise _unmet(words, candidate, "version")


def _needs(mod: object) -> tuple[Requirement, ...]:
    """Return the declared needs of a mod, or its class, as far as they can be read."""
    texts = getattr(mod, "requires", ())
    return required(each for each in texts if isinstance(each, str)) if isinstance(texts, list | tuple) else ()


def _unmet(words: str, candidate: Candidate, attribute: str) -> NeedUnmet:
    """Return the fault, at the line where the mod sets that attribute."""
    file = None if candidate.located is None else candidate.located.file
    if file is None:
        return NeedUnmet(words)
    try:
        place = read_declarations(read_bytes(file) or b"", file).where.get(attribute)
    except (OSError, SyntaxError):
        place = None
    return NeedUnmet(words, file=str(file), line=1 if place is None else place.line)
