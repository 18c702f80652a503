"""Runs a member's lab: `python -I -m jld_lab`, with the member's uid, gid and groups."""

import os
import site
import sys

from . import imports, log, settings, surroundings


def main() -> None:
    """Prepare and serve.

    Raises:
        SystemExit: where something is wrong that only the one who starts labs can mend, with EX_CONFIG.
    """
    if os.geteuid() == 0:
        settings.stop("uid", 0, "the member's own: a lab is never root")
    if not sys.flags.safe_path or site.ENABLE_USER_SITE:
        settings.stop("sys.flags.isolated", 0, "1: start as `python -I -m jld_lab`, to import nothing from the home")
    chosen = settings.load()
    runtime = surroundings.prepare(chosen)
    log.start(chosen.user, chosen.jupyterhub_api_token.get_secret_value())
    imports.leave_out()

    from . import server  # noqa: PLC0415 - only now are the stand-ins in place

    server.run(chosen, runtime)


if __name__ == "__main__":
    main()
