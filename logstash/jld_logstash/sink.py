"""Where events go from the spool."""

from typing import Protocol


class Sink(Protocol):
    """Takes events from the spool in a thread of its own, and confirms them to it."""

    def start(self) -> None:
        """Begin."""

    def wake(self) -> None:
        """Tell that the spool has more. Any thread may call this."""

    def stop(self, seconds: float) -> None:
        """End; what is not confirmed stays in the spool.

        Args:
            seconds: how long to wait for what is under way.
        """

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        ...
