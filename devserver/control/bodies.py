"""Reads the bodies of the control API: a misfit is refused, a sentence for each field.

Their models need pydantic, whose import takes a sixth of a restart in place; they are imported with the
first request that has a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from devserver.config.typed import DoesNotFit, fitted
from devserver.transports.http.routes import Request
from devserver.transports.strict import Malformed

if TYPE_CHECKING:
    from devserver.control import models as models

    B = TypeVar("B", bound=models.Body)

LONGEST_TEXT = 200


def __getattr__(name: str) -> Any:
    """Return `models`, which is imported with the first use."""
    if name != "models":
        raise AttributeError(name)
    from devserver.control import models as found

    return found


def read(body: type[B], request: Request) -> B:
    """Read the body of a request. Raises Malformed with one sentence for each misfit."""
    try:
        found: B = fitted(body, request.body)
    except DoesNotFit as error:
        raise Malformed("bad_field", str(error)) from error
    return found


def named(request: Request) -> tuple[tuple[str, ...], int | None]:
    """Return the mods that a request names, and the generation it has seen. Raises Malformed."""
    from devserver.control import models

    found = read(models.AboutMods, request)
    mods = tuple(found.mods or ())
    if found.generation is not None and len(mods) != 1:
        raise Malformed("bad_field", "with a generation exactly one mod is named")
    return mods, found.generation
