"""Client of the file server's provisioner, which alone makes folders."""

import json
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from .lab import Lab

TIMEOUT = 30.0
"""Seconds for one folder; a file server that restarts is back within its grace period."""


class HomesError(Exception):
    """The provisioner did not make a folder; the text says which and why."""


async def provision(lab: Lab, url: str, token: str) -> None:
    """Have the home and the group folders of a lab made, or find them there.

    Args:
        lab: The lab.
        url: Address of the provisioner.
        token: Its bearer token.

    Raises:
        HomesError: It refused, or did not answer.
    """
    await _put(f"{url}/v1/{lab.home.source}", token, {"login": lab.identity.login})
    for folder in lab.groups:
        organization = folder.target.rpartition("/")[2]
        await _put(f"{url}/v1/{folder.source}", token, {"organization": organization})


async def _put(url: str, token: str, body: dict[str, Any]) -> None:
    request = HTTPRequest(
        url,
        method="PUT",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        body=json.dumps(body),
        request_timeout=TIMEOUT,
    )
    try:
        await AsyncHTTPClient().fetch(request)
    except HTTPClientError as error:
        detail = (error.response.body if error.response else b"").decode(errors="replace")
        raise HomesError(f"the file server answered {error.code} for {url}: {detail or error.message}") from error
    except OSError as error:
        raise HomesError(f"the file server does not answer at {url}: {error}") from error
