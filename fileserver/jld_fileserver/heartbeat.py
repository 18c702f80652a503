"""One write to the share: a program of its own, so that a write which hangs can be left behind.

`python -m jld_fileserver.heartbeat FOLDER` replaces FOLDER/keepalive.json and prints its sequence number, or the
name of the error (ENOSPC, EROFS, ...) with exit status 74 (EX_IOERR). It imports little: it starts at each write.
"""

import contextlib
import errno
import json
import os
import socket
import sys
import time

NAME = "keepalive.json"


def beat(folder: str) -> int:
    """Replace the file, so that at any moment, after kill -9 or a power cut too, it is there as a whole.

    The last file is read first: the numbers go on after a restart, so that whoever watches the share can see
    that one is missing, and a share that only takes writes is no working share.

    Args:
        folder: path of the folder on the share.

    Returns:
        The sequence number written.

    Raises:
        OSError: anything the file system refuses.
    """
    host = socket.gethostname()
    # By host: a second writer must not rename the half-written file of the first. A writer that was left hanging
    # and comes back finds its file gone, and changes nothing.
    new = f".{NAME}.{host}.new"
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sequence = _last_sequence(parent) + 1
        content = {"time": time.time(), "host": host, "sequence": sequence}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=parent)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=parent)
        with open(file, "w", encoding="ascii") as stream:  # noqa: PTH123 a descriptor, no path
            stream.write(json.dumps(content) + "\n")
            stream.flush()
            os.fsync(file)
        os.rename(new, NAME, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)
    finally:
        os.close(parent)
    return sequence


def _last_sequence(parent: int) -> int:
    """Read the number of the last write, 0 when there is none that can be read as one."""
    try:
        file = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        return 0
    with open(file, "rb") as stream:  # noqa: PTH123 a descriptor, no path
        try:
            return int(json.load(stream)["sequence"])
        except (ValueError, TypeError, KeyError):
            return 0


if __name__ == "__main__":
    try:
        print(beat(sys.argv[1]))  # noqa: T201 the answer to the parent
    except OSError as failure:
        print(errno.errorcode.get(failure.errno or 0, "EIO"))  # noqa: T201 as above
        sys.exit(os.EX_IOERR)
