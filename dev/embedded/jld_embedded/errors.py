"""What ends a command, each as one line and an exit status (sysexits.h)."""

EX_CONFIG = 78
EX_UNAVAILABLE = 69
EX_CANTCREAT = 73
EX_IOERR = 74


class EmbeddedError(Exception):
    """A command cannot go on; the text is one line that says why and what would be right."""

    status = 1


class BadSettingError(EmbeddedError):
    """A setting cannot be used."""

    status = EX_CONFIG

    def __init__(self, variable: str, value: object, right: str) -> None:
        """Name the variable, its value and what would be right."""
        super().__init__(f"{variable}={value}: {right}")


class BusyPortError(EmbeddedError):
    """Somebody else listens on a port that a service needs."""

    status = EX_UNAVAILABLE


class StateError(EmbeddedError):
    """The state folder cannot be used."""

    status = EX_CANTCREAT


class ServiceError(EmbeddedError):
    """A service ended, or is not ready in time."""

    def __init__(self, line: str, status: int = 1) -> None:
        """Take the status that the service ended with, where it has one to tell."""
        super().__init__(line)
        self.status = status or 1


class SignalError(EmbeddedError):
    """A signal came while something was under way."""

    def __init__(self, number: int) -> None:
        """Take the signal's number; the status is the shell's for it."""
        super().__init__("interrupted; what was started has ended")
        self.status = 128 + number
