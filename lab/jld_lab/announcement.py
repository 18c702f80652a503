"""The lab's word to the hub that it listens, which spares the hub from asking over and over."""

import asyncio
import logging

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
DEADLINE = 60.0
"""Seconds; by then JupyterHub has given a lab up."""

BUSY = 429

_log = logging.getLogger(__name__)


async def announce(url: str, token: str) -> None:
    """Say once that the lab listens; try again while the hub does not answer or fails.

    Args:
        url: Where to say it.
        token: The lab's token for the hub's API.
    """
    request = HTTPRequest(
        url,
        method="POST",
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
        body="{}",
        connect_timeout=5,
        request_timeout=10,
        follow_redirects=False,
    )
    deadline = asyncio.get_running_loop().time() + DEADLINE
    pause = FIRST_PAUSE
    while True:
        try:
            await AsyncHTTPClient().fetch(request)
        except (OSError, HTTPClientError) as error:
            refused = isinstance(error, HTTPClientError) and error.code in range(300, 500) and error.code != BUSY
            if refused or asyncio.get_running_loop().time() + pause > deadline:
                _log.error("could not tell the hub that the lab listens, it must find out itself: %s", error)
                return
        else:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
