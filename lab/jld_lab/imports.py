"""Leaves out what a lab imports but never uses, and puts off what it needs only after its socket listens.

Together that is half of the time that stock takes to start. JupyterHub's single-user package shares modules
with the hub and so imports the hub's database, handlers and metrics. Stand-ins take their places here; they hold
the names that are imported and nothing else, so that a use of anything in them fails loudly.
tests/lab/test_imports.py shows that upstream does not use them.
"""

import sys
import threading
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

_lock = threading.Lock()


class _StandIn(ModuleType):
    """A module that is imported, but of which nothing is used."""

    def __init__(self, name: str, **names: Any) -> None:
        super().__init__(name, "Left out of labs.")
        self.__path__: list[str] = []
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self.__name__}.{name} is left out of labs")


class _NeverRaised(Exception):  # noqa: N818 - it is no error, it only stands for one
    """In the place of exceptions that only a database raises."""


def _log_request(handler: Any) -> NoReturn:
    """In the place of the hub's access log; labs have their own (jld_lab.log)."""
    raise NotImplementedError


async def _fetch(*args: Any, **kwargs: Any) -> Any:
    """In the place of JupyterHub's HTTP client, until it is needed."""
    return await load_client().fetch(*args, **kwargs)


def leave_out() -> None:
    """Put the stand-ins in place; to be called before anything of JupyterHub or Jupyter Server is imported."""
    stand_ins = [
        _StandIn("sqlalchemy"),
        _StandIn("sqlalchemy.exc", SQLAlchemyError=_NeverRaised),
        _StandIn("jupyterhub.orm"),
        _StandIn("jupyterhub.roles"),
        _StandIn("jupyterhub.log", log_request=_log_request),
        # jupyterlab_server fetches lists of allowed extensions with it; there are none.
        _StandIn("requests"),
        # These two until load_client: a fifth of what is left.
        _StandIn("aiohttp"),
        _StandIn("jupyterhub.httpclient", fetch=_fetch),
    ]
    sys.modules.update({module.__name__: module for module in stand_ins})
    # jsonschema leaves a format check out whose package is absent: durations and the addresses of schemas,
    # which are Jupyter's own here.
    for name in ("isoduration", "rfc3986_validator"):
        sys.modules[name] = None  # type: ignore[assignment]


def load_client() -> Any:
    """Import JupyterHub's HTTP client, in any thread, and return its module."""
    with _lock:
        for name in ("aiohttp", "jupyterhub.httpclient"):
            if isinstance(sys.modules.get(name), _StandIn):
                del sys.modules[name]
        return import_module("jupyterhub.httpclient")


async def close_client() -> None:
    """Close the connections of JupyterHub's HTTP client, where it was loaded."""
    with _lock:  # the end may come while another thread imports it
        client = sys.modules["jupyterhub.httpclient"]
    if not isinstance(client, _StandIn):
        await client.JupyterHubHTTPClient.loop_instance().close()
