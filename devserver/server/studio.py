"""OpenAgents' Studio at /studio: the build in the installed package, at the network's origin.

Nothing of it is ours: its files are served unchanged. Being of one origin, it needs no exception in
the gate. Its pages have a policy of their own, for the needs of such a build; it may connect to
this network alone.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from devserver.control.page import content
from devserver.loader.substitutes import installed_version, package_folder
from devserver.model.principal import Scope
from devserver.transports.http.answers import Answer
from devserver.transports.http.routes import Endpoint, Request, Route

PATH = "/studio"
HAS_ONE = "0.8.6"
"""The last version that ships a build."""

_LEFT_OUT = frozenset({".map", ".txt"})
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def studio_build() -> Path | None:
    """Return the folder of the build; None if the package has none, or is not installed."""
    folder = package_folder("openagents")
    build = None if folder is None else folder / "studio" / "build"
    return build if build is not None and (build / "index.html").is_file() else None


def why_none() -> str:
    """Return why there is no Studio, and what to do, in a sentence."""
    found = installed_version("openagents")
    if found is None:
        return f"there is no Studio: the package openagents is not installed (pip install openagents=={HAS_ONE})"
    return f"there is no Studio: openagents {found} ships none, {HAS_ONE} does (pip install openagents=={HAS_ONE})"


def studio_routes(build: Path) -> tuple[Route, ...]:
    """Return a route for each file of the build, and its first page for everything below /studio.
    The build asks for /static, /manifest.json and the like, not below /studio."""
    page = _page(build / "index.html")
    files = (each for each in sorted(build.rglob("*")) if each.is_file() and each.suffix not in _LEFT_OUT)
    own = {f"/{each.relative_to(build).as_posix()}": each for each in files if each.name != "index.html"}
    return (
        Route("GET", PATH, Scope.OPEN, page, page=True),
        Route("GET", f"{PATH}/", Scope.OPEN, page, page=True, below=True),
        *(Route("GET", path, Scope.OPEN, _file(file)) for path, file in own.items()),
    )


def _page(file: Path) -> Endpoint:
    async def endpoint(request: Request) -> Answer:
        found = content(file)
        return Answer(found, content_type=b"text/html; charset=utf-8", policy=_policy(found))

    return endpoint


def _file(file: Path) -> Endpoint:
    kind = (mimetypes.guess_type(file.name)[0] or "application/octet-stream").encode()

    async def endpoint(request: Request) -> Answer:
        return Answer(content(file), content_type=kind)

    return endpoint


@lru_cache(maxsize=4)
def _policy(page: bytes) -> bytes:
    """Return the page's policy: its own scripts, its inline ones, its libraries' styles."""
    digests = (base64.b64encode(hashlib.sha256(each).digest()) for each in _INLINE.findall(page))
    scripts = b" ".join((b"script-src 'self'", *(b"'sha256-%s'" % each for each in digests)))
    return scripts + (
        b"; default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"connect-src 'self'; manifest-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'"
    )
