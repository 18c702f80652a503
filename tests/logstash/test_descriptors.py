"""Descriptors are for those that have a certificate."""

import contextlib
import resource
import socket
from typing import Any

from stack import until


def test_soft_limit(collect: Any) -> None:
    """The soft limit of descriptors that it is started with, which is for others, is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        process = collect().process
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_idle_connections_without_certificate(collect: Any, written: Any) -> None:
    """Connections that are opened to the port of health and left keep neither shippers nor probes away."""
    collector = collect()
    resource.prlimit(collector.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            address = ("127.0.0.1", collector.started()["port"])
            stack.enter_context(socket.create_connection(address, timeout=10))
        shipper = stack.enter_context(collector.shipper())
        shipper.ship([{"n": 1}])
        assert collector.get("/healthz").status_code == 200
        until("it is written", lambda: [event["n"] for event in written()] == [1])
    assert not collector.says("accept")
