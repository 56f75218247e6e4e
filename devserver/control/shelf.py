"""The control API of available mods: the list, the facts about one, and what agents ask for.

Installs nothing but what a person asks for with the digest that was shown. Reading needs the scope
read, adding and answering an agent this run's admin token.
"""

from __future__ import annotations

from devserver.agent_network import AgentNetwork
from devserver.control import bodies
from devserver.control.bodies import LONGEST_TEXT, read
from devserver.errors import DevServerError
from devserver.model.principal import Scope
from devserver.network.asks import Asked, to_dict
from devserver.transports.http.answers import Answer, refused, told
from devserver.transports.http.routes import Request, Route
from devserver.transports.strict import Malformed


class ShelfApi:
    """The endpoints, over one network."""

    def __init__(self, network: AgentNetwork) -> None:
        self._network = network

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_dev/catalogue", Scope.READ, self.search),
            Route("GET", "/_dev/catalogue/show", Scope.READ, self.show),
            Route("GET", "/_dev/asked", Scope.ADMIN, self.asked),
            Route("POST", "/_dev/asked", Scope.ADMIN, self.answer),
            Route("POST", "/_dev/add", Scope.ADMIN, self.add),
        )

    async def search(self, request: Request) -> Answer:
        """Find the available mods in which every word of `q` occurs."""
        return told(await self._network.shelf.search(_text(request, "q")))

    async def show(self, request: Request) -> Answer:
        """Show all facts about the mod `name`: from its wheel if at hand; 404 if not listed."""
        try:
            return told(await self._network.shelf.facts(_text(request, "name")))
        except DevServerError as error:
            return refused("unknown_mod", str(error), 404)

    async def asked(self, request: Request) -> Answer:
        """Show the mods that agents have asked for and that wait for a person."""
        return told({"asked": [to_dict(each) for each in self._network.asks.waiting()]})

    async def answer(self, request: Request) -> Answer:
        """Answer an agent. Yes follows once the mod runs, with the digest that was asked for."""
        body = read(bodies.models.AnswerAsked, request)
        asked = self._network.asks.find(body.number)
        if asked is None or asked not in self._network.asks.waiting():
            return refused("unknown_number", f"nothing waits under the number {body.number}", 404)
        if body.answer == "yes":
            if asked.sha256 != body.sha256:
                return refused("other_sha256", "sha256 is not the one that was asked for and shown", 409)
            if not await self._runs(asked):
                return refused("not_added", f"{asked.name} does not run yet: add it first", 409)
        answered = self._network.asks.answer(body.number, added=body.answer == "yes")
        return told({} if answered is None else to_dict(answered))

    async def add(self, request: Request) -> Answer:
        """Bring a mod that a catalogue lists into this run, if it still has the digest that was
        shown. No file of the workspace changes: `entry` is what keeps it in network.yaml."""
        body = read(bodies.models.AddAsked, request)
        added = await self._network.install(
            body.name, version=body.version, sha256=body.sha256, config=body.config, approve=lambda facts: True
        )
        if not added.success:
            return refused(str((added.data or {}).get("code", "not_loaded")), added.message, 409)
        return told({"message": added.message, **(added.data or {})})

    async def _runs(self, asked: Asked) -> bool:
        try:
            mods = (await self._network.shelf.listing(asked.name))["mods"]
        except DevServerError:
            mods = []
        return any(self._network.runs(each) for each in mods)


def _text(request: Request, name: str) -> str:
    text = request.query.get(name, "")
    if len(text) > LONGEST_TEXT:
        raise Malformed("bad_query", f"{name} has at most {LONGEST_TEXT} characters")
    return text
