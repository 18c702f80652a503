"""What the tool writes into a site: its settings, each to those who read it, and what only the cluster knows."""

import re
from collections.abc import Callable

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest
import yaml
from jld_k8s.cluster import FILES, LABS, NAMESPACES, SYSTEM, Cluster, Object
from jld_k8s.facts import UNKNOWN, Facts, node_ranges, public_ranges, recall, remember
from jld_k8s.manifests import SECRETS_MARK, Key, config_maps, marked, named, pod, untagged, workloads
from jld_k8s.puller import puller
from jld_k8s.render import base, render
from jld_k8s.site import Site

pytestmark = pytest.mark.kubectl

MakeSite = Callable[..., Site]

FACTS = Facts(*("10.96.7.7", (("10.96.0.1", 443), ("203.0.113.5", 6443)), ("203.0.113.5/32",), ("203.0.114.5/32",)))


@pytest.fixture
def kubectl() -> Cluster:
    """Give kubectl, which renders without a cluster."""
    return Cluster("kubectl")


def settings(objects: list[Object], name: str, namespace: str = SYSTEM) -> dict[str, str]:
    """Give what a component is told."""
    found: dict[str, str] = config_maps(objects)[Key(namespace, name)]["data"]
    return found


def test_settings_go_to_those_who_read_them(site: MakeSite, kubectl: Cluster) -> None:
    """A setting arrives at each component that reads it, as it is written, and at no other."""
    made = site("demo", "SHIPPER_NAME=summit\nLAB_SELECTOR_TITLE='$5 = {x}, \"y\"'\nKEEPALIVE_INTERVAL=7\n")
    objects = render(made, kubectl, FACTS, {})
    assert settings(objects, "filebeat", "jupyterlabdemo-logs")["SHIPPER_NAME"] == "summit"
    assert settings(objects, "logstash")["SHIPPER_NAME"] == "summit"
    assert settings(objects, "hub")["LAB_SELECTOR_TITLE"] == '$5 = {x}, "y"'
    assert "SHIPPER_NAME" not in settings(objects, "hub")
    assert settings(objects, "keepalive")["KEEPALIVE_INTERVAL"] == "7"


def test_a_changed_setting_is_another_configmap(site: MakeSite, kubectl: Cluster) -> None:
    """A setting changes the name of the ConfigMap that a workload takes it from, which starts it anew."""
    names = [
        config_maps(render(site(overlay, text), kubectl, FACTS, {}))[Key(SYSTEM, "hub")]["metadata"]["name"]
        for overlay, text in (("demo", ""), ("production", "LAB_CPU_LIMIT=2\n"))
    ]
    assert names[0] != names[1]


def test_no_secret_in_a_configmap(site: MakeSite, kubectl: Cluster) -> None:
    """A secret that somebody has put into site.env comes to no manifest."""
    made = site("demo", "GITHUB_CLIENT_SECRET=sesame\nHUB_CRYPT_KEY=sesame\n")
    assert "sesame" not in str(render(made, kubectl, FACTS, {}))


def test_the_stand_in_follows(site: MakeSite, kubectl: Cluster) -> None:
    """A site of the demo that is reached elsewhere says so once; the stand-in hears of it."""
    made = site("demo", "OAUTH_CALLBACK_URL=https://demo.test/hub/oauth_callback\nGITHUB_URL=https://github.test\n")
    told = settings(render(made, kubectl, FACTS, {}), "github")
    assert told["STANDIN_CALLBACK_URL"] == "https://demo.test/hub/oauth_callback"
    assert told["STANDIN_PUBLIC_URL"] == "https://github.test"


def test_images_of_labs_are_pulled_ahead(site: MakeSite, kubectl: Cluster) -> None:
    """Every image of the menu is pulled by every node; what stays is confined as labs are."""
    objects = render(site("demo", "LAB_CONTAINER_NAMES=a/lab:1, b/lab:2\n"), kubectl, FACTS, {})
    found = named(objects, "DaemonSet", "images")
    assert found
    assert found["metadata"]["namespace"] == LABS
    assert [one["image"] for one in pod(found)["initContainers"]] == ["a/lab:1", "b/lab:2"]
    assert pod(found)["securityContext"]["runAsNonRoot"] is True
    assert all(one["securityContext"]["capabilities"] == {"drop": ["ALL"]} for one in pod(found)["containers"])


def test_images_are_pulled_where_labs_may_be() -> None:
    """Nodes that the labs' template names, or tolerates, pull the images too."""
    spec = {"nodeSelector": {"labs": "yes"}, "tolerations": [{"key": "gpu"}], "restartPolicy": "Never"}
    metadata = {"name": "lab-2bcdfghkmt", "namespace": SYSTEM}
    lab = {"kind": "ConfigMap", "metadata": metadata, "data": {"pod.yaml": yaml.safe_dump({"spec": spec})}}
    found = pod(puller(["a/lab:1"], [lab]))
    assert found["nodeSelector"] == {"labs": "yes"}
    assert found["tolerations"] == [{"key": "gpu"}]
    assert "restartPolicy" not in found


def test_homes_over_nfs(site: MakeSite, kubectl: Cluster) -> None:
    """Production has a volume for labs and one for keepalive, by the address that the fileserver was given."""
    objects = render(site("production", "K8S_NODE_CIDRS=203.0.113.0/24\n"), kubectl, FACTS, {})
    for claim, namespace in (("homes", LABS), ("keepalive", SYSTEM)):
        volume = named(objects, "PersistentVolume", f"jupyterlabdemo-{claim}")
        assert volume
        assert volume["spec"]["nfs"] == {"server": "10.96.7.7", "path": "/export"}
        assert volume["spec"]["mountOptions"] == ["nfsvers=4.2", "hard"]
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        assert volume["spec"]["storageClassName"] == ""
        assert (volume["spec"]["claimRef"]["namespace"], volume["spec"]["claimRef"]["name"]) == (namespace, claim)
        made = [one for one in objects if one["kind"] == "PersistentVolumeClaim" and one["metadata"]["name"] == claim]
        assert [(one["metadata"]["namespace"], one["spec"]["volumeName"]) for one in made] == [
            (namespace, volume["metadata"]["name"])
        ]


def test_who_may_speak_nfs(site: MakeSite, kubectl: Cluster) -> None:
    """Of all addresses the nodes' alone reach NFS, and no policy lets them in where homes are a folder of the node."""
    ranges = "K8S_NODE_CIDRS=203.0.113.0/24,2001:db8::/64\n"
    found = named(render(site("production", ranges), kubectl, FACTS, {}), "NetworkPolicy", "fileserver-nodes")
    assert found
    assert found["metadata"]["namespace"] == FILES
    (rule,) = found["spec"]["ingress"]
    assert [peer["ipBlock"]["cidr"] for peer in rule["from"]] == ["203.0.113.0/24", "2001:db8::/64"]
    assert [port["port"] for port in rule["ports"]] == [2049]
    assert named(render(site("demo"), kubectl, FACTS, {}), "NetworkPolicy", "fileserver-nodes") is None


def test_the_hubs_way_to_the_api_server(site: MakeSite, kubectl: Cluster) -> None:
    """The hub reaches the API server's addresses, each at its port, and nothing else by this policy."""
    found = named(render(site("demo"), kubectl, FACTS, {}), "NetworkPolicy", "hub-api-server")
    assert found
    ways = [(rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"]) for rule in found["spec"]["egress"]]
    assert ways == [("10.96.0.1/32", 443), ("203.0.113.5/32", 6443)]


def test_labs_reach_no_node(site: MakeSite, kubectl: Cluster) -> None:
    """Nodes with public addresses are no part of the internet that labs reach; private ones are none anyway."""
    text = "K8S_NODE_CIDRS=203.0.113.0/24,10.0.0.0/16,2001:db8::/64,192.0.0.0/8\n"
    found = named(render(site("production", text), kubectl, FACTS, {}), "NetworkPolicy", "lab-internet")
    assert found
    four, six = (peer["ipBlock"]["except"] for peer in found["spec"]["egress"][0]["to"])
    # A range that is wider than one that is left out anyway is left out whole; addresses of nodes in no range too.
    assert {"203.0.113.0/24", "10.0.0.0/8", "192.0.0.0/8", "203.0.114.5/32"} <= set(four)
    assert not {"10.0.0.0/16", "203.0.113.5/32"} & set(four)
    assert "2001:db8::/64" in six


def test_homes_in_another_folder(site: MakeSite, kubectl: Cluster) -> None:
    """K8S_HOMES_DIR takes the place of the folder that the component single-node has, everywhere."""
    objects = render(site("demo", "K8S_HOMES_DIR=/data/homes\n"), kubectl, FACTS, {})
    folders = {one["spec"]["hostPath"]["path"] for one in objects if one["kind"] == "PersistentVolume"}
    assert folders == {"/data/homes"}


def test_what_stands_in_the_way_is_named(site: MakeSite, kubectl: Cluster) -> None:
    """Where the tool's own folder cannot be made anew, the reason is that of the folder that is there."""
    made = site("demo")
    made.generated.touch()
    with pytest.raises(NotADirectoryError, match=re.escape(f"'{made.generated}'")):
        base(made, kubectl)


def test_pushed_images(site: MakeSite, kubectl: Cluster) -> None:
    """Images that were pushed are named by digest, labs' too, whose descriptions stay readable."""
    made = site("production")
    digest = f"sha256:{'a' * 64}"
    made.keep(
        "images.yaml",
        {f"lsstsqre/jld-{name}:0.1.0": f"registry.test/x/jld-{name}@{digest}" for name in ("hub", "nginx", "lab-py3")},
    )
    (made.folder / "site.env").write_text("LAB_CONTAINER_NAMES=lsstsqre/jld-lab-py3:0.1.0,other/lab:3\n")
    objects = render(Site(made.folder), kubectl, FACTS, {})
    used = {one["image"] for found in workloads(objects) for one in pod(found)["containers"]}
    assert f"registry.test/x/jld-hub@{digest}" in used
    assert "lsstsqre/jld-hub:0.1.0" not in used
    told = settings(objects, "hub")
    assert told["LAB_CONTAINER_NAMES"] == f"registry.test/x/jld-lab-py3@{digest},other/lab:3"
    assert told["LAB_CONTAINER_DESCS"] == "lsstsqre/jld-lab-py3:0.1.0,other/lab:3"


def test_a_registry_that_asks(site: MakeSite, kubectl: Cluster) -> None:
    """Where the operator gives what a registry asks for, pods of all namespaces show it, labs and the hub too."""
    objects = render(site("production", registry__json="{}"), kubectl, FACTS, {})
    accounts = [found for found in objects if found["kind"] == "ServiceAccount"]
    assert {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in accounts} == {
        *((namespace, "default") for namespace in NAMESPACES),
        (SYSTEM, "hub"),
    }
    assert all(one["imagePullSecrets"] == [{"name": "registry"}] for one in accounts)
    without = render(site("demo"), kubectl, FACTS, {})
    assert [one["metadata"]["name"] for one in without if one["kind"] == "ServiceAccount"] == ["hub"]


def test_a_changed_secret_starts_its_workloads_anew(site: MakeSite, kubectl: Cluster) -> None:
    """A pod has the versions of its Secrets as a mark, but for those that take new files by themselves."""
    versions = {Key(SYSTEM, "hub"): "17", Key(SYSTEM, "nginx"): "18"}
    objects = render(site("demo"), kubectl, FACTS, versions)
    marks = {
        found["metadata"]["name"]: found["spec"]["template"]["metadata"].get("annotations", {}).get(SECRETS_MARK)
        for found in workloads(objects)
    }
    assert marks["hub"] == "17"
    assert marks["nginx"] is None
    assert marks["proxy"] is None


def test_marks_are_todays(site: MakeSite, kubectl: Cluster) -> None:
    """Manifests of any day get the marks of today's Secrets, and nothing else of them changes."""
    objects = render(site("demo"), kubectl, FACTS, {Key(SYSTEM, "hub"): "17"})
    without = render(site("production"), kubectl, FACTS, {})
    assert marked(objects, {Key(SYSTEM, "hub"): "17"}) == objects
    assert marked(without, {}) == without
    assert SECRETS_MARK not in str(marked(objects, {}))


@pytest.mark.parametrize("overlay", ["demo", "production"])
def test_what_is_rendered_keeps_to_the_schema(site: MakeSite, kubectl: Cluster, overlay: str) -> None:
    """Every object of a whole site is one that the oldest and the newest Kubernetes would take."""
    settings = "K8S_NODE_CIDRS=203.0.113.0/24\nLAB_CPU_LIMIT=2\n"
    for found in render(site(overlay, settings), kubectl, FACTS, {Key(SYSTEM, "hub"): "17"}):
        for version in ("1.33", "1.36"):
            kubernetes_validate.validate(found, version, strict=True)


def test_rendering_twice_is_the_same(site: MakeSite, kubectl: Cluster) -> None:
    """A site renders to the same manifests each time, in the order in which they are applied."""
    made = site("demo", "LAB_CPU_LIMIT=2\n")
    first = render(made, kubectl, FACTS, {})
    assert render(made, kubectl, FACTS, {}) == first
    kinds = [found["kind"] for found in first]
    assert kinds[0] == "Namespace"
    assert kinds.index("Service") < kinds.index("StatefulSet")
    assert kinds.index("ConfigMap") < kinds.index("Deployment")


def test_facts_are_remembered(site: MakeSite) -> None:
    """What the cluster has told is kept in the site; before that an address of documentation stands for it."""
    made = site("demo")
    assert recall(made).fileserver == UNKNOWN
    remember(made, FACTS)
    assert recall(made) == FACTS


def test_addresses_of_nodes() -> None:
    """A node's own packets may come from its address, its tunnel's, or its bridge's."""
    node = {
        "metadata": {"annotations": {"projectcalico.org/IPv4IPIPTunnelAddr": "10.244.3.1"}},
        "spec": {"podCIDRs": ["10.1.2.0/24"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "192.0.2.9"},
                {"type": "Hostname", "address": "n"},
                {"type": "ExternalIP", "address": "203.0.113.9"},
            ]
        },
    }
    assert public_ranges(node) == ["203.0.113.9/32"]
    assert node_ranges(node) == ["192.0.2.9/32", "10.244.3.1/32", "10.1.2.0/32", "10.1.2.1/32"]


@pytest.mark.parametrize(
    ("image", "is_open"),
    [
        ("lsstsqre/jld-hub", True),
        ("lsstsqre/jld-hub:latest", True),
        ("localhost:5000/hub", True),
        ("localhost:5000/hub:1", False),
        ("a/hub@sha256:aa", False),
        ("lsstsqre/jld-lab-py3", False),
    ],
)
def test_images_without_a_version(image: str, is_open: bool) -> None:
    """An image's name says which one it is; the labs' old name alone may go without a tag."""
    assert untagged(image) is is_open


def test_a_generated_folder_is_made_anew(site: MakeSite, kubectl: Cluster) -> None:
    """What was written for other settings is gone; a base is rendered without it."""
    made = site("production", "K8S_NODE_CIDRS=203.0.113.0/24\n")
    render(made, kubectl, FACTS, {})
    assert named(base(made, kubectl), "DaemonSet", "images") is None
    assert not (made.generated / "nfs.yaml").exists()
