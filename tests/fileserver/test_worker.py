"""Calls to a file system that hangs."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from jld_fileserver.errors import StorageError
from jld_fileserver.worker import Worker


async def test_result() -> None:
    """A call's result comes back, and so does its error."""
    worker = Worker(5)
    assert await worker.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await worker.run(divmod, 7, 0)


async def test_hanging(tmp_path: Path) -> None:
    """While a call hangs, callers are told in time, no second thread starts, and all works again afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    worker = Worker(0.05)
    before = set(threading.enumerate())
    for _ in range(5):
        with pytest.raises(StorageError, match=r"does not answer within 0\.05 s"):
            await worker.run(pipe.read_bytes)
    assert len(set(threading.enumerate()) - before) == 1
    patient = Worker(5)
    patient._turn = worker._turn
    answer = asyncio.create_task(patient.run(lambda: "back"))
    pipe.write_bytes(b"")
    assert await answer == "back"


def test_exit_while_hanging(tmp_path: Path) -> None:
    """A call that hangs does not keep the program from ending."""
    os.mkfifo(tmp_path / "pipe")
    program = (
        "import asyncio, contextlib, sys; from jld_fileserver.worker import Worker\n"
        "async def main():\n"
        "    with contextlib.suppress(Exception):\n"
        "        await Worker(0.05).run(lambda: open(sys.argv[1]).read())\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "pipe")], check=True, timeout=10)
