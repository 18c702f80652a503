"""Which ids and names a folder or a link may have."""

import re

from .errors import InvalidError

IDS = range(1000, 2**31)
"""Below are the ids of systems; above, ids that some file systems and tools take for negative."""

RESERVED_IDS = {65534, 65535}
"""nobody, and -1 in 16 bits, which chown(2) takes for "leave as it is" where ids are short."""


def parse_id(text: str) -> int:
    """Give the number that an id's digits stand for.

    Raises:
        InvalidError: when they are no id that a member or organization can have here.
    """
    if not re.fullmatch(r"[1-9][0-9]{3,9}", text) or int(text) not in IDS or int(text) in RESERVED_IDS:
        raise InvalidError("An id is a decimal number from 1000 to 2147483647, and neither 65534 nor 65535.")
    return int(text)


def parse_name(name: object) -> str:
    """Give the login or organization back when it can be one.

    GitHub makes new names of letters, digits and single inner dashes, but accounts from before that rule keep
    dashes at either end or several in a row. Names of enterprise-managed users end in an underscore and the
    short code of their enterprise.

    Raises:
        InvalidError: when it is no name in lower case that GitHub can have given.
    """
    if not isinstance(name, str) or not re.fullmatch(r"(?=.{1,39}\Z)[a-z0-9-]+(_[a-z0-9]+)?", name):
        raise InvalidError(
            "A login or organization is 1 to 39 lower-case letters, digits or dashes, "
            "with a suffix after an underscore when an enterprise manages it."
        )
    return name
