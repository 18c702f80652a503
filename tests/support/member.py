"""A member at his browser, over HTTP: signs in, starts a lab, runs code."""

import json
import re
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
from channel import Channel
from stack import Stack, until

IMAGE = "lsstsqre/jld-lab-py3:0.1.0"
"""An image of the menu that stack.py sets."""


SECRETS: set[str] = set()
"""Tokens and cookies of all members of the run: what no log may ever hold."""


class _Forms(HTMLParser):
    """Collects each form's action and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((values.get("action", ""), {}))
        elif tag == "input" and values.get("type") == "hidden" and self.forms:
            self.forms[-1][1][values["name"]] = values.get("value", "")


def _form(page: httpx.Response) -> tuple[str, dict[str, str]]:
    parser = _Forms()
    parser.feed(page.text)
    assert parser.forms, f"no form in {page.url}: {page.text[:500]}"
    action, fields = parser.forms[0]
    return urljoin(str(page.url), action), fields


def follow_start(web: httpx.Client, page: httpx.Response) -> httpx.Response:
    """Do what the page of a pending start does: wait for the hub's event that says ready, then load it again.

    Args:
        web: The browser.
        page: Where it has come after the click.
    """
    while "/hub/spawn-pending/" in str(page.url) and page.is_success:
        if found := re.search(r'new EventSource\("([^"]+)"', page.text):
            with web.stream("GET", urljoin(str(page.url), found[1].replace("&amp;", "&"))) as events:
                for line in events.iter_lines():
                    event = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                    assert not event.get("failed"), event
                    if event.get("ready"):
                        break
        else:  # what has failed is being cleared away; the page loads itself again
            assert "window.location.reload()" in page.text
        page = web.get(page.url)
    return page


class Member:
    """One member's browser.

    Args:
        stack: Whose site it is.
        login: GitHub login.
    """

    def __init__(self, stack: Stack, login: str) -> None:
        self.url: str = stack.url
        self.tls: ssl.SSLContext = stack.tls
        self._stack = stack
        self.login = login
        self.web = httpx.Client(follow_redirects=True, timeout=60, verify=self.tls)
        self.started = False

    def sign_in(self) -> httpx.Response:
        """Go through GitHub and return the page on which the member ends."""
        page = self.web.get(f"{self.url}/hub/oauth_login", follow_redirects=True)
        assert "/login/oauth/authorize" in str(page.url), page.text
        action, fields = _form(page)
        return self.web.post(action, data=fields | {"login": self.login, "passphrase": self._stack.passphrase})

    def start_lab(self, image: str = IMAGE, menu: httpx.Response | None = None) -> httpx.Response:
        """Post the image menu and return the page on which the member ends: his lab's, also where it runs already.

        Args:
            image: What to pick.
            menu: The page with the menu, where it is open already.
        """
        menu = menu or self.web.get(f"{self.url}/hub/spawn")
        if f"/user/{self.login}/lab" in str(menu.url):
            return menu
        action, fields = _form(menu)
        page = follow_start(self.web, self.web.post(action, data=fields | {"image": image}))
        self.started = page.is_success
        return page

    def token(self) -> str:
        """Ask the hub for an API token of one's own, as its Token page does."""
        answer = self.web.post(
            f"{self.url}/hub/api/users/{self.login}/tokens",
            headers={"X-XSRFToken": self.xsrf("/hub/"), "Referer": f"{self.url}/hub/token"},
            json={"note": "test"},
        )
        answer.raise_for_status()
        SECRETS.add(answer.json()["token"])
        return str(answer.json()["token"])

    def user(self) -> Any:
        """Return what the hub tells the member about himself."""
        answer = self.web.get(f"{self.url}/hub/api/user", headers={"X-XSRFToken": self.xsrf("/hub/")})
        answer.raise_for_status()
        return answer.json()

    def xsrf(self, path: str) -> str:
        """Return the value that JupyterHub wants beside the cookie of a path."""
        return next(c.value or "" for c in self.web.cookies.jar if c.name == "_xsrf" and c.path == path)

    def note_secrets(self) -> None:
        """Note the cookies of the browser among the secrets."""
        SECRETS.update(cookie.value for cookie in self.web.cookies.jar if cookie.value)

    def leave(self) -> None:
        """Stop the lab if there is one, and close the browser."""
        self.note_secrets()
        if self.started:
            self.stop_lab()
        self.web.close()

    def stop_lab(self) -> None:
        """Stop the lab through the hub's API and wait until it has ended."""
        answer = self.web.delete(
            f"{self.url}/hub/api/users/{self.login}/server",
            headers={"X-XSRFToken": self.xsrf("/hub/"), "Referer": f"{self.url}/hub/home"},
        )
        answer.raise_for_status()
        until("the lab has ended", lambda: not self.user()["server"] and not self.user()["pending"])
        self.started = False


Visit = Callable[[str], Member]
"""Opens a browser for a member."""


class Lab:
    """A member's running lab, spoken to with his token.

    Args:
        member: Who has signed in and started it.
    """

    def __init__(self, member: Member) -> None:
        self.url = f"{member.url}/user/{member.login}"
        self.tls = member.tls
        self.headers = {"Authorization": f"token {member.token()}"}

    def api(self, method: str, path: str, **arguments: Any) -> Any:
        """Call the lab's REST API."""
        address = f"{self.url}/api/{path}"
        answer = httpx.request(method, address, headers=self.headers, timeout=60, verify=self.tls, **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @contextmanager
    def kernel(self, name: str = "LSST_Stack") -> Iterator["Kernel"]:
        """Start a kernel, and end it afterwards."""
        kernel = self.api("POST", "kernels", json={"name": name})["id"]
        try:
            with self.join(kernel) as joined:
                yield joined
        finally:
            self.api("DELETE", f"kernels/{kernel}")

    @contextmanager
    def join(self, kernel: str) -> Iterator["Kernel"]:
        """Speak to a kernel that runs."""
        with self._socket(f"api/kernels/{kernel}/channels") as channels:
            yield Kernel(channels)

    def terminal(self, command: str) -> str:
        """Run a command in a terminal and return what it printed."""
        name = self.api("POST", "terminals")["name"]
        # The marks are put together by the shell, so that the echo of the typed line has neither.
        typed = f"A=jld; echo $A-begin; {command}; echo $A-end"
        printed = ""
        try:
            with self._socket(f"terminals/websocket/{name}") as terminal:
                terminal.send(json.dumps(["stdin", f"{typed}\r"]))
                while "jld-end" not in printed:
                    kind, *data = json.loads(terminal.receive(60))
                    printed += data[0] if kind == "stdout" else ""
        finally:
            self.api("DELETE", f"terminals/{name}")
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07", "", printed)
        return plain.split("jld-begin", 1)[1].split("jld-end", 1)[0].strip()

    def _socket(self, path: str) -> Channel:
        return Channel(f"{self.url.replace('http', 'ws', 1)}/{path}", self.headers, self.tls)


class Kernel:
    """A kernel's channels.

    Args:
        channels: Its websocket; messages are as Jupyter's messaging protocol 5 has them.
    """

    def __init__(self, channels: Channel) -> None:
        self._channels = channels

    def run(self, code: str, seconds: float = 90) -> str:
        """Run a cell and return what it printed and its value.

        Raises:
            AssertionError: The cell raised; the text is the traceback.
        """
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "test"}
        self._channels.send(
            json.dumps(
                {
                    "channel": "shell",
                    "header": header | {"version": "5.3", "date": "2026-01-01T00:00:00Z"},
                    "parent_header": {},
                    "metadata": {},
                    "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
                }
            )
        )
        printed = ""
        while True:
            message = json.loads(self._channels.receive(seconds))
            if message.get("parent_header", {}).get("msg_id") != header["msg_id"]:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed += content["text"]
                case "execute_result":
                    printed += content["data"]["text/plain"]
                case "error":
                    raise AssertionError("\n".join(content["traceback"]))
                case "status" if content["execution_state"] == "idle":
                    return printed.strip()
