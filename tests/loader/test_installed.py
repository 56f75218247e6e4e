"""A look at the files of all loaded modules keeps none of these modules alive."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from types import ModuleType

from devserver.loader import installed


def test_a_module_that_is_replaced_during_a_look_is_gone_at_once(tmp_path: Path) -> None:
    """The look waits for the disk while a reload goes on: held modules would be taken for old code that cannot end."""
    module = ModuleType("replaced")
    module.__file__ = str(tmp_path / "replaced.py")
    sys.modules["replaced"] = module
    files = installed._files()
    first = next(files)
    gone = weakref.ref(module)
    del sys.modules["replaced"], module
    assert gone() is None
    assert str(tmp_path / "replaced.py") in {first, *files}
