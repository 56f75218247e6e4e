"""The pytest plugin of `devserver.testing`: the fixture `network`, and async tests that use it.

pytest loads this at every start, so it imports nothing of the network until a test asks for it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a network for this test, see `devserver.testing.network`; network.yaml is searched from the test's folder."""
    from devserver import testing

    return partial(testing.network, beside=request.path.parent)


@pytest.hookimpl
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that uses the fixture, if no other plugin (pytest-asyncio) does."""
    if "network" not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True
