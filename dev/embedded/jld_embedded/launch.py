"""Become a program: exactly the arguments, the environment and the user that a file names.

supervisord's own `environment=` adds variables, cuts values at ` ;` and cannot read a secret from a file.
"""

import ctypes
import json
import os
import pwd
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans below this process become its children; kept across execve(2)."""


def main() -> None:
    """Execute what the file named by the first argument says."""
    program = json.loads(Path(sys.argv[1]).read_bytes())
    secrets = {name: Path(file).read_text().strip() for name, file in program["secrets"].items()}
    os.umask(0o022)
    if program.get("reaper"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if user := program.get("user"):
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    try:
        os.execve(program["argv"][0], program["argv"], program["environment"] | secrets)  # noqa: S606
    except OSError as error:
        sys.exit(f"jld_embedded: {program['argv'][0]} cannot be executed: {error.strerror}")


if __name__ == "__main__":
    main()
