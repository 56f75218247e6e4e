"""What was probably meant is said beside an error, on every version of Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest

from devserver.reload.error_facts import error_facts


class Board:
    """Something with a method."""

    def add(self) -> None:
        """Nothing."""


class Mute:
    """Something that does not say what it has."""

    def __dir__(self) -> list[str]:
        raise RuntimeError("not told")


def misspelt_local() -> None:
    """A name that is nearly another one."""
    column = 1
    print(colunm, column)  # type: ignore[name-defined] # noqa: F821


def imported(name: str) -> Callable[[], object]:
    """An import of that name."""
    return lambda: importlib.import_module(name)


PACKAGE = "If it is a package: list it under dependencies in # /// script, and oa-dev sync installs it"


@pytest.mark.parametrize(
    ("fail", "hint"),
    [
        (lambda: Board().addd(), "Did you mean: 'add'?"),  # type: ignore[attr-defined]
        (lambda: {}.setdefalt("pages", {}), "Did you mean: 'setdefault'?"),  # type: ignore[attr-defined]
        (lambda: Boardd(), "Did you mean: 'Board'?"),  # type: ignore[name-defined] # noqa: F821
        (lambda: prinnt(), "Did you mean: 'print'?"),  # type: ignore[name-defined] # noqa: F821
        (misspelt_local, "Did you mean: 'column'?"),
        (lambda: Board().xyzzy(), None),  # type: ignore[attr-defined]
        (lambda: Mute().ad(), None),  # type: ignore[attr-defined]
        (lambda: {}["add"], None),
        (imported("nowhere_installed"), PACKAGE),
        (imported("nowhere_installed.part"), PACKAGE),
        (imported("json.nowhere"), None),
        (imported("winreg"), None),
    ],
)
def test_a_misspelt_name_is_told_with_the_one_it_is_nearest_to(fail: Callable[[], object], hint: str | None) -> None:
    """Attributes, names of the module, of Python and of the function; and nothing where nothing is near. A name
    that may be that of a package is told with what installs it."""
    with pytest.raises(Exception) as raised:
        fail()
    assert error_facts(raised.value, lambda file: True).hint == hint
