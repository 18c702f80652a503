"""The benchmark of starts: what it sees from outside, and what it makes of it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import yaml
from stack import free_ports, until
from stock_cluster import manifests
from time_to_lab import PARTS, table
from watch import LabWatch

SERVER = """
import socket, sys
sys.stdin.readline()
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
sys.stdin.readline()
"""


@contextmanager
def server(login: str) -> Iterator[Callable[[], None]]:
    """Run what looks like a member's server, and hand out what makes it listen."""
    port = free_ports(1)
    variables = {"JUPYTERHUB_USER": login, "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/user/{login}/"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        told, says = process.stdin, process.stdout
        assert told
        assert says

        def listen() -> None:
            told.write(b"go\n")
            told.flush()
            assert says.readline() == b"listens\n"

        yield listen
        told.close()


def test_server_is_seen_to_listen() -> None:
    """The process that has the member's name is found when it is there, and its port when that accepts; no other's."""
    watch = LabWatch("alice")
    watch.start()
    with server("alice2") as other:
        other()
        with server("alice") as listen:
            until("the process is found", lambda: watch.born)
            assert not watch.listens
            listen()
            until("the port is found", lambda: watch.listens)
    watch.join()
    assert watch.listens > watch.born


def test_table_has_medians() -> None:
    """Of each side the table shows medians, of the whole the best and the worst too."""
    starts = [{"usable": whole, "hub": 1.0, "server": whole - 2, "page": 1.0} for whole in (3.0, 9.0, 4.0)]
    head, line = (row.split() for row in table({"ours": starts}, PARTS["embedded"]).splitlines())
    assert dict(zip(head, line[1:], strict=True)) == {
        "starts": "3",
        "median": "4.00",
        "best": "3.00",
        "worst": "9.00",
        "hub": "1.00",
        "server": "2.00",
        "page": "1.00",
    }


def test_stock_hub_is_what_a_cluster_takes() -> None:
    """The objects of the stock hub fit the schemas of Kubernetes, and its configuration is Python."""
    resources = {"limits": {"cpu": "1000m"}, "requests": {"memory": "268435456"}}
    objects = list(yaml.safe_load_all(manifests("hub:1", resources)))
    for one in objects:
        kubernetes_validate.validate(one, "1.36", strict=True)
    (config,) = (one["data"]["jupyterhub_config.py"] for one in objects if one["kind"] == "ConfigMap")
    compile(config, "jupyterhub_config.py", "exec")
    assert 'extra_resource_limits = {"cpu": "1000m"}' in config
