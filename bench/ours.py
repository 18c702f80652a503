"""Our side: a stack of its own, embedded; or the demonstration on a cluster, a running one where there is one."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
from cluster import LABS, SYSTEM, ClusterStack, get, kubectl
from member import IMAGE, Member
from stack import EmbeddedStack, Stack, until
from watch import PodWatch

LOGIN = "bob"
"""The member on a cluster."""


class Ours:
    """A stack with a member signed in.

    Args:
        stack: It runs.
        login: The member.
        pods: Watches his pods, where labs are pods.
    """

    def __init__(self, stack: Stack, login: str, pods: PodWatch | None = None) -> None:
        self.stack = stack
        self.login = login
        self.pods = pods
        self.member = Member(stack, login)
        self.member.sign_in()
        self.web = self.member.web
        self.rest()

    def click(self) -> httpx.Response:
        """Start the lab by a link, which a site with a menu of images has as well as one without."""
        return self.web.get(f"{self.stack.url}/hub/spawn", params={"opt-image": IMAGE})

    def stop_lab(self) -> None:
        """Stop the lab and wait until it has ended."""
        self.member.stop_lab()

    def rest(self) -> None:
        """Stop a lab that runs, or is about to: without a menu to sign in is to start one."""
        until("no start is under way", lambda: not self.member.user()["pending"], seconds=60)
        if self.member.user()["server"]:
            self.stop_lab()

    def close(self) -> None:
        """Leave no lab."""
        self.rest()
        self.web.close()


@contextmanager
def embedded() -> Iterator[Ours]:
    """Run a stack of its own, as processes."""
    stack = EmbeddedStack()
    try:
        stack.up()
        with closing(Ours(stack, "alice")) as ours:
            yield ours
    finally:
        stack.down()


@contextmanager
def cluster() -> Iterator[Ours]:
    """Take the demonstration on a cluster as it is, or deploy it, and remove it afterwards."""
    stack = ClusterStack()
    try:
        if f"namespace/{SYSTEM}" in kubectl("get", "namespaces", "--output=name").split():
            stack.fetch_secrets()
            stack.tls.load_verify_locations(stack.state / "secrets/certificates/nginx.pem")
            stack.url = _setting("OAUTH_CALLBACK_URL").removesuffix("/hub/oauth_callback")
        else:
            stack.up()
        with closing(PodWatch(LABS, f"lab-{LOGIN}")) as pods, closing(Ours(stack, LOGIN, pods)) as ours:
            yield ours
    finally:
        stack.down()  # one that it has not started it leaves alone


def hub_image() -> str:
    """Return the hub's image, which has the proxy that a stock hub on a cluster needs too."""
    return str(_hub()["image"])


def resources() -> dict[str, Any]:
    """Return what a lab on the cluster may use, `limits` and `requests`; it must run."""
    return dict(get("pod", f"lab-{LOGIN}", f"--namespace={LABS}")["spec"]["containers"][0]["resources"])


def _hub() -> dict[str, Any]:
    deployment = get("deployment", "hub", f"--namespace={SYSTEM}")
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


def _setting(name: str) -> str:
    settings = next(one["configMapRef"]["name"] for one in _hub()["envFrom"] if "configMapRef" in one)
    return str(get("configmap", settings, f"--namespace={SYSTEM}")["data"][name])
