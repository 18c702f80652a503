"""The file server's pod, mounted by a kernel; run only by who has a machine with an NFS client.

What labs have in the demonstration is the same folder, so each side sees what the other does.
"""

import subprocess
from pathlib import Path

import pytest
from cluster import ClusterStack
from member import Lab

pytestmark = [pytest.mark.root, pytest.mark.target("cluster", reason="there are pods")]

ORDERS = """
mount -t nfs4 -o vers=4.2,hard,addr={address},port=2049,clientaddr=10.0.2.15 {address}:/export /mnt || exit 99
alice() {{ setpriv --reuid 4242424 --regid 4242424 --groups 1508001,3050001 sh -c "$1" 2>&1; }}
bob() {{ setpriv --reuid 5252525 --regid 5252525 --groups 3050001 sh -c "$1" 2>&1; }}
alice 'cat /mnt/homes/4242424/letter && echo back > /mnt/homes/4242424/answer'
bob 'cat /mnt/homes/4242424/letter'
bob 'ls /mnt/groups/1508001'
bob 'echo of bob > /mnt/groups/3050001/from-nfs && echo written'
umount /mnt
"""


def test_the_servers_address_is_mounted(
    cluster: ClusterStack, lab: Lab, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A node can mount the address that the volumes name; members have their rights there, by number."""
    lab.terminal("echo to a node > ~/letter; rm -f ~/answer ~/groups/lsst/from-nfs")
    orders = tmp_path / "orders"
    orders.write_text(ORDERS.format(address=cluster.service_address("fileserver")))
    program = str(request.config.getoption("--nfs-client").resolve())
    machine = subprocess.run([program, orders], capture_output=True, text=True, timeout=180, check=False)
    assert machine.returncode == 0, machine.stdout + machine.stderr
    read, *refused, written = machine.stdout.splitlines()
    assert (read, written) == ("to a node", "written")
    assert len(refused) == 2
    assert all("Permission denied" in line for line in refused)
    assert lab.terminal("cat ~/answer ~/groups/lsst/from-nfs").split() == ["back", "of", "bob"]
