"""uvicorn as a part of our loop: it takes no signals, and a stop waits for nobody's open stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from devserver.transports.http.protocol import uvicorn_options


class HttpServer(uvicorn.Server):
    """Serves an application; whoever made it says when to end with `should_exit`."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(app, log_config=None, **uvicorn_options())
        config.timeout_graceful_shutdown = 1
        logging.getLogger("uvicorn.error").addFilter(_is_fault)
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether a log record of uvicorn says more than that a stop cut a request off, which is told already."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
