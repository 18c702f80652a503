"""Runs the shipper: `python -m jld_filebeat`."""

import asyncio
import os
import resource
import sys

from . import log, shipper
from .errors import BadSettingError, UnavailableError


def main() -> int:
    """Run it, and give the exit status (sysexits.h)."""
    if len(sys.argv) != 1:
        print("usage: python -m jld_filebeat", file=sys.stderr)  # noqa: T201 no log yet
        return os.EX_USAGE
    log.start()
    # Each followed file is open; the usual soft limit of 1024 is for programs that use select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(shipper.run())
    except BadSettingError as error:
        return _refuse(error, os.EX_CONFIG)
    except UnavailableError as error:
        return _refuse(error, os.EX_UNAVAILABLE)
    return os.EX_OK


def _refuse(error: Exception, status: int) -> int:
    print(f"jld_filebeat: {error}", file=sys.stderr)  # noqa: T201 one line for whoever starts it
    return status


if __name__ == "__main__":
    sys.exit(main())
