"""Whether a folder's files can be found by handle, which is how an NFS server finds them."""

import ctypes
import errno
import os
from pathlib import Path

LONGEST_HANDLE = 128
"""Bytes of a handle: MAX_HANDLE_SZ of open_by_handle_at(2)."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Handle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * LONGEST_HANDLE),
    )


def trouble(folder: Path) -> str | None:
    """Take a handle of a folder and open the folder by it.

    Returns:
        What would have to be different, None when nothing.
    """
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        return f"should be a folder ({error.strerror})"
    try:
        _round_trip(opened)
    except OSError as error:
        if error.errno == errno.EPERM:
            return (
                "should be served with a seccomp profile that allows "
                f"name_to_handle_at and open_by_handle_at ({error.strerror})"
            )
        return (
            "should be on a file system that finds files by handle, such as ext4 or XFS, not on a container's "
            f"overlay: mount one there ({error.strerror})"
        )
    finally:
        os.close(opened)
    return None


def _round_trip(folder: int) -> None:
    handle, mount = _Handle(handle_bytes=LONGEST_HANDLE), ctypes.c_int()
    at_empty_path = 0x1000
    _checked(_libc.name_to_handle_at(folder, b"", ctypes.byref(handle), ctypes.byref(mount), at_empty_path))
    os.close(_checked(_libc.open_by_handle_at(folder, ctypes.byref(handle), os.O_RDONLY)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
