"""A site is one small folder of the operator's."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jld_embedded.errors import BadSettingError
from jld_k8s import facts, settings
from jld_k8s.errors import SiteError
from jld_k8s.site import Site, find, make, unknown

MakeSite = Callable[..., Site]


def test_init_makes_a_folder_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    """A new site has settings, a kustomization, and a folder of secrets, none of which others can read."""
    made = make("summit", "production", tmp_path)
    assert {path.name for path in made.folder.iterdir()} == {"kustomization.yaml", "secrets", "site.env"}
    assert (made.folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert (made.folder / "site.env").stat().st_mode & 0o777 == 0o600
    assert "production" in made.bases
    assert not made.is_demo


def test_new_settings_name_what_must_be_set(tmp_path: Path) -> None:
    """A production site's settings leave open what has no default, and comment out all else."""
    text = (make("summit", "production", tmp_path).folder / "site.env").read_text()
    opened = set(re.findall(r"^([A-Z0-9_]+)=$", text, re.MULTILINE))
    assert {"GITHUB_CLIENT_ID", "OAUTH_CALLBACK_URL", "RABBITMQ_TARGET_HOST", "RABBITMQ_TARGET_USER"} <= opened
    assert "#LAB_CPU_LIMIT=1" in text
    assert "#K8S_NODE_CIDRS=" in text
    assert "#RABBITMQ_TARGET_QUEUE=\n" in text
    assert "#RABBITMQ_TARGET_QUEUE_TYPE=quorum" in text
    assert "#RABBITMQ_TARGET_EVENTS_PER_MESSAGE=1" in text
    assert "SECRET=" not in text


def test_new_settings_are_known(tmp_path: Path) -> None:
    """Every name that a new site's settings have is one that something reads."""
    made = make("summit", "production", tmp_path)
    file = made.folder / "site.env"
    file.write_text(file.read_text().replace("#", "").split("\n", 2)[2].replace(".\n", ".#\n"))
    names = re.findall(r"^([A-Z0-9_]+)=", file.read_text(), re.MULTILINE)
    file.write_text("".join(f"{name}=\n" for name in names))
    assert len(names) > 20
    assert unknown(Site(made.folder)) == []


def test_a_site_is_never_made_anew(tmp_path: Path) -> None:
    """What an operator has written is not overwritten."""
    make("summit", "production", tmp_path)
    with pytest.raises(SiteError, match="NAME=summit: another name"):
        make("summit", "production", tmp_path)


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a" * 40, "-a"])
def test_names_of_sites(tmp_path: Path, name: str) -> None:
    """A name that is no name of a folder of the sites' own is refused."""
    with pytest.raises(SiteError, match="lower-case letters"):
        make(name, "production", tmp_path)


def test_demo_needs_no_site(tmp_path: Path) -> None:
    """The demo's site is made when it is first asked for, and found after that."""
    assert find("demo", tmp_path).is_demo
    assert find("demo", tmp_path).folder == tmp_path / "demo"


def test_production_needs_a_site(tmp_path: Path) -> None:
    """Without a site of one's own there is no production, and it is said how to make one."""
    with pytest.raises(SiteError, match=r"make k8s-init NAME=production"):
        find("production", tmp_path)


def test_unknown_site(tmp_path: Path) -> None:
    """A site that is not there is named beside those that are."""
    make("summit", "production", tmp_path)
    with pytest.raises(SiteError, match="OVERLAY=sumit: one of demo, summit"):
        find("sumit", tmp_path)


def test_secrets_that_others_can_read(site: MakeSite) -> None:
    """A secret that others could read is refused, with the command that mends it."""
    made = site("production", github_client_secret="x")
    (made.secrets / "github_client_secret").chmod(0o644)
    with pytest.raises(SiteError, match="chmod 600"):
        made.given("github_client_secret")


def test_a_secret_has_no_end_of_line(site: MakeSite) -> None:
    """The end of line that editors put behind a secret is not part of it; a certificate stays as it is."""
    made = site("production", broker_password="word\n", tls__crt="-----BEGIN CERTIFICATE-----\n")
    assert made.given("broker_password") == b"word"
    assert made.given("tls.crt") == b"-----BEGIN CERTIFICATE-----\n"
    assert made.given("tls.key") is None


def test_the_environment_wins(site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool's own settings come from the site, and from the environment before it."""
    made = site("production", "K8S_NODE_CIDRS=10.0.0.0/24, fd00::/64\n")
    assert made.settings.node_cidrs == ["10.0.0.0/24", "fd00::/64"]
    monkeypatch.setenv("K8S_NODE_CIDRS", "10.9.0.0/16")
    assert Site(made.folder).settings.node_cidrs == ["10.9.0.0/16"]


def test_where_sites_are_is_the_environments_to_say(site: MakeSite) -> None:
    """A site cannot say where sites or kubectl are: they are asked for before it is read."""
    assert site("production", "K8S_KUBECTL=/bin/evil\n").settings.kubectl == "kubectl"


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("K8S_NODE_CIDRS=10.0.0.1/24", "K8S_NODE_CIDRS=10.0.0.1/24: ranges such as"),
        *(
            (f"K8S_HOMES_DIR='{path}'", rf"^K8S_HOMES_DIR={re.escape(path)}: an absolute path of no folder of the")
            for path in ("homes", "/", "//etc", "/etc", "/usr/x", "/lib64", "/var", "/x/../../etc", "/a b", r"/a\1b")
        ),
        ("LAB_CPU_LIMIT=1\0", "site.env=.*: a text without NUL"),
        ("LAB_CPU_LIMIT=1\nLAB_CPU_LIMIT=2", "site.env=line 2: LAB_CPU_LIMIT once"),
        (
            f"LAB_SELECTOR_TITLE={'x' * 200_000}",
            "LAB_SELECTOR_TITLE=…: at most 131,071 bytes with its name, not 200,019",
        ),
        ("just a word", "site.env=line 1: NAME=value"),
        ("word", "site.env=line 1: NAME=value"),
    ],
)
def test_wrong_settings(site: MakeSite, line: str, right: str) -> None:
    """A wrong setting is named with its value and what would be right."""
    with pytest.raises(BadSettingError, match=right):
        site("production", f"{line}\n")


@pytest.mark.parametrize("text", ["[1]", "word", "a: [", "\0", "7", "a:\n  - b", "nodes: [a]\na: b"])
def test_what_the_tool_keeps_may_be_broken(site: MakeSite, text: str) -> None:
    """What the tool has kept, and somebody has spoilt, is named on one line."""
    made = site("production")
    (made.folder / "images.yaml").write_text(text)
    with pytest.raises(SiteError, match=r"images\.yaml: (what the tool has written|names with digests)") as told:
        _ = made.digests
    assert "\n" not in str(told.value)
    (made.folder / facts.FILE).write_text(text.replace("a:\n", "api:\n"))
    with pytest.raises(SiteError, match=r"cluster\.yaml: what the tool has written; else") as told:
        facts.recall(made)
    assert "\n" not in str(told.value)


def test_an_empty_file_says_nothing(site: MakeSite) -> None:
    """A file of the tool's that a crash has left empty is as if it were not there."""
    made = site("production")
    for name in ("images.yaml", facts.FILE):
        (made.folder / name).touch()
    assert made.digests == {}
    assert facts.recall(made) == facts.Facts()


def test_dollars_mean_nothing(tmp_path: Path) -> None:
    """A value is what is written: `$` has no meaning."""
    file = tmp_path / "site.env"
    file.write_text("LAB_SELECTOR_TITLE='It costs $5 {x}'\n")
    assert settings.written(file) == {"LAB_SELECTOR_TITLE": "It costs $5 {x}"}
