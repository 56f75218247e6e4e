"""The control API of replay: pins, repeated events, tests that are written of them, states.

All of it needs this run's admin token: observations show payloads. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from devserver.control import bodies
from devserver.control.bodies import read
from devserver.control.feed import number
from devserver.errors import DevServerError
from devserver.model.logs import logger
from devserver.model.principal import Scope
from devserver.transports.http.answers import Answer, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.strict import Malformed

_log = logger("devserver.audit")


class ReplayAsked(Protocol):
    """Replay in a running server; each method raises DevServerError on a failure."""

    async def pin(
        self, what: int | Mapping[str, Any], *, name: str | None = None, empty: bool = False
    ) -> dict[str, Any]: ...
    def pins(self) -> dict[str, Any]: ...
    async def accept(self, name: str) -> dict[str, Any]: ...
    async def ignore(self, name: str, path: str) -> dict[str, Any]: ...
    async def remove(self, name: str) -> dict[str, Any]: ...
    async def replay(
        self, what: int | str | Mapping[str, Any], *, payload: Mapping[str, Any] | None = None, on: str = "now"
    ) -> dict[str, Any]: ...
    async def send_again(
        self, what: int | str | Mapping[str, Any], payload: Mapping[str, Any] | None, seen: Mapping[str, int]
    ) -> dict[str, Any]: ...
    async def test(self, what: int | str, path: str | None) -> dict[str, Any]: ...
    async def look(self, mod: str, path: str, since: str | None) -> dict[str, Any]: ...


class SessionsAsked(Protocol):
    """Recorded sessions; each method raises DevServerError on a failure."""

    async def sessions(self) -> dict[str, Any]: ...
    async def session(self, name: str) -> dict[str, Any]: ...
    async def moment(self, name: str, *, number: int, mod: str, path: str) -> dict[str, Any]: ...


class Replayer(Protocol):
    """Makes replay at the first request."""

    @property
    def replays(self) -> ReplayAsked: ...
    @property
    def sessions(self) -> SessionsAsked: ...


class ReplayApi:
    """The endpoints, over one server."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_dev/pins", Scope.ADMIN, self.pins),
            Route("POST", "/_dev/pins", Scope.ADMIN, self.pin),
            Route("POST", "/_dev/pins/accept", Scope.ADMIN, self.accept),
            Route("POST", "/_dev/pins/ignore", Scope.ADMIN, self.ignore),
            Route("POST", "/_dev/pins/remove", Scope.ADMIN, self.remove),
            Route("POST", "/_dev/replay", Scope.ADMIN, self.replay),
            Route("POST", "/_dev/test", Scope.ADMIN, self.test),
            Route("GET", "/_dev/state", Scope.ADMIN, self.state),
            Route("GET", "/_dev/sessions", Scope.ADMIN, self.sessions),
            Route("GET", "/_dev/session", Scope.ADMIN, self.session),
            Route("GET", "/_dev/session/state", Scope.ADMIN, self.moment),
        )

    async def pins(self, request: Request) -> Answer:
        """Return every pin, and the state of replay."""
        return told(self._replayer.replays.pins())

    async def pin(self, request: Request) -> Answer:
        """Pin an event by its `number`, or a given `event`."""
        body = read(bodies.models.MakePin, request)
        what = _one_of(body.number, None, body.event)
        return await _answered(self._replayer.replays.pin(what, name=body.name, empty=body.state == "empty"))

    async def accept(self, request: Request) -> Answer:
        """Accept the present result of a pin."""
        return await _answered(self._replayer.replays.accept(read(bodies.models.OnePin, request).name))

    async def ignore(self, request: Request) -> Answer:
        """Stop comparing a path of a pin."""
        body = read(bodies.models.IgnorePath, request)
        return await _answered(self._replayer.replays.ignore(body.name, body.path))

    async def remove(self, request: Request) -> Answer:
        """Forget a pin."""
        return await _answered(self._replayer.replays.remove(read(bodies.models.OnePin, request).name))

    async def replay(self, request: Request) -> Answer:
        """Run an event again: of a `number`, of a pin's `name`, or a given one. Nothing is
        delivered, unless with `for_real`: then it is sent as a new event."""
        body = read(bodies.models.Replay, request)
        what = _one_of(body.number, body.name, body.event)
        named = body.number or body.name or (body.event or {}).get("event_name")
        if body.for_real:
            if body.generations is None:
                raise Malformed("bad_field", "for_real needs the generations that you have seen")
            _log.info("%s sends %r again, for real", request.who, named)
            return await _answered(self._replayer.replays.send_again(what, body.payload, body.generations))
        _log.info("%s replays %r", request.who, named)
        return await _answered(self._replayer.replays.replay(what, payload=body.payload, on=body.on))

    async def test(self, request: Request) -> Answer:
        """Write a test of an event, or of a pin: `{path, text}`."""
        body = read(bodies.models.WriteTest, request)
        what = _one_of(body.number, body.name, None)
        return await _answered(self._replayer.replays.test(what, body.path))

    async def state(self, request: Request) -> Answer:
        """Return one level of a mod's state at `path`, or its changes `since` a look or a swap."""
        query = request.query
        if not query.get("mod"):
            raise Malformed("bad_query", "mod names a mod")
        since = query.get("since") or None
        return await _answered(self._replayer.replays.look(query["mod"], query.get("path", ""), since))

    async def sessions(self, request: Request) -> Answer:
        """Return the names of the recorded sessions."""
        return await _answered(self._replayer.sessions.sessions())

    async def session(self, request: Request) -> Answer:
        """Return the events of the session `name`."""
        return await _answered(self._replayer.sessions.session(request.query.get("name", "")))

    async def moment(self, request: Request) -> Answer:
        """Run the session `name` up to the event `number`: its observation, and one level of the state of `mod` at
        `path` after it."""
        query = request.query
        event, mod, path = number(request, "number"), query.get("mod", ""), query.get("path", "")
        if event is None:
            raise Malformed("bad_query", "number is the number of an event")
        moment = self._replayer.sessions.moment(query.get("name", ""), number=event, mod=mod, path=path)
        return await _answered(moment)


def _one_of(number: int | None, name: str | None, event: dict[str, object] | None) -> Any:
    given = [each for each in (number, name, event) if each is not None]
    if len(given) != 1:
        raise Malformed("bad_field", "name one event: number, name or event")
    return given[0]


async def _answered(work: Awaitable[dict[str, Any]]) -> Answer:
    try:
        return told(await work)
    except DevServerError as error:
        raise Malformed("cannot_replay", str(error), 409) from error
    except OSError as error:
        raise Malformed("cannot_write", f"it cannot be written: {error.strerror or error}", 409) from error
