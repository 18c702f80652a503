"""A cluster that differs in one thing: its API server behind a proxy, which changes what is asked or answered."""

import contextlib
import http.client
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from stack import until

Change = Callable[[str, bytes], bytes]
"""Gives another body for that of a path."""

PASSED_ON = ("Accept", "Content-Type", "User-Agent")


def unchanged(_: str, body: bytes) -> bytes:
    """Leave a body as it is."""
    return body


def edited(pattern: str, edit: Callable[[Any], object]) -> Change:
    """Change in place, before it is passed on, what JSON the bodies of some paths have."""

    def change(path: str, body: bytes) -> bytes:
        if not re.fullmatch(pattern, path.partition("?")[0]):
            return body
        edit(content := json.loads(body))
        return json.dumps(content).encode()

    return change


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def answer(self) -> None:
        """Ask the API server, and pass on what it answers; a watch ends as it would when a connection breaks."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=120)) as there:
            asked = self.server.asked(self.path, body) if body else None
            there.request(self.command, self.path, asked, headers)
            answer = there.getresponse()
            content = answer.read()
            if answer.status < 300:
                content = self.server.answered(self.path, content)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: int, asked: Change, answered: Change) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.asked, self.answered = behind, asked, answered


@contextlib.contextmanager
def altered(folder: Path, *, asked: Change = unchanged, answered: Change = unchanged) -> Iterator[Path]:
    """Give a KUBECONFIG for the cluster as it would be with a difference.

    Args:
        folder: For the file.
        asked: Changes bodies on their way to the API server.
        answered: Changes those of its answers.
    """
    command = ["kubectl", "proxy", "--port=0", "--address=127.0.0.1", "--accept-hosts=^127\\.0\\.0\\.1$"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout
            line = until("kubectl proxy listens", proxy.stdout.readline)
            with _Server(int(line.rpartition(":")[2]), asked, answered) as server:
                Thread(target=server.serve_forever, daemon=True).start()
                try:
                    yield kubeconfig(folder, f"http://127.0.0.1:{server.server_port}")
                finally:
                    server.shutdown()
        finally:
            proxy.terminate()


def kubeconfig(folder: Path, server: str) -> Path:
    """Write a KUBECONFIG that leads to an address, in nobody's name."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "altered", "cluster": {"server": server}}],
        "contexts": [{"name": "altered", "context": {"cluster": "altered", "user": ""}}],
        "current-context": "altered",
    }
    file = folder / "altered.kubeconfig"
    file.write_text(json.dumps(content))
    return file
