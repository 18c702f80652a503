"""What has to be there before the server starts: a private folder, links, names, notices for terminals."""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from . import names
from .settings import Settings, stop

NO_CONFIG = Path(__file__).with_name("no-config")
"""Where Jupyter looks for configuration in place of the home: nothing is there, and members cannot change that."""

UMASK = 0o027
"""Files are private to the member, and readable for the organization whose shared folder they lie in."""


def prepare(settings: Settings) -> Path:
    """Make what the server and its kernels need, and put this process into the member's home.

    Args:
        settings: The lab's settings.

    Returns:
        The private folder for sockets and databases.

    Raises:
        SystemExit: where the private folder cannot be had, after a line that says so, with EX_CONFIG.
    """
    os.umask(UMASK)
    os.chdir(settings.home)
    runtime = _runtime_dir(settings.lab_runtime_dir)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
    os.environ["JUPYTER_CONFIG_DIR"] = str(NO_CONFIG)
    os.environ["LAB_STACK_DIR"] = str(settings.lab_stack_dir)
    if settings.lab_groups_dir.is_dir():
        link = settings.home / "groups"
        # A link is an earlier lab's, and may lead where the folders were then; anything else is the member's.
        with suppress(OSError):
            if link.is_symlink():
                link.unlink()
            link.symlink_to(settings.lab_groups_dir)
    if settings.lab_nss_dir:
        names.write(settings.lab_nss_dir, settings.user, settings.home, settings.lab_groups)
    (runtime / "notices").write_text("".join(f"{notice}\n" for notice in settings.lab_notices))
    return runtime


def _runtime_dir(path: Path | None) -> Path:
    if path is None:
        # Not $TMPDIR: sockets need a short path.
        made = tempfile.mkdtemp(prefix="jld-lab-", dir="/tmp")
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return Path(made)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        stop("LAB_RUNTIME_DIR", path, f"a folder of this user's, or a place for one ({error.strerror})")
    return path
