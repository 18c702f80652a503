"""What the overlays and components are for is what they do."""

import pytest
from rendered import INCLUDED, WORKLOADS, Object, of_kind, pod, render

pytestmark = pytest.mark.kubectl

STAND_INS = {"github", "nginx-github", "broker"}
"""What is in a cluster for demonstrations only."""

SINGLE = {"hub", "proxy", "keepalive", "github"}
"""Deployments of which there must not be two pods at once."""

OVERLAY = pytest.mark.parametrize("overlay", INCLUDED)


def named(objects: list[Object], kind: str, name: str) -> Object:
    """Find an object by its name."""
    (found,) = (one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)
    return found


def variables(objects: list[Object], component: str) -> dict[str, str]:
    """Return what a component's ConfigMap tells it."""
    for found in of_kind(objects, "ConfigMap"):
        if found["metadata"]["name"].rpartition("-")[0] == component:
            return dict(found["data"])
    return {}


def test_stand_ins() -> None:
    """A stand-in for GitHub and a broker are in the demonstration and nowhere else, the former behind a passphrase."""
    demo, production = ({one["metadata"]["name"] for one in of_kind(render(name), *WORKLOADS)} for name in INCLUDED)
    assert demo - production == STAND_INS
    assert not production - demo
    assert "STANDIN_PASSPHRASE_FILE" in variables(render("demo"), "github")
    assert not [name for name in variables(render("production"), "hub") if "CONNECT" in name and "GITHUB" in name]


def test_doors() -> None:
    """The demonstration's doors are ports of its node, which its addresses name; production's is a load balancer."""
    demo = render("demo")
    doors = {
        one["metadata"]["name"]: one["spec"]["ports"][0].get("nodePort")
        for one in of_kind(demo, "Service")
        if one["spec"].get("type", "ClusterIP") != "ClusterIP"
    }
    assert doors == {"nginx": 30443, "nginx-github": 30444}
    hub, github = variables(demo, "hub"), variables(demo, "github")
    assert hub["OAUTH_CALLBACK_URL"] == github["STANDIN_CALLBACK_URL"] == "https://localhost:30443/hub/oauth_callback"
    assert hub["GITHUB_URL"] == github["STANDIN_PUBLIC_URL"] == "https://localhost:30444"
    assert hub["GITHUB_CLIENT_ID"] == github["STANDIN_CLIENT_ID"]
    types = {one["metadata"]["name"]: one["spec"].get("type") for one in of_kind(render("production"), "Service")}
    assert {name for name, kind in types.items() if kind} == {"nginx"}
    assert types["nginx"] == "LoadBalancer"


@OVERLAY
def test_door_stays_open(overlay: str) -> None:
    """Of two nginx on two nodes one always serves, and one that is to end still takes connections for a while."""
    objects = render(overlay)
    nginx = named(objects, "Deployment", "nginx")
    assert nginx["spec"]["replicas"] == 2
    assert nginx["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert pod(nginx)["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    assert pod(nginx)["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    budget = named(objects, "PodDisruptionBudget", "nginx")
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"] == nginx["spec"]["selector"]


@OVERLAY
def test_one_at_a_time(overlay: str) -> None:
    """What must not be there twice ends before its successor begins."""
    for found in of_kind(render(overlay), "Deployment"):
        if found["metadata"]["name"] in SINGLE:
            assert (found["spec"]["replicas"], found["spec"]["strategy"]) == (1, {"type": "Recreate"})
    for found in of_kind(render(overlay), "StatefulSet"):
        assert found["spec"]["replicas"] == 1


@OVERLAY
def test_shipper_is_everywhere(overlay: str) -> None:
    """The shipper runs on every node, whatever that is kept for, and reads the logs of our namespaces alone."""
    objects = render(overlay)
    assert pod(named(objects, "DaemonSet", "filebeat"))["tolerations"] == [{"operator": "Exists"}]
    inputs = variables(objects, "filebeat")["FILEBEAT_INPUTS"].split(",")
    namespaces = [one["metadata"]["name"] for one in of_kind(objects, "Namespace")]
    assert sorted(inputs) == sorted(f"cri:/var/log/pods/{name}_*/*/*.log*" for name in namespaces)


@pytest.mark.parametrize("site", [("demo", ()), ("production", ("single-node",))])
def test_single_node(site: tuple[str, tuple[str, ...]]) -> None:
    """One folder of the node is the file server's volume and what labs and keepalive mount; it outlives its claims."""
    objects = render(*site)
    volumes = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "PersistentVolume")}
    assert {one["hostPath"]["path"] for one in volumes.values()} == {"/srv/jupyterlabdemo/export"}
    assert {one["persistentVolumeReclaimPolicy"] for one in volumes.values()} == {"Retain"}
    assert {one["storageClassName"] for one in volumes.values()} == {""}
    template = named(objects, "StatefulSet", "fileserver")["spec"]["volumeClaimTemplates"][0]
    claims = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"]
        for one in of_kind(objects, "PersistentVolumeClaim")
    }
    claims["jupyterlabdemo-files", f"{template['metadata']['name']}-fileserver-0"] = template["spec"]
    for name, volume in volumes.items():
        claim = claims[volume["claimRef"]["namespace"], volume["claimRef"]["name"]]
        assert (claim["volumeName"], claim["storageClassName"]) == (name, "")
        assert claim["accessModes"] == volume["accessModes"]
        assert claim["resources"]["requests"] == volume["capacity"]


def test_volumes_of_a_file_server_elsewhere() -> None:
    """Production has no folder of a node as a volume: the homes' volumes are made for each cluster."""
    objects = render("production")
    assert not list(of_kind(objects, "PersistentVolume"))
    claims = {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")}
    assert claims == {"hub-database"}


def test_postgresql() -> None:
    """With PostgreSQL elsewhere the hub has no volume, and its database's address, with the password, is a secret."""
    objects = render("production", ("postgresql",))
    assert "hub-database" not in {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")}
    hub = pod(named(objects, "Deployment", "hub"))
    assert {volume["name"] for volume in hub["volumes"]} == {"secrets", "lab", "tmp"}
    assert variables(objects, "hub")["HUB_DATABASE_URL_FILE"] == "/run/secrets/hub/database_url"


def test_certificate() -> None:
    """With cert-manager the certificate goes to the Secret that nginx reads."""
    objects = render("production", ("cert-manager",))
    certificate = named(objects, "Certificate", "nginx")
    volumes = pod(named(objects, "Deployment", "nginx"))["volumes"]
    (secret,) = (volume["secret"]["secretName"] for volume in volumes if "secret" in volume)
    assert certificate["spec"]["secretName"] == secret
    assert certificate["metadata"]["namespace"] == "jupyterlabdemo"
