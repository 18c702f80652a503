"""Runs the collector: `python -m jld_logstash`."""

import asyncio
import os
import resource
import sys

from . import collector, log
from .errors import BadSettingError, InUseError


def main() -> int:
    """Run the collector, and give the exit status (sysexits.h)."""
    log.start()
    # Each shipper has a connection; the usual soft limit of 1024 is for programs that use select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(collector.run())
    except InUseError as error:
        return _refuse(error, os.EX_UNAVAILABLE)
    except BadSettingError as error:
        return _refuse(error, os.EX_CONFIG)
    return os.EX_OK


def _refuse(error: Exception, status: int) -> int:
    print(f"jld_logstash: {error}", file=sys.stderr)  # noqa: T201 one line for whoever starts it
    return status


if __name__ == "__main__":
    status = main()
    log.end()
    sys.exit(status)
