"""Secrets are made once, shared by those who need the same, and given by the operator where only he knows them."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography import x509
from jld_embedded.certificates import Authority, Pair
from jld_k8s import credentials, preflight, rotate
from jld_k8s.cluster import FILES, LOGS, NAMESPACES, SYSTEM
from jld_k8s.credentials import AUTHORITY, Plan, content, existing, keep, plan, secret
from jld_k8s.errors import ClusterError, SiteError
from jld_k8s.manifests import Key, marked
from jld_k8s.site import Site
from rendered import render

pytestmark = pytest.mark.kubectl

MakeSite = Callable[..., Site]

HUB, PROXY, PROVISIONER = Key(SYSTEM, "hub"), Key(SYSTEM, "proxy"), Key(FILES, "provisioner")
LOGSTASH, FILEBEAT, BROKER = Key(SYSTEM, "logstash"), Key(LOGS, "filebeat"), Key(SYSTEM, "broker")
NGINX, GITHUB = Key(SYSTEM, "nginx"), Key(SYSTEM, "github")

GIVEN = {"github_client_secret": "s", "broker_password": "p", "tls__crt": "c", "tls__key": "k"}


def demo(site: MakeSite) -> Plan:
    """Plan the demo's secrets, where there are none yet."""
    return plan(site("demo"), render("demo"), {})


def again(made: Site, before: Mapping[Key, credentials.Content], change: Callable[[Any], None]) -> Mapping[Key, Any]:
    """Plan once more, after a change of what is kept."""
    kept = {owner: dict(values) for owner, values in before.items()}
    change(kept)
    return plan(made, render("demo"), kept).wanted


def test_demo_needs_nothing_of_the_operator(site: MakeSite) -> None:
    """All secrets of the demo are made, each service's own and no other's."""
    found = demo(site)
    assert found.findings == []
    assert set(found.wanted) == {HUB, PROXY, PROVISIONER, LOGSTASH, FILEBEAT, BROKER, NGINX, GITHUB, AUTHORITY}
    assert set(found.wanted[PROXY]) == {"proxy_token"}
    assert set(found.wanted[FILEBEAT]) == {"authority.pem", "filebeat.pem", "filebeat.key"}
    assert "authority.key" not in {name for owner in found.wanted if owner != AUTHORITY for name in found.wanted[owner]}


def test_what_two_need_is_one(site: MakeSite) -> None:
    """Those who speak with each other have the same secret."""
    wanted = demo(site).wanted
    assert wanted[HUB]["proxy_token"] == wanted[PROXY]["proxy_token"]
    assert wanted[HUB]["fileserver_token"] == wanted[PROVISIONER]["fileserver_token"]
    assert wanted[HUB]["github_client_secret"] == wanted[GITHUB]["standin_client_secret"]
    assert wanted[LOGSTASH]["broker_password"] == wanted[BROKER]["publisher_password"]
    assert wanted[HUB]["cookie_secret"] != wanted[HUB]["crypt_key"]


def test_nothing_is_made_twice(site: MakeSite) -> None:
    """What is kept stays as it is."""
    made = site("demo")
    first = plan(made, render("demo"), {}).wanted
    assert plan(made, render("demo"), first).wanted == first


def test_one_lost_secret_comes_back(site: MakeSite) -> None:
    """A Secret that somebody has removed is filled with what others have of it."""
    made = site("demo")
    first = plan(made, render("demo"), {}).wanted
    left = {owner: values for owner, values in first.items() if owner != PROXY}
    assert plan(made, render("demo"), left).wanted[PROXY] == first[PROXY]


def test_production_says_all_that_is_missing(site: MakeSite) -> None:
    """Each secret that only the operator knows is a finding with the file's name, all at once."""
    found = plan(site("production"), render("production"), {})
    missing = {finding.what.rpartition("/")[2].partition(" ")[0] for finding in found.findings}
    assert missing == {"github_client_secret", "broker_password", "tls.crt", "tls.key"}
    assert GITHUB not in found.wanted


def test_production_with_all_that_it_needs(site: MakeSite) -> None:
    """What the operator gives is what services get."""
    found = plan(site("production", **GIVEN), render("production"), {})
    assert found.findings == []
    assert found.wanted[HUB]["github_client_secret"] == b"s"
    assert found.wanted[LOGSTASH]["broker_password"] == b"p"
    assert found.wanted[NGINX] == {"tls.crt": b"c", "tls.key": b"k"}


def test_only_who_is_there_has_a_certificate(monkeypatch: pytest.MonkeyPatch, site: MakeSite) -> None:
    """Where the broker is somebody else's, no certificate is made for one."""
    issued: list[str] = []
    issue = Authority.issue

    def noted(self: Authority, name: str, hosts: tuple[str, ...]) -> Pair:
        issued.append(name)
        return issue(self, name, hosts)

    monkeypatch.setattr(Authority, "issue", noted)
    plan(site("production", **GIVEN), render("production"), {})
    assert sorted(issued) == ["filebeat", "logstash"]


def test_the_cluster_keeps_what_was_given(site: MakeSite) -> None:
    """From another machine, without the files, a deploy leaves given secrets as they are."""
    first = plan(site("production", **GIVEN), render("production"), {}).wanted
    made = site("demo")
    found = plan(made, render("production"), first)
    assert found.findings == []
    assert found.wanted[HUB] == first[HUB]


def test_what_a_registry_asks_for(site: MakeSite) -> None:
    """What nodes show to a registry is in each namespace, in the form that Kubernetes has for it, and is kept."""
    text = '{"auths": {"registry.test": {"auth": "x"}}}'
    first = plan(site("production", registry__json=text, **GIVEN), render("production"), {}).wanted
    assert {owner.namespace for owner in first if owner.name == "registry"} == set(NAMESPACES)
    made = secret(Key(SYSTEM, "registry"), first[Key(SYSTEM, "registry")])
    assert made["type"] == "kubernetes.io/dockerconfigjson"
    assert base64.b64decode(made["data"][".dockerconfigjson"]).decode() == text
    assert (
        plan(site("demo"), render("production"), first).wanted[Key(SYSTEM, "registry")]
        == first[Key(SYSTEM, "registry")]
    )


@pytest.mark.parametrize(
    ("text", "count"), [(b'{"auths": {"a": {}}}', 0), (b"{}", 1), (b"x", 1), (b'{"auths": {}}', 1)]
)
def test_a_registrys_file_has_dockers_form(text: bytes, count: int) -> None:
    """A file for registries that names none is found."""
    assert len(list(preflight.registry({".dockerconfigjson": text}))) == count


def test_cert_manager_makes_the_sites_certificate(site: MakeSite) -> None:
    """What a Certificate of cert-manager's is for is neither made nor asked for."""
    found = plan(site("production"), render("production", ("cert-manager",)), {})
    assert NGINX not in found.wanted
    assert not any("tls" in finding.what for finding in found.findings)


def test_what_a_setting_names_is_needed(site: MakeSite) -> None:
    """The address of a PostgreSQL is asked for where the hub is told to take it from a file."""
    found = plan(site("production", **GIVEN), render("production", ("postgresql",)), {})
    assert [finding.what.rpartition("/")[2] for finding in found.findings] == ["database_url is missing"]


def test_names_of_the_collector(site: MakeSite) -> None:
    """The collector's certificate has the names by which shippers ask for it, and its issuer is what they trust."""
    wanted = demo(site).wanted
    certificate = x509.load_pem_x509_certificate(wanted[LOGSTASH]["logstash.pem"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = names.get_values_for_type(x509.DNSName)
    assert {"logstash", "logstash.jupyterlabdemo", "logstash.jupyterlabdemo.svc"} <= set(known)
    assert trusts(wanted[FILEBEAT], wanted[LOGSTASH]["logstash.pem"])


def trusts(who: credentials.Content, pem: bytes) -> bool:
    """Whether a certificate is of an authority that somebody trusts."""
    certificate = x509.load_pem_x509_certificate(pem)
    return any(
        certificate.issuer == one.subject and issued(certificate, one)
        for one in x509.load_pem_x509_certificates(who["authority.pem"])
    )


def issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - whatever it is, it is not its signature
        return False
    return True


@pytest.mark.parametrize("name", ["proxy_token", "fileserver_token", "publisher_password", "standin_client_secret"])
def test_rotation_of_a_shared_secret(site: MakeSite, name: str) -> None:
    """A rotated secret is another one, the same with all who share it; no other secret changes."""
    made = site("demo")
    first = plan(made, render("demo"), {}).wanted
    new = again(made, first, lambda kept: rotate.forget(kept, [name]))
    alias = {"publisher_password": "broker_password", "standin_client_secret": "github_client_secret"}.get(name, name)
    changed = {(owner, key) for owner in first for key in first[owner] if first[owner][key] != new[owner][key]}
    assert {key for _, key in changed} <= {name, alias}
    assert len({new[owner][key] for owner, key in changed}) == 1
    assert len(changed) >= 2


def test_rotation_of_the_crypt_key(site: MakeSite) -> None:
    """The former key stays behind the new one, so that what it has encrypted can be read; the one before it goes."""
    made = site("demo")
    first = plan(made, render("demo"), {}).wanted
    second = again(made, first, lambda kept: rotate.forget(kept, ["crypt_key"]))
    third = again(made, second, lambda kept: rotate.forget(kept, ["crypt_key"]))
    new, former = second[HUB]["crypt_key"].split(b";")
    assert former == first[HUB]["crypt_key"]
    assert new != former
    assert third[HUB]["crypt_key"].split(b";")[1:] == [new]


def test_crypt_key_named_twice(site: MakeSite, cluster: Any) -> None:
    """A crypt key that is asked for twice at once is made anew once, and the one in use stays behind it."""
    made = site("demo")
    first = plan(made, render("demo"), {}).wanted
    (change,) = rotate.steps(cluster, ["crypt_key", "crypt_key"])
    assert again(made, first, change)[HUB]["crypt_key"].split(b";")[1] == first[HUB]["crypt_key"]


def test_interrupted_rotation_of_the_crypt_key(site: MakeSite, cluster: Any) -> None:
    """A key that no hub was told to start with is not followed by another one, which would push out the one in use."""
    made = site("demo")
    kept = dict(plan(made, render("demo"), {}).wanted)
    (hub,) = (one for one in render("demo") if one["kind"] == "Deployment" and one["metadata"]["name"] == "hub")

    def roll(change: Any) -> None:
        after = {owner: dict(values) for owner, values in kept.items()}
        change(after)
        kept.update(plan(made, render("demo"), after).wanted)
        keep(cluster, kept, existing(cluster))

    keep(cluster, kept, existing(cluster))
    cluster.apply(marked([hub], credentials.versions(existing(cluster))))
    in_use = kept[HUB]["crypt_key"]
    for _ in range(2):  # each ends before the hub's Deployment is applied
        for change in rotate.steps(cluster, ["crypt_key"]):
            roll(change)
        assert kept[HUB]["crypt_key"].split(b";")[1] == in_use
    cluster.apply(marked([hub], credentials.versions(existing(cluster))))
    for change in rotate.steps(cluster, ["crypt_key"]):
        roll(change)
    assert in_use not in kept[HUB]["crypt_key"]


def test_rotation_of_the_pipelines_authority(site: MakeSite) -> None:
    """At each step, who has started anew and who has not yet trust each other."""
    made = site("demo")
    states = [plan(made, render("demo"), {}).wanted]
    for step in (rotate.announce, rotate.change_over, rotate.retire):
        states.append(again(made, states[-1], step))
        # Half of a rollout: shipper before collector, and the other way round.
        for shipper, collector in ((states[-2], states[-1]), (states[-1], states[-2]), (states[-1], states[-1])):
            assert trusts(shipper[FILEBEAT], collector[LOGSTASH]["logstash.pem"])
            assert trusts(collector[LOGSTASH], shipper[FILEBEAT]["filebeat.pem"])
            assert trusts(collector[LOGSTASH], shipper[BROKER]["broker.pem"])
    assert not trusts(states[-1][FILEBEAT], states[0][LOGSTASH]["logstash.pem"])
    assert set(states[-1][AUTHORITY]) == {"authority.pem", "authority.key"}


def test_what_cannot_be_made_anew(site: MakeSite, cluster: Any) -> None:
    """A secret of the operator's is not the tool's to change, and it is said whose it is."""
    with pytest.raises(SiteError, match="SECRET=broker_password: one of proxy_token"):
        rotate.rotate(site("production"), cluster, ["proxy_token", "broker_password"])


@pytest.mark.parametrize(("name", "file"), [("cookie_secret", "cookie_secret"), ("tls", "tls.key")])
def test_what_is_given_is_not_made_anew(site: MakeSite, cluster: Any, name: str, file: str) -> None:
    """A rotation of what the operator has given, which would change nothing, is refused, with the file's name."""
    made = site("demo", **{file.replace(".", "__"): "x"})
    with pytest.raises(SiteError, match=rf"SECRET={name}: .*/{file} says what it is"):
        rotate.rotate(made, cluster, [name])
    assert cluster.commands == []


def test_secrets_go_by_standard_input(site: MakeSite, cluster: Any) -> None:
    """No argument of kubectl's has anything of a secret; what is there and the same is not written again."""
    wanted = demo(site).wanted
    assert len(keep(cluster, wanted, existing(cluster))) == len(wanted)
    assert {name: content(found) for name, found in existing(cluster).items()} == wanted
    before = cluster.objects
    assert keep(cluster, wanted, existing(cluster)) == []
    assert cluster.objects == before
    arguments = " ".join(word for command in cluster.commands for word in command)
    for values in wanted.values():
        for value in values.values():
            assert value.decode() not in arguments
            assert base64.b64encode(value).decode() not in arguments


def test_a_refused_secret_is_named_without_its_value(cluster: Any) -> None:
    """Where the cluster does not take a Secret, the error has its name alone."""
    cluster.kubectl = "/bin/false"
    with pytest.raises(ClusterError, match=r"^the cluster does not take the Secret jupyterlabdemo/proxy$"):
        keep(cluster, {PROXY: {"proxy_token": b"sesame"}}, {})


def test_the_sites_certificate_is_of_its_type() -> None:
    """The Secret of nginx is of the type that cert-manager makes too."""
    assert secret(NGINX, {})["type"] == "kubernetes.io/tls"
