"""Whether a service can take work, asked of the service itself."""

import http.client
import json

from .services import HOST, Service


def obstacle(service: Service) -> str | None:
    """Ask a service whether it is ready.

    Returns:
        None when it is, else why not.
    """
    port, path = service.ready
    headers = {"Authorization": f"token {service.token.read_text()}"} if service.token else {}
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(1000)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer on port {port} ({getattr(error, 'strerror', None) or type(error).__name__})"
    finally:
        connection.close()
    return None if answer.status == http.HTTPStatus.OK else f"{answer.status} {reason(body)}".strip()


def reason(body: bytes) -> str:
    """Take what an unready service says of itself, when it says so in JSON."""
    try:
        said = json.loads(body)
        return str(said.get("message") or said.get("reason") or "")
    except (ValueError, AttributeError):
        return ""
