"""The cluster's adapter: a lab is a pod."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, ClassVar

from aiohttp import ClientError
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.client.rest import ApiException
from kubernetes_asyncio.config import ConfigException
from kubespawner import KubeSpawner
from kubespawner.clients import load_config
from kubespawner.slugs import is_valid_label, safe_slug
from traitlets import Dict

from .manifest import CONTAINER, SELECTOR, Place, manifest, secret
from .podstatus import ended, obstacle, terminated
from .reflector import Events, Lasting, Pods
from .spawner import POLL_SECONDS, LabError, MemberSpawner, last_message

__all__ = ["ConfigException", "PodSpawner", "connect"]

REQUEST_SECONDS = 15
"""What an answer of the API server may take; it gives admission webhooks ten."""

STOP_SECONDS = 300
"""What a stop may take, an outage of the API server included."""

GONE_SECONDS = 0.25
"""How often a stop looks whether the pod has gone; a lab takes one to two seconds."""

LAST_LINES = 20
"""Lines of a dead lab's log among which its last words are."""

MOST_WORDS = 400
"""Signs of the cluster's own words that members are shown."""

TROUBLE = (ApiException, ClientError, OSError, TimeoutError)
"""What a call of the API raises."""

AWAY = "Labs cannot be {} right now: the cluster does not answer. Please try again, or tell your operator."

REMOVED = "Your lab was removed while it started."


def connect() -> None:
    """Read where the API server is and who the hub is there: its service account, or else a kubeconfig.

    The server's certificate is taken as kubectl does: an authority need not say what it may be used for. Python 3.13
    wants that (ssl.VERIFY_X509_STRICT), which many clusters' authorities are too old for; their names and signatures
    are checked all the same.

    Raises:
        ConfigException: There is neither.
    """
    load_config(host="", ssl_ca_cert="", verify_ssl=None)  # as KubeSpawner does: it is done once for these arguments
    configuration = Configuration.get_default_copy()
    configuration.disable_strict_ssl_verification = True
    Configuration.set_default(configuration)


class PodSpawner(MemberSpawner, KubeSpawner):  # type: ignore[misc]
    """Starts the image's own command as the member, in a pod that passes the Pod Security Standard *restricted*.

    The pod with the unique id that this hub, or the one before it, kept is the lab; any other of its name is what a hub
    left that was killed while it started one. Nobody knows such a pod's address, and what it announced was lost.
    """

    template: dict[str, Any] = Dict(help="what all labs' pods have in common").tag(config=True)  # type: ignore[assignment]

    _away: ClassVar[bool] = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pod_id = ""
        self.namespace = self.settings.hub_labs_namespace
        self.pod_name_template = "lab-{username}"
        self.pod_name = self._expand_user_properties(self.pod_name_template)
        # As long as when a node is drained; KubeSpawner would give labs one second to end.
        self.delete_grace_period = self.template["spec"].get("terminationGracePeriodSeconds", 30)

    async def start(self) -> Any:
        """Start the pod and return its address once the lab listens.

        Raises:
            LabError: It cannot be started; the message says why.
        """
        with self._clusters_words("started"):
            return await super().start()

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - its signature
        """Stop the pod, and return once it has gone.

        An API server that is away is waited for: JupyterHub forgets a lab whose stop fails, and nobody would end it.

        Raises:
            LabError: It cannot be stopped; the message says why.
        """
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        grace, asked = 0 if now else self.delete_grace_period, False
        with self._clusters_words("stopped"):
            while True:
                try:
                    if not asked:
                        await self._delete(self.api.delete_namespaced_pod, grace_period_seconds=grace)
                        asked = True
                    if await self._ask() is None:
                        return
                    self._say(None)
                except TROUBLE as error:
                    if not _is_away(error) or asyncio.get_running_loop().time() > deadline:
                        raise
                    self._say(error)
                if asyncio.get_running_loop().time() > deadline:
                    raise LabError("Your lab does not end. Please tell your operator.", reason="cluster", status=503)
                await asyncio.sleep(GONE_SECONDS)

    @contextmanager
    def _clusters_words(self, done: str) -> Iterator[None]:
        """Turn what the API server says, or does not say, into a sentence for the member.

        Args:
            done: What was to be done with the lab.
        """
        try:
            yield
        except ApiException as error:
            words = self._short(str(error.reason))
            self.log.error("The lab of %s could not be %s: %s", self.user.name, done, words)  # noqa: TRY400
            raise LabError(f"Your lab could not be {done}: {words}", reason="cluster") from error
        except (ClientError, OSError, TimeoutError) as error:
            self.log.error("The API server does not answer: %r", error)  # noqa: TRY400 - the cause is in it
            raise LabError(AWAY.format(done), reason="cluster", status=503) from error

    def _short(self, words: str) -> str:
        return " ".join(words.split())[:MOST_WORDS].replace(self.api_token or "\n", "***")

    async def _start(self) -> tuple[str, int]:
        """Make the pod, and return its address as soon as it runs, or as the lab says that it listens.

        KubeSpawner looks at the pod ever less often, and has it from the API server's watch only; on the announcement
        nothing is waited for but the address.
        """
        self.pod_id = ""
        await self._keep_token()
        runs, listens = asyncio.create_task(super()._start()), asyncio.create_task(self.announced.wait())
        begun = asyncio.get_running_loop().time()
        seen = False
        try:
            while True:
                done, _ = await asyncio.wait({runs, listens}, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
                if pod := self._reflected():
                    seen = True
                    await self._check(pod, asyncio.get_running_loop().time() - begun)
                elif seen:
                    raise LabError(REMOVED, reason="lab")
            if not listens.done():
                await runs
        finally:
            runs.cancel()
            listens.cancel()
            await asyncio.gather(runs, listens, return_exceptions=True)
        return await self._address()

    async def _keep_token(self) -> None:
        """Put the token in the lab's secret, in place of what may be left of an earlier start."""
        body = secret(self._place(), self.api_token)
        try:
            await self._call(self.api.create_namespaced_secret, self.namespace, body)
        except ApiException as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            await self._call(self.api.replace_namespaced_secret, self.pod_name, self.namespace, body)

    def _place(self) -> Place:
        member = safe_slug(self.user.name, is_valid=is_valid_label)
        return Place(self.pod_name, member, self.settings.hub_labs_claim, self.port)

    async def get_pod_manifest(self) -> dict[str, Any]:
        """Return the pod, from our own description: KubeSpawner's would read variables as its templates."""
        assert self.lab is not None, "start describes the lab first"  # noqa: S101 - for the type checker
        return manifest(self.lab, self.template, self._place(), self.get_env(), self.api_token)

    async def _make_create_pod_request(self, pod: dict[str, Any], request_timeout: int) -> bool:  # noqa: ARG002 - its signature
        """Make the pod, or stop the one that an earlier hub left; KubeSpawner asks until it is made.

        Its own would write a pod that is refused into the log, with all variables.
        """
        try:
            made = await self._call(self.api.create_namespaced_pod, self.namespace, pod, field_validation="Strict")
        except ApiException as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            await self.stop(now=True)
            return False
        self.pod_id = json.loads(made)["metadata"]["uid"]
        return True

    async def _check(self, pod: dict[str, Any], seconds: float) -> None:
        """Check that a pod that is starting may still come to run.

        Args:
            pod: What is known of it.
            seconds: How long ago the start began.

        Raises:
            LabError: It will not; the message says why.
        """
        if ended(pod):
            raise LabError(f"Your lab ended while it started. {await self.last_words()}".strip(), reason="lab")
        if found := obstacle(pod, seconds):
            words = self._short(found.words)
            self.log.error("The lab of %s cannot start: %s", self.user.name, words)
            raise LabError(f"{found.sentence} {words}", reason=found.reason, status=found.status)

    async def _address(self) -> tuple[str, int]:
        """Return the pod's address, from the API server itself where the watch lags behind the announcement."""
        pod = self._reflected()
        while not (pod and pod["status"].get("podIP")):
            pod = await self._ask()
            if pod is None:
                raise LabError(REMOVED, reason="lab")
            if not pod["status"].get("podIP"):
                await asyncio.sleep(POLL_SECONDS)
        self.pod_id = pod["metadata"]["uid"]
        return self._get_pod_url(pod)

    def _get_pod_url(self, pod: dict[str, Any]) -> tuple[str, int]:
        return pod["status"]["podIP"], self.port

    def _reflected(self) -> dict[str, Any] | None:
        """Return the lab's pod as the watch has it; for what it does not know, it may be too early."""
        pod: dict[str, Any] | None = self.pod_reflector and self.pod_reflector.pods.get(
            f"{self.namespace}/{self.pod_name}"
        )
        return pod if pod and pod["metadata"]["uid"] == self.pod_id else None

    async def _ask(self) -> dict[str, Any] | None:
        """Return the pod as the API server has it, or None where there is none.

        Raises:
            ApiException: The server has trouble; or another error of TROUBLE.
        """
        try:
            pod: dict[str, Any] = json.loads(
                await self._call(self.api.read_namespaced_pod, self.pod_name, self.namespace)
            )
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        return pod

    async def _call(self, method: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> bytes:
        """Return what the API server answers, as it is: the client's objects are slow to make, and break logs.

        Raises:
            ApiException: It refuses; the reason is its message.
        """
        answer = await method(*arguments, _preload_content=False, _request_timeout=REQUEST_SECONDS, **options)
        body: bytes = await answer.read()
        if not answer.ok:
            raise ApiException(status=answer.status, reason=_message(body) or answer.reason)
        return body

    async def _start_watching_pods(self, replace: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - its signature
        """Follow the labs' pods, if this is not done yet; it lasts, so that it need never be replaced."""
        await self._follow("pods", Pods, labels=SELECTOR)

    async def _start_watching_events(self, replace: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as above
        """Follow the labs' events likewise."""
        await self._follow("events", Events, fields={"involvedObject.kind": "Pod"})

    async def _follow(self, kind: str, follower: type[Lasting], **which: Any) -> None:
        key, followers = self._get_reflector_key(kind), type(self).reflectors
        if key not in followers:
            followers[key] = follower(parent=self, namespace=self.namespace, **which)
            await followers[key].start()

    def get_state(self) -> dict[str, Any]:
        """Keep which pod it is, beside its name."""
        state: dict[str, Any] = super().get_state()
        return state | {"pod_id": self.pod_id}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the lab that an earlier hub started."""
        super().load_state(state)
        self.pod_id = state.get("pod_id", "")

    def clear_state(self) -> None:
        """Forget the lab."""
        super().clear_state()
        self.pod_id = ""

    async def poll(self) -> int | None:
        """Tell whether the lab runs; that it does not, the API server itself must say.

        Returns:
            None while it runs, or while the API server does not answer: that is no lab's end.
        """
        if not self.pod_id:
            return 0
        await self._start_watching_pods()
        pod = self._reflected()
        if pod is None or ended(pod):
            try:
                pod = await self._ask()
            except TROUBLE as error:
                self._say(error)
                return None
            self._say(None)
        if pod is None or pod["metadata"]["uid"] != self.pod_id:
            return 0
        if not ended(pod):
            return None
        if terminated(pod).get("reason") == "OOMKilled":
            self.log.warning("The lab of %s was ended for want of memory", self.user.name)
        return int(terminated(pod).get("exitCode", 1))

    def _say(self, error: Exception | None) -> None:
        """Say once that the API server has trouble, and once that it answers again."""
        cls = type(self)
        if error and not cls._away:
            self.log.error("The API server has trouble; labs count as running: %r", error)
        elif not error and cls._away:
            self.log.warning("The API server answers again")
        cls._away = error is not None

    async def last_words(self) -> str:
        """Return the message of the last line that the lab wrote, or what ended it where that was not itself."""
        with suppress(*TROUBLE):
            pod = await self._ask()
            if pod is None:
                return ""
            end = terminated(pod)
            if end.get("reason") == "OOMKilled" and self.lab:
                return f"It was ended for want of memory: it may use {self.lab.mem_limit / 2**20:.0f} MiB."
            if words := end.get("message") or pod["status"].get("message"):
                return self._short(words)
            log = await self._call(
                self.api.read_namespaced_pod_log,
                self.pod_name,
                self.namespace,
                container=CONTAINER,
                tail_lines=LAST_LINES,
            )
            return self._short(last_message(log))
        return ""

    async def run_post_stop_hook(self) -> None:
        """Remove the token, and the pod of a lab that died or did not start.

        JupyterHub calls this after each stop, and for a lab that died by itself, which it does not stop. What an API
        server in trouble leaves behind is replaced at the member's next start.
        """
        try:
            for delete in (self.api.delete_namespaced_pod, self.api.delete_namespaced_secret):
                await self._delete(delete)
        except TROUBLE as error:
            self.log.error("Could not clear up after the lab of %s: %s", self.user.name, error)  # noqa: TRY400

    async def _delete(self, delete: Callable[..., Awaitable[Any]], **how: Any) -> None:
        try:
            await self._call(delete, self.pod_name, self.namespace, **how)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise


def _is_away(error: Exception) -> bool:
    """Tell whether an API server may answer another time."""
    return not isinstance(error, ApiException) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _message(body: bytes) -> str:
    """Return the API server's words for an error, of a Status object."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["message"])
    return ""
