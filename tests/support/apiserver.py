"""An API server of Kubernetes in the few calls that the hub makes, which can fail as a real one cannot be made to."""

import asyncio
import itertools
import json
from typing import Any

from aiohttp import web

HERE = "/api/v1/namespaces/jupyterlabdemo-labs"
RUNNING = {
    "phase": "Running",
    "podIP": "10.0.0.7",
    "containerStatuses": [{"name": "lab", "image": "img", "ready": True, "state": {"running": {}}}],
}


class ApiServer:
    """Keeps pods and secrets; starts no pod, but gives new ones a status."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, Any]] = {}
        self.status: dict[str, Any] = RUNNING
        self.refusal: tuple[int, str] | None = None
        self.blind = False
        self.watches = 0
        self.log = b'{"message": "no stack here"}\n'
        self.port = 0
        self._versions = itertools.count(1)
        self._changed = asyncio.Condition()
        self._changes: list[dict[str, Any]] = []
        self._open: set[asyncio.Transport] = set()
        self._runner: web.AppRunner | None = None

    async def up(self) -> None:
        """Listen, always on the same port."""
        application = web.Application()
        routes = application.router
        routes.add_get(f"{HERE}/{{kind:pods|events}}", self._list)
        routes.add_post(f"{HERE}/{{kind:pods|secrets}}", self._create)
        routes.add_get(f"{HERE}/pods/{{name}}", self._read)
        routes.add_get(f"{HERE}/pods/{{name}}/log", self._read_log)
        routes.add_put(f"{HERE}/{{kind:secrets}}/{{name}}", self._create)
        routes.add_delete(f"{HERE}/{{kind:pods|secrets}}/{{name}}", self._delete)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse connections, and end those there are."""
        for transport in self._open:
            transport.abort()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def become(self, name: str, status: dict[str, Any] | None) -> None:
        """Give a pod another status, or make it go."""
        pod = self.pods[name] if status is not None else self.pods.pop(name)
        pod["status"] = status or {}
        await self._tell("DELETED" if status is None else "MODIFIED", pod)

    async def expire(self) -> None:
        """End all watches as the server does whose history does not go back far enough."""
        await self._tell("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})

    async def _tell(self, change: str, thing: dict[str, Any]) -> None:
        thing.setdefault("metadata", {})["resourceVersion"] = str(next(self._versions))
        async with self._changed:
            self._changes.append({"type": change, "object": thing})
            self._changed.notify_all()

    def _keeps(self, request: web.Request) -> dict[str, dict[str, Any]]:
        return {"pods": self.pods, "secrets": self.secrets}.get(request.match_info["kind"], {})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        items = [] if self.blind else list(self._keeps(request).values())
        return web.json_response({"metadata": {"resourceVersion": str(len(self._changes))}, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        assert request.transport
        self._open.add(request.transport)
        self.watches += 1
        told = int(request.query["resourceVersion"])
        pods = request.match_info["kind"] == "pods" and not self.blind
        while True:
            async with self._changed:
                while len(self._changes) == told:
                    await self._changed.wait()
            for change in self._changes[told:]:
                if pods or change["type"] == "ERROR":
                    await answer.write(json.dumps(change).encode() + b"\n")
            told = len(self._changes)
            if self._changes[-1]["type"] == "ERROR":
                return answer

    async def _create(self, request: web.Request) -> web.Response:
        body, kept = await request.json(), self._keeps(request)
        name = body["metadata"]["name"]
        if request.method == "POST" and name in kept:
            return web.json_response({"message": f'"{name}" already exists'}, status=409)
        if self.refusal and kept is self.pods:
            return web.json_response({"message": self.refusal[1]}, status=self.refusal[0])
        number = next(self._versions)
        kept[name] = body
        body["metadata"] |= {"uid": f"uid-{number}", "namespace": HERE.rpartition("/")[2], "resourceVersion": "1"}
        if kept is self.pods:
            body["status"] = self.status
            await self._tell("ADDED", body)
        return web.json_response(body, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        pod = self.pods.get(request.match_info["name"])
        return web.json_response(pod or {"message": "not found"}, status=200 if pod else 404)

    async def _read_log(self, _: web.Request) -> web.Response:
        return web.Response(body=self.log, content_type="application/json")

    async def _delete(self, request: web.Request) -> web.Response:
        gone = self._keeps(request).pop(request.match_info["name"], None)
        if gone is None:
            return web.json_response({"message": "not found"}, status=404)
        if "spec" in gone:
            await self._tell("DELETED", gone)
        return web.json_response(gone)
