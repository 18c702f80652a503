"""What can go wrong, one class each."""


class BadSettingError(Exception):
    """A setting that cannot be used.

    Args:
        variable: name of the environment variable.
        value: its value as it may be shown.
        right: what would be right.
    """

    def __init__(self, variable: str, value: str, right: str) -> None:
        # One setting, one line: a line break in a value must not make a second one.
        shown = value if value.isprintable() else repr(value)
        super().__init__(f"{variable}={shown}: {right}")


class UnavailableError(Exception):
    """What the shipper needs for itself, a port or its state, is in use."""


class CollectorError(Exception):
    """The collector does not keep to the protocol, or makes no progress."""


class RewrittenError(Exception):
    """A file does not begin any more with what it began with: it was truncated or written anew."""
