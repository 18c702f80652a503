"""Leaves out what a lab imports but never uses, which is half of the time that stock takes to start.

JupyterHub's single-user package shares modules with the hub and so imports the hub's database, handlers and
metrics. Stand-ins take their places here; they hold the names that are imported and nothing else, so that a
use of anything in them fails loudly. tests/lab/test_unused.py shows that no use is left.
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
        # Dunder names are asked for by the import system and by introspection, which cope without.
        if not name.startswith("__"):
            sys.stderr.write(f"jld_lab: {self.__name__}.{name} is left out of labs but used\n")
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
        # The list of allowed extensions is fetched with it; there is none.
        _StandIn("requests"),
    ]
    sys.modules.update({module.__name__: module for module in stand_ins})
    # jsonschema leaves a format check out whose package is absent: none of Jupyter's event schemas has
    # a duration in it.
    sys.modules["isoduration"] = None  # type: ignore[assignment]
