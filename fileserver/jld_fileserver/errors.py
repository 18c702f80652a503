"""What can go wrong, one class each, with the status and slug of the answer."""


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


class CannotListenError(Exception):
    """The address the service was told to listen on cannot be had, or what is to listen there is not installed."""


class EndedError(Exception):
    """Ganesha ended by itself."""


class RequestError(Exception):
    """A request that is refused; the text is the sentence that its sender gets."""

    status = 500
    slug = "internal"


class MalformedError(RequestError):
    """The body is not what the address takes at all."""

    status = 400
    slug = "malformed"


class UnauthorizedError(RequestError):
    """The bearer token is missing or wrong."""

    status = 401
    slug = "unauthorized"


class InTheWayError(RequestError):
    """Something that this service did not make stands where a folder or link belongs."""

    status = 409
    slug = "in-the-way"


class MediaTypeError(RequestError):
    """The body is not declared as JSON."""

    status = 415
    slug = "unsupported-media-type"


class InvalidError(RequestError):
    """An id or a name that no member or organization can have here."""

    status = 422
    slug = "invalid"


class StorageError(RequestError):
    """The file system under the export fails or does not answer."""

    status = 503
    slug = "storage-failed"


class StorageFullError(StorageError):
    """The file system under the export, or its quota, is full."""

    status = 507
    slug = "storage-full"
