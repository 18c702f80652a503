"""What ends the start, each with its exit status."""

EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_CONFIG = 78


class BrokerError(Exception):
    """The broker cannot be started; the text is one line that says why and what to do."""

    status = 1


class BadSettingError(BrokerError):
    """A setting cannot be used."""

    status = EX_CONFIG

    def __init__(self, variable: str, value: str, right: str) -> None:
        super().__init__(f"{variable}={value}: {right}")


class MissingError(BrokerError):
    """RabbitMQ is not on this machine."""

    status = EX_UNAVAILABLE


class StateError(BrokerError):
    """The state folder cannot be written."""

    status = EX_IOERR
