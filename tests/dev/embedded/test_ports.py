"""Ports: a busy one is named, with whoever has it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from jld_embedded import ports
from jld_embedded.errors import BusyPortError

LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_free_ports_pass(tmp_path: Path) -> None:
    """Ports that nobody has are fine, also just after a connection to them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            pass
    ports.check([port], tmp_path)


@pytest.mark.parametrize(("mark", "said"), [({}, "by process"), ({"JLD_STATE": "/some/var"}, "in /some/var")])
def test_busy_port_is_named_with_its_owner(mark: dict[str, str], said: str, tmp_path: Path) -> None:
    """The error names the port, and the process or the stack that has it, which is not in its own way."""
    environment = {name: value for name, value in os.environ.items() if name != "JLD_STATE"} | mark
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        with pytest.raises(BusyPortError, match=f"port {port} is in use .*{said}") as error:
            ports.check([port], tmp_path)
        if mark:
            ports.check([port], Path(mark["JLD_STATE"]))
        process.communicate()
    assert error.value.status == 69
    assert mark or f"process {process.pid} " in str(error.value)
