"""`python fake_stack.py VERB`: the stack's commands, over services of a few lines each.

FAKE_SERVICES names them and what each does before it answers 200 to everything, in Python.
"""

import json
import os
import sys

from jld_embedded import machine
from jld_embedded.__main__ import main
from jld_embedded.service import VENV, Probe, Service
from jld_embedded.services import Stack

SERVE = """
import http.server, os, signal, subprocess, sys
{first}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *ignored): pass
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


def services(stack: Stack) -> list[Service]:
    """List fakes, on the ports of what they stand in for."""
    return [
        Service(
            name=name,
            argv=(str(VENV / "bin/python"), "-c", SERVE.format(first=first, port=stack.ports[name])),
            environment=stack.environment((), {}),
            health=Probe(stack.ports[name]),
            ready=Probe(stack.ports[name], "/"),
            metrics=Probe(stack.ports[name], "/metrics"),
        )
        for name, first in json.loads(os.environ["FAKE_SERVICES"]).items()
    ]


machine.find = lambda program: None  # noqa: ARG005  # as on a machine without nginx and RabbitMQ
Stack.services = services  # type: ignore[method-assign,assignment]  # what this file is for
sys.exit(main())
