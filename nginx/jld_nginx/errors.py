"""What can go wrong, one class each."""


class BadSettingError(Exception):
    """A setting that cannot be used.

    Args:
        variable: name of the environment variable.
        value: its value.
        right: what would be right.
    """

    def __init__(self, variable: str, value: object, right: str) -> None:
        # One setting, one line: a line break in a value must not make a second one.
        shown = str(value) if str(value).isprintable() else repr(str(value))
        super().__init__(f"{variable}={shown}: {right}")


class CannotListenError(Exception):
    """An address that the settings name cannot be had, or nginx is not there."""


class CertificateError(Exception):
    """A certificate and a key that cannot be used.

    Args:
        variable: the setting that names the file at fault.
        right: what would be right.
    """

    def __init__(self, variable: str, right: str) -> None:
        super().__init__(f"{variable} {right}")
        self.variable = variable
        self.right = right


class NotTakenError(Exception):
    """nginx does not use a configuration, for a reason that may pass; the text tells it."""


class RefusedError(NotTakenError):
    """A configuration does not pass nginx's own test, and never will; the text is nginx's reason."""


class EndedError(Exception):
    """nginx ended by itself."""
