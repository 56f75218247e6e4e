"""The code of a network, so that another process can run the same: sources, mods, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from devserver.loader.modules import Reading
from devserver.model.change import Digest
from devserver.model.config import ModSpec
from devserver.reload.engine import Engine


@dataclass(frozen=True, slots=True)
class Code:
    """The running code. `mods` in the order of asking; `numbers` of the generations, by mod."""

    mods: tuple[ModSpec, ...]
    texts: Mapping[Path, Reading]
    numbers: Mapping[str, int]
    roots: tuple[Path, ...] = ()
    """The folders beside that of network.yaml whose files are sources."""
    asked: tuple[str, ...] = ()
    """Those of them that a person asked for."""

    @property
    def digests(self) -> dict[Path, Digest]:
        """The digest of each source."""
        return {path: text.digest for path, text in self.texts.items()}


def code_now(engine: Engine) -> Code:
    """Return the running code: as it was loaded, whatever has been saved since and failed."""
    live = engine.registry.live
    return Code(
        tuple(ModSpec(each.mod_path, dict(each.config)) for each in live),
        {each.path: each.text for each in engine.modules.current.values()},
        {each.mod_id: each.number for each in live},
        engine.roots.folders[1:],
        engine.roots.asked,
    )


def code_before(engine: Engine, mods: tuple[str, ...] = ()) -> Code | None:
    """Return the code before the last reload of these mods, or the latest; None if unknown."""
    now, history = code_now(engine), engine.knowledge.history
    wanted = mods or history.latest()
    pasts = {mod_id: past for mod_id, past in history.back(now.numbers).items() if mod_id in wanted}
    if not pasts:
        return None
    texts = {path: text for past in pasts.values() for path, text in past.texts.items()}
    replaced = {mod_id: number for past in pasts.values() for mod_id, number in past.replaced.items()}
    return replace(now, texts={**now.texts, **texts}, numbers={**now.numbers, **replaced})
