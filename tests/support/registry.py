"""A real registry of images on this machine, for pushes and pulls."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from stack import free_ports, until


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run Debian's docker-registry, and forget what was pushed at the end.

    Args:
        folder: For its images.

    Yields:
        Its host and port, which Docker and containerd take for safe without TLS, being the loopback's.
    """
    host = f"127.0.0.1:{free_ports(1)}"
    configuration = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": host},
    }
    file = folder / "registry.yaml"
    file.write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", file], stdout=log, stderr=log)
        try:
            until("the registry answers", lambda: httpx.get(f"http://{host}/v2/").is_success)
            yield host
        finally:
            server.terminate()
            server.wait(30)
            tags = subprocess.check_output(
                ["docker", "images", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={host}/*/*"], text=True
            ).split()
            if tags:
                subprocess.run(["docker", "rmi", *tags], check=True, capture_output=True)
