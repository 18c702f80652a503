"""Leaves out what a lab imports but never uses, a third of the time that it would take to start.

JupyterHub's single-user package shares modules with the hub and so imports the hub's database, handlers and metrics.
Stand-ins take their places here; they hold the names that are imported and nothing else, so that a use of anything in
them fails loudly. tests/lab/test_imports.py shows that upstream does not use them.
"""

import sys
from types import ModuleType
from typing import Any, NoReturn


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
    ]
    sys.modules.update({module.__name__: module for module in stand_ins})
