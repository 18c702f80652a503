"""The server, as a browser, a kernel's client and the hub see it."""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from jld_lab.surroundings import NO_CONFIG

from tests.lab.conftest import GROUPS, TOKEN, UID, FakeHub, Lab

NOTEBOOK = {
    "cells": [{"cell_type": "markdown", "id": "one", "metadata": {}, "source": "# A title"}],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def page_config(lab: Lab) -> dict[str, Any]:
    """Return what the lab's page is told."""
    page = lab.client.get("/lab")
    assert page.status_code == 200
    found = re.search(r'id="jupyter-config-data" type="application/json">(.*?)</script>', page.text, re.DOTALL)
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


def test_page_shows_notices(lab: Lab) -> None:
    """The page is told the notices, as plain text that cannot command a terminal, and loads what shows them."""
    config = page_config(lab)
    assert json.loads(config["jldNotices"]) == ["You see <b>this</b> notice.", "It ran  [31mred [0m once."]
    ours = [extension for extension in config["federated_extensions"] if extension["name"] == "jld-lab"]
    script = lab.client.get(f"/lab/extensions/jld-lab/{ours[0]['load']}")
    assert script.status_code == 200
    assert "_JUPYTERLAB['jld-lab']" in script.text


def test_page_asks_nothing_outside(lab: Lab) -> None:
    """The page neither fetches news nor offers to install extensions or to build."""
    config = page_config(lab)
    assert config["news"] == {"disabled": True}
    assert config["buildAvailable"] is False
    assert "@jupyterlab/extensionmanager-extension" in config["disabledExtensions"]
    assert "@jupyterlab/apputils-extension:announcements" in config["disabledExtensions"]
    assert lab.client.post("/lab/api/extensions", json={"cmd": "install", "extension_name": "x"}).status_code == 405


@pytest.mark.parametrize("path", ["/lab", "/api", "/api/kernels"])
def test_page_cannot_be_framed(lab: Lab, path: str) -> None:
    """No other page may show the lab in a frame."""
    assert lab.client.get(path).headers["Content-Security-Policy"].startswith("frame-ancestors 'none'")


def test_strangers_are_sent_away(lab: Lab) -> None:
    """Without a session or token the page leads to the hub, the API refuses, and so does another's token."""
    with httpx.Client(base_url=lab.url) as stranger:
        page = stranger.get("/lab")
        assert page.status_code == 302
        assert page.headers["Location"].startswith("/hub/api/oauth2/authorize?")
        assert stranger.get("/api/kernels").status_code == 403
        assert stranger.get("/api/kernels", headers={"Authorization": "token wrong"}).status_code == 403


def test_sign_in_by_oauth(lab: Lab) -> None:
    """A browser that comes back from the hub with a code gets a session, and only with the state it left with."""
    with httpx.Client(base_url=lab.url) as browser, httpx.Client(base_url=lab.url) as victim:
        left = parse_qs(urlsplit(browser.get("/lab").headers["Location"]).query)
        callback = {"code": "a-code", "state": left["state"][0]}
        victim.get("/lab")
        assert victim.get("/oauth_callback", params=callback).status_code == 403
        back = browser.get("/oauth_callback", params=callback)
        assert (back.status_code, back.headers.get("Location")) == (302, "/user/alice/lab"), back.text
        assert browser.get("/lab").status_code == 200


def test_activity_reaches_the_hub(lab: Lab) -> None:
    """The lab tells the hub of activity, from which the hub knows idle labs."""
    assert lab.hub.has_seen("POST", "/hub/api/users/alice/activity")
    assert ("POST", "/hub/api/users/alice/activity", f"token {TOKEN}") in lab.hub.seen


def test_lsst_stack_is_the_kernel(lab: Lab) -> None:
    """LSST_Stack is the default and, in a fresh home, the only kernel."""
    specs = lab.client.get("/api/kernelspecs").json()
    assert specs["default"] == "lsst_stack"
    assert {name: spec["spec"]["display_name"] for name, spec in specs["kernelspecs"].items()} == {
        "lsst_stack": "LSST_Stack"
    }


def test_kernel_of_the_members_own(lab: Lab) -> None:
    """A kernel that the member installed in the home is offered."""
    folder = lab.home / ".local/share/jupyter/kernels/mine"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"display_name": "Mine", "language": "python", "argv": ["python"]}')
    try:
        assert set(lab.client.get("/api/kernelspecs").json()["kernelspecs"]) == {"lsst_stack", "mine"}
    finally:
        (folder / "kernel.json").unlink()


def test_kernel_runs_in_the_stack(lab: Lab) -> None:
    """A cell runs with lsst_distrib set up, umask 027, in the home, over sockets and history in the private folder."""
    printed = lab.run_cell(
        "import os, json\n"
        "umask = os.umask(0o777)\n"
        "os.umask(umask)\n"
        "print(json.dumps([os.environ['SETUP_LSST_DISTRIB'], umask, os.getcwd(),\n"
        "    get_ipython().history_manager.hist_file, os.environ['JUPYTERHUB_API_TOKEN']]))"
    )
    product, umask, folder, history, token = json.loads(printed)
    assert product.startswith("lsst_distrib 1.0 ")
    assert umask == 0o027
    assert folder == str(lab.home)
    assert history == f"{lab.folder}/run/ipython-history.sqlite"
    assert token == TOKEN
    assert list((lab.folder / "run").glob("kernel-*-ipc-*"))


def test_terminal(lab: Lab) -> None:
    """A terminal shows the notices and is the member's login shell in the home with umask 027."""
    shown = lab.run_in_terminal("shopt -q login_shell && echo login; umask; pwd")
    assert "You see <b>this</b> notice." in shown
    assert "\x1b[31m" not in shown
    assert f"login\r\n0027\r\n{lab.home}\r\n" in shown


@pytest.mark.root
def test_terminal_has_the_members_numbers(lab: Lab) -> None:
    """In a terminal `id` shows the member's uid, gid and groups."""
    shown = lab.run_in_terminal("id -u; id -g; id -G")
    assert f"{UID}\r\n{UID}\r\n{UID} {' '.join(map(str, GROUPS.values()))}\r\n" in shown


@pytest.mark.root
def test_files_belong_to_the_member(lab: Lab) -> None:
    """A file saved through the page belongs to the member, and others cannot read it."""
    assert lab.client.put("/api/contents/a.txt", json={"type": "file", "format": "text", "content": ""}).is_success
    status = (lab.home / "a.txt").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (UID, UID, 0o640)


def test_user_settings_are_kept_in_the_home(lab: Lab) -> None:
    """What the member sets in JupyterLab is kept in the home."""
    path = "/lab/api/settings/@jupyterlab/apputils-extension:themes"
    assert lab.client.put(path, json={"raw": '{"theme": "JupyterLab Dark"}'}).status_code == 204
    kept = lab.home / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"
    assert "JupyterLab Dark" in kept.read_text()
    assert lab.client.get(path).json()["settings"] == {"theme": "JupyterLab Dark"}


@pytest.mark.parametrize(
    "path",
    [
        "/lab/api/settings",
        "/lab/api/workspaces",
        "/lab/api/translations/",
        "/lab/api/themes/@jupyterlab/theme-dark-extension/index.css",
        "/lab/api/licenses/?format=json",
        "/api/sessions",
        "/api/terminals",
        "/api/contents",
        "/api/nbconvert",
    ],
)
def test_what_the_page_asks_for_is_there(lab: Lab, path: str) -> None:
    """The parts of the API that JupyterLab's page uses answer."""
    assert lab.client.get(path, follow_redirects=True).status_code == 200


def test_notebook_can_be_saved_and_exported(lab: Lab) -> None:
    """A notebook is saved and exported, although what exports is imported only then; no database is in the home."""
    saved = lab.client.put("/api/contents/n.ipynb", json={"type": "notebook", "content": NOTEBOOK})
    assert saved.status_code == 201
    exported = lab.client.get("/nbconvert/html/n.ipynb")
    assert exported.status_code == 200
    assert "A title" in exported.text
    assert lab.client.get("/nbconvert/script/n.ipynb").is_success
    databases = [file for file in lab.home.rglob("*") if file.suffix in (".db", ".sqlite")]
    assert not databases


def test_groups_are_in_the_file_browser(lab: Lab) -> None:
    """The shared folders appear in the home as `groups`."""
    (lab.folder / "groups" / "lsst").mkdir(exist_ok=True)
    assert (lab.home / "groups").readlink() == lab.folder / "groups"
    assert [item["name"] for item in lab.client.get("/api/contents/groups").json()["content"]] == ["lsst"]


def test_what_is_called_groups_already(new_lab: Callable[..., Lab]) -> None:
    """A member's own file of that name stays, and a link of an earlier lab leads to where the folders are now."""
    own, stale = new_lab(), new_lab()
    (own.home / "groups").write_text("mine")
    (stale.home / "groups").symlink_to("/nowhere")
    for lab in (own, stale):
        lab.start()
    for lab in (own, stale):
        lab.wait_for_line("Serving notebooks")
    assert (own.home / "groups").read_text() == "mine"
    assert (stale.home / "groups").readlink() == stale.folder / "groups"


def test_log_is_json(lab: Lab) -> None:
    """Each line of the log is an object of Logstash's v1 form with service and member, without the token."""
    assert lab.client.get("/api/contents/nothing?token=of-a-guest").status_code == 404
    lab.wait_for_line("The member is told: You see <b>this</b> notice.")
    lab.wait_for_line("GET /user/alice/api/contents/nothing: 404")
    assert all((line["@version"], line["service"], line["user"]) == ("1", "lab", "alice") for line in lab.lines())
    assert TOKEN not in lab.log.read_text()
    assert "of-a-guest" not in lab.log.read_text()


def test_home_cannot_change_the_server(new_lab: Callable[..., Lab]) -> None:
    """Modules, site-packages, configuration and extensions in the home are not for the server, wherever they lie."""
    lab = new_lab(LAB_NOTICES=None)
    trap = f"open({str(lab.home / 'trapped')!r}, 'a').write(__name__ + chr(10))\n"
    packages = f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name in (
        "json.py",
        "jld_lab.py",
        "sitecustomize.py",
        f"{packages}/usercustomize.py",
        f"{packages}/tornado.py",
        ".jupyter/jupyter_server_config.py",
        ".jupyter/jupyter_config.py",
        "jupyter_server_config.py",
    ):
        file = lab.home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(trap)
    (lab.home / packages / "a.pth").write_text(f"import sys; {trap}")
    config = lab.home / ".jupyter/jupyter_server_config.json"
    config.write_text('{"ServerApp": {"jpserver_extensions": {"nbconvert": true}, "allow_origin": "*"}}')
    lab.start().ready()
    assert page_config(lab)["jldNotices"] == "[]"
    assert not (lab.home / "trapped").exists()
    assert lab.client.get("/api").headers["Access-Control-Allow-Origin"] != "*"
    assert "nbconvert |" not in lab.log.read_text()


def test_home_that_ipython_has_used(new_lab: Callable[..., Lab]) -> None:
    """A lab starts in a home where IPython has left its folder, as kernels do, and takes nothing over from it."""
    lab = new_lab()
    profile = lab.home / ".ipython/profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "ipython_notebook_config.py").write_text("c.NotebookApp.open_browser = True\n")
    lab.start().ready()
    assert not NO_CONFIG.exists()
    assert not (lab.home / ".jupyter").exists()


def test_end(new_lab: Callable[..., Lab]) -> None:
    """SIGTERM ends the lab with status 0, kernels and its private folder under /tmp too, and without complaints."""
    lab = new_lab(LAB_RUNTIME_DIR=None).start().ready()
    runtime = lab.run_cell("import os; print(os.environ['JUPYTER_RUNTIME_DIR'], os.getpid())").split()
    assert lab.process
    lab.process.send_signal(signal.SIGTERM)
    assert lab.process.wait(20) == 0
    assert not Path(runtime[0]).exists()
    assert not Path(f"/proc/{runtime[1]}").exists()
    assert not [line for line in lab.lines() if line["level"] == "ERROR"]


def test_busy_port(new_lab: Callable[..., Lab], hub: FakeHub) -> None:
    """A port that is taken ends the lab with a line that says so, unannounced."""
    lab = new_lab(JUPYTERHUB_SERVICE_URL=f"{hub.url}/user/alice/").start()
    assert lab.process
    assert lab.process.wait(20) != 0
    assert str(hub.server_port) in lab.lines()[-1]["message"] + lab.lines()[-2]["message"]
    assert not hub.seen
