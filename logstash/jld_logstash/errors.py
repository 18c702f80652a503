"""What can go wrong, one class each."""

import os


class BadSettingError(Exception):
    """A setting that cannot be used.

    Args:
        variable: name of the environment variable.
        value: its value as it may be shown; never a secret's.
        right: what would be right.
    """

    def __init__(self, variable: str, value: str, right: str) -> None:
        # One setting, one line: a line break in a value must not make a second one.
        shown = value if value.isprintable() else repr(value)
        super().__init__(f"{variable}={shown}: {right}")


class InUseError(BadSettingError):
    """A port or a folder that somebody else has now; the setting itself may be right."""


class BusyPortError(InUseError):
    """A port that cannot be listened on.

    Args:
        variable: name of the environment variable.
        host: address to listen on.
        port: its value.
        error: what the system said.
    """

    def __init__(self, variable: str, host: str, port: int, error: OSError) -> None:
        # Python's own text repeats the address; a name that does not resolve has no errno of the system's.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        super().__init__(variable, str(port), f"should be a free port of {host} ({reason})")


class ProtocolError(Exception):
    """What a shipper sent is not the protocol, or beyond its limits; the text is the reason."""
