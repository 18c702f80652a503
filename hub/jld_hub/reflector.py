"""What the API server says of labs' pods and their events, kept up to date for as long as the hub lives."""

import asyncio
import json
import time
from functools import partial
from typing import Any

from kubernetes_asyncio import client, watch
from kubespawner.reflector import ResourceReflector
from kubespawner.spawner import EventReflector, PodReflector

RETRY_SECONDS = 2.0
"""Between two tries while the API server does not answer."""

WORDS_SECONDS = 60.0
"""Between two lines of log about that."""

ANSWER_SECONDS = 15
"""What an answer may take, and a watch in all: the server ends one after ten, KubeSpawner's default."""


class Lasting(ResourceReflector):  # type: ignore[misc]
    """Follows a kind of objects, whatever becomes of the API server meanwhile.

    KubeSpawner's own gives up after 51 s of trouble, for ever, and what it knew then counts as true from there on: no
    start would end, no death would be seen. Where the API server is away when the hub starts, nothing is known, and all
    labs would count as gone. This one goes on trying; what it does not know yet, its user asks the server.
    """

    request_timeout = ANSWER_SECONDS

    _lost = False
    _said = -WORDS_SECONDS

    async def start(self) -> None:
        """Begin to follow."""
        self.watch_task = asyncio.create_task(self._watch_and_update())

    async def _watch_and_update(self) -> None:
        while True:
            try:
                version = await self._list()
                await self._follow(version)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try begins from scratch
                self._say(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> str:
        """Take in all objects there are, and return the version of the list."""
        answer = await self._method()(_request_timeout=self.request_timeout)
        text = await answer.text()
        if not answer.ok:
            raise client.ApiException(status=answer.status, reason=f"{answer.reason} {text[:400]}")
        found = json.loads(text)
        self.resources = {_key(resource): resource for resource in found["items"]}
        if not self.first_load_future.done():
            self.first_load_future.set_result(None)
        if self._lost:
            self._lost = False
            self.log.warning("The API server answers again about %s", self.kind)
        return str(found["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Take in what changes after a version, until the server ends the watch."""
        async with watch.Watch() as changes:
            stream = changes.stream(
                self._method(),
                resource_version=version,
                timeout_seconds=self.timeout_seconds,
                _request_timeout=self.request_timeout,
            )
            async for event in stream:
                resource = event["raw_object"]
                if event["type"] == "DELETED":
                    self.resources.pop(_key(resource), None)
                else:
                    self.resources[_key(resource)] = resource

    def _method(self) -> Any:
        return partial(
            getattr(self.api, self.list_method_name),
            namespace=self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            _preload_content=False,  # dictionaries will do, and are made in a tenth of the time
        )

    def _say(self, error: Exception) -> None:
        """Say what is wrong, now and then."""
        if time.monotonic() - self._said >= WORDS_SECONDS:
            self._said, self._lost = time.monotonic(), True
            self.log.error(
                "The API server has trouble with %s; labs count as what was last known: %s",
                self.kind,
                " ".join(f"{type(error).__name__} {error}".split()),
            )


def _key(resource: dict[str, Any]) -> str:
    return f"{resource['metadata']['namespace']}/{resource['metadata']['name']}"


class Pods(Lasting, PodReflector):  # type: ignore[misc]
    """Follows pods."""


class Events(Lasting, EventReflector):  # type: ignore[misc]
    """Follows events, which members see while they wait."""
