"""How a service is, asked of the service itself."""

import http.client
import json
import socket

from .service import HOST, Probe


def obstacle(probe: Probe) -> str | None:
    """Ask a service.

    Returns:
        None when the answer is good, else what is wrong.
    """
    if not probe.path:
        return connection_obstacle(probe.port)
    headers = {"Authorization": f"token {probe.token.read_text()}"} if probe.token else {}
    connection = http.client.HTTPConnection(HOST, probe.port, timeout=2)
    try:
        connection.request("GET", probe.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(1000)
    except (OSError, http.client.HTTPException) as error:
        return silence(probe.port, error)
    finally:
        connection.close()
    return None if answer.status == http.HTTPStatus.OK else f"{answer.status} {reason(body)}".strip()


def connection_obstacle(port: int) -> str | None:
    """See whether a service that speaks no HTTP takes connections."""
    try:
        with socket.create_connection((HOST, port), timeout=2):
            return None
    except OSError as error:
        return silence(port, error)


def silence(port: int, error: Exception) -> str:
    """Say that nothing answers."""
    return f"no answer on port {port} ({getattr(error, 'strerror', None) or type(error).__name__})"


def reason(body: bytes) -> str:
    """Take what an unready service says of itself, when it says so in JSON."""
    try:
        said = json.loads(body)
        return str(said.get("message", ""))
    except (ValueError, AttributeError):
        return ""
