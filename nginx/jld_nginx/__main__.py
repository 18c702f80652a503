"""Runs nginx: `python -m jld_nginx`."""

import asyncio
import logging
import os
import sys

from . import log, service
from .errors import BadSettingError, CannotListenError, CertificateError, EndedError, NotTakenError, RefusedError


def main() -> int:
    """Run nginx until a signal ends it, and give the exit status (sysexits.h)."""
    log.start()
    try:
        asyncio.run(service.run())
    except (BadSettingError, RefusedError) as error:
        return _refuse(error, os.EX_CONFIG)
    except CannotListenError as error:
        return _refuse(error, os.EX_UNAVAILABLE)
    except (CertificateError, EndedError, NotTakenError) as error:
        # Another start may do better.
        logging.getLogger(__package__).critical("%s", error)
        return os.EX_SOFTWARE
    return os.EX_OK


def _refuse(error: Exception, status: int) -> int:
    print(f"jld_nginx: {error}", file=sys.stderr)  # noqa: T201 one line for whoever starts it
    return status


if __name__ == "__main__":
    sys.exit(main())
