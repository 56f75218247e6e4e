"""What a server hands to its successor when it restarts in place: its connections, as plain values that pickle.

The order of calls on `serving.HttpServer`, in the old image:

    http.pause()                    no accepting, no reading: what clients send from here on waits in the kernel
    await http.quiet(seconds)       False while requests still run that cannot be asked again (`http.busy()` counts)
    handed = http.hand_over()       a snapshot, taken in one turn of the loop; nothing is closed
    ...pickle it, os.set_inheritable(each.descriptor, True), os.execv: with no await between
    http.resume()                   only where the exec failed: goes on as if nothing had been

and in the new image, once the network's agents and their outboxes are back:

    http.begin(listening)           accepts
    await http.adopt(handed)        goes on with each connection

No byte is lost: `received` is read before what waits in the kernel, `unsent` is written before anything else. Nothing
is answered twice: a request whose answer was written is in neither; one that waits (a held poll) is in `received` and
asked again; one that still ran and cannot be asked again is answered in `unsent` with the error `restarted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devserver.model.principal import ANONYMOUS, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedConnection:
    """One connection. `descriptor` is that of its open socket, which must be inheritable at the
    exec.

    `received`: bytes from the client that are not answered. `unsent`: bytes for the client that the
    kernel has not taken; if it `ends`, the connection is closed after them.

    Of a WebSocket: `agent_id` of the agent that registered on it, None before that; `principal` and
    `who` as the handshake proved them. The fragments of an incomplete message are in `received` as
    one first fragment.
    """

    descriptor: int
    kind: Literal["http", "websocket"]
    received: bytes = b""
    unsent: bytes = b""
    ends: bool = False
    agent_id: str | None = None
    principal: Principal = ANONYMOUS
    who: str = "unknown"
