"""Runs one of the programs: `python -m jld_fileserver server`, `... provisioner` or `... keepalive`."""

import asyncio
import logging
import os
import sys

from . import keepalive, log, provisioner, server
from .errors import BadSettingError, CannotListenError, EndedError

PROGRAMS = {"server": server.run, "provisioner": provisioner.run, "keepalive": keepalive.run}


def main() -> int:
    """Run the program that the one argument names, and give the exit status (sysexits.h)."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:  # noqa: PLR2004 itself and one argument
        print(f"usage: python -m jld_fileserver {'|'.join(PROGRAMS)}", file=sys.stderr)  # noqa: T201 no log yet
        return os.EX_USAGE
    log.start()
    try:
        asyncio.run(PROGRAMS[sys.argv[1]]())
    except BadSettingError as error:
        return _refuse(error, os.EX_CONFIG)
    except CannotListenError as error:
        return _refuse(error, os.EX_UNAVAILABLE)
    except EndedError as error:
        # Another start may do better.
        logging.getLogger(__package__).critical("%s", error)
        return os.EX_SOFTWARE
    return os.EX_OK


def _refuse(error: Exception, status: int) -> int:
    print(f"jld_fileserver: {error}", file=sys.stderr)  # noqa: T201 one line for whoever starts it
    return status


if __name__ == "__main__":
    sys.exit(main())
