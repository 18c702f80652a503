"""Every overlay, with every choice of components, renders to objects that keep the rules of all of them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jld_broker.settings
import jld_filebeat.settings
import jld_fileserver.settings
import jld_github.settings
import jld_hub.settings
import jld_logstash.settings
import jld_nginx.settings
import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest
import yaml
from jld_compose.state import UIDS
from pydantic_settings import BaseSettings
from rendered import COMBINATIONS, WORKLOADS, Object, containers, name, of_kind, pod, render, service_of

from dev.configuration import ROOT, variables

pytestmark = pytest.mark.kubectl

SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]

VERSIONS = ("1.33", "1.36")
"""Of Kubernetes: the oldest that is supported, and the one of the tests' cluster."""

FOREIGN = {"Certificate": "cert-manager's, whose schema is with it"}
"""Kinds that are not Kubernetes' own."""

OF_NAMESPACES = {"default-deny", "names"}
"""Policies that are of a namespace, and not of a component."""

ROOT_IN_CONTAINERS = {"fileserver", "provisioner", "filebeat"}
"""Who is root there; docs/security.md says why."""

PATHS_OF_NODES = {"filebeat": ["/var/log/pods", "/var/lib/jupyterlabdemo/filebeat"]}

WITHOUT_HTTP = {
    ("broker", "startupProbe"): "RabbitMQ has no health that takes no password",
    ("broker", "readinessProbe"): "likewise",
    ("broker", "livenessProbe"): "likewise",
    ("keepalive", "livenessProbe"): "a new start of the writer mends no share",
}

HEALTH = {
    "startupProbe": ("/readyz", "/healthz", "/_chp_healthz"),
    "readinessProbe": ("/readyz", "/_chp_healthz"),
    "livenessProbe": ("/healthz", "/_chp_healthz"),
}

SETTINGS: dict[str, type[BaseSettings]] = {
    "hub": jld_hub.settings.Settings,
    "nginx": jld_nginx.settings.Settings,
    "fileserver": jld_fileserver.settings.ServerSettings,
    "provisioner": jld_fileserver.settings.ProvisionerSettings,
    "keepalive": jld_fileserver.settings.KeepaliveSettings,
    "filebeat": jld_filebeat.settings.Settings,
    "logstash": jld_logstash.settings.Settings,
    "github": jld_github.settings.Settings,
    "broker": jld_broker.settings.Settings,
}
"""Who reads the ConfigMap of a name."""

PORTS = {
    ("hub", "http"): "HUB_PORT",
    ("nginx", "https"): "NGINX_HTTPS_PORT",
    ("nginx", "health"): "NGINX_PORT",
    ("fileserver", "nfs"): "FILESERVER_NFS_PORT",
    ("fileserver", "health"): "FILESERVER_HEALTH_PORT",
    ("provisioner", "http"): "FILESERVER_PORT",
    ("keepalive", "health"): "KEEPALIVE_PORT",
    ("filebeat", "health"): "FILEBEAT_PORT",
    ("logstash", "beats"): "LOGSTASH_BEATS_PORT",
    ("logstash", "health"): "LOGSTASH_PORT",
    ("github", "http"): "STANDIN_PORT",
    ("broker", "amqps"): "BROKER_PORT",
    ("broker", "metrics"): "BROKER_METRICS_PORT",
}

UNITS = {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 2**10, "g": 2**30}

PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"


@pytest.fixture(params=COMBINATIONS, ids=lambda combination: "+".join((combination[0], *combination[1])))
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """Render a combination."""
    return render(*request.param)


@cache
def validate(found: str, version: str) -> None:
    """Check an object against Kubernetes' schema; most are the same in many combinations."""
    kubernetes_validate.validate(json.loads(found), version, strict=True)


def amount(text: str) -> float:
    """Read an amount of CPUs or memory, of Kubernetes or of Compose, whose m is a megabyte."""
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def config_map(objects: list[Object], reference: str) -> Object:
    """Find what a reference names: the hash is part of it."""
    (found,) = (one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"] == reference)
    return found


def environment(objects: list[Object], container: Object) -> dict[str, str]:
    """Return the variables that a container gets; of those that a pod alone knows, nothing."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= config_map(objects, source["configMapRef"]["name"])["data"]
    return found | {one["name"]: one.get("value", "") for one in container.get("env", [])}


@pytest.mark.parametrize("version", VERSIONS)
def test_schema(objects: list[Object], version: str) -> None:
    """Each object is one that Kubernetes knows, without a field too many."""
    for found in objects:
        if found["kind"] not in FOREIGN:
            validate(json.dumps(found), version)


def test_names(objects: list[Object]) -> None:
    """No two objects are one, and each says where it is, of which component, and that it is part of this system."""
    identities = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(set(identities)) == len(identities)
    wrong = []
    for found in objects:
        labels = found["metadata"].get("labels", {})
        if found["kind"] not in ("Namespace", "PersistentVolume") and "namespace" not in found["metadata"]:
            wrong.append(f"{name(found)}: namespace")
        if labels.get(PART_OF) != "jupyterlabdemo":
            wrong.append(f"{name(found)}: {PART_OF}")
        if NAME not in labels and found["kind"] != "Namespace" and found["metadata"]["name"] not in OF_NAMESPACES:
            wrong.append(f"{name(found)}: {NAME}")
    for workload in of_kind(objects, *WORKLOADS):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        selected = workload["spec"]["selector"]["matchLabels"]
        if labels != {NAME: workload["metadata"]["name"], PART_OF: "jupyterlabdemo"} or selected != {
            NAME: labels[NAME]
        }:
            wrong.append(f"{name(workload)}: labels of its pods")
    assert wrong == []


def test_standards_of_namespaces(objects: list[Object]) -> None:
    """Labs, and all that can, are in namespaces that enforce the standard "restricted"."""
    level = "pod-security.kubernetes.io/enforce"
    found = {one["metadata"]["name"]: one["metadata"]["labels"][level] for one in of_kind(objects, "Namespace")}
    assert found == {
        "jupyterlabdemo": "restricted",
        "jupyterlabdemo-labs": "restricted",
        "jupyterlabdemo-files": "privileged",
        "jupyterlabdemo-logs": "privileged",
    }


def test_tokens(objects: list[Object]) -> None:
    """The hub alone has a token for the API server, and no pod is told addresses of services by its environment."""
    for workload in of_kind(objects, *WORKLOADS):
        spec, is_hub = pod(workload), workload["metadata"]["name"] == "hub"
        assert spec["automountServiceAccountToken"] is is_hub, name(workload)
        assert spec.get("serviceAccountName", "default") == ("hub" if is_hub else "default"), name(workload)
        assert spec["enableServiceLinks"] is False, name(workload)


def test_rights_at_the_api_server(objects: list[Object]) -> None:
    """There is one Role, the hub's in the labs' namespace, with the verbs that its code calls, and nothing wider."""
    assert not list(of_kind(objects, "ClusterRole", "ClusterRoleBinding"))
    (role,), (binding,) = of_kind(objects, "Role"), of_kind(objects, "RoleBinding")
    (account,) = of_kind(objects, "ServiceAccount")
    assert {role["metadata"]["namespace"], binding["metadata"]["namespace"]} == {"jupyterlabdemo-labs"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
    ]
    verbs = {(kind, verb) for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]}
    assert {rule["apiGroups"][0] for rule in role["rules"]} == {""}
    assert verbs == {
        *(("pods", verb) for verb in ("get", "list", "watch", "create", "delete")),
        ("pods/log", "get"),
        *(("events", verb) for verb in ("list", "watch")),
        *(("secrets", verb) for verb in ("create", "update", "delete")),
    }


def test_users(objects: list[Object]) -> None:
    """Pods run as the users that their images and Compose's containers have, and may read what is theirs."""
    for workload, container in containers(objects):
        service, context = service_of(workload, container), pod(workload)["securityContext"]
        uid = UIDS["nginx" if service == "nginx-github" else service]
        assert (context["runAsUser"], context["runAsGroup"]) == (uid, uid), service
        assert context.get("runAsNonRoot", False) is (service not in ROOT_IN_CONTAINERS), service
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, service
        takes = {next(iter(volume.keys() - {"name"})) for volume in pod(workload)["volumes"]}
        if uid and takes & {"secret"}:
            assert context["fsGroup"] == uid, service
        claims = takes & {"persistentVolumeClaim"} or workload["spec"].get("volumeClaimTemplates")
        if uid and claims and service != "keepalive":
            assert context["fsGroupChangePolicy"] == "OnRootMismatch", service


def test_confinement(objects: list[Object]) -> None:
    """Containers have the capabilities that Compose's have, a read-only root file system, and no way to more rights."""
    for workload, container in containers(objects):
        service, context = service_of(workload, container), container["securityContext"]
        added = SERVICES[service].get("cap_add", [])
        capabilities = {"drop": ["ALL"]} | ({"add": added} if added else {})
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": capabilities,
        }, service
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod(workload).keys(), service
        paths = [volume["hostPath"]["path"] for volume in pod(workload)["volumes"] if "hostPath" in volume]
        assert paths == PATHS_OF_NODES.get(service, []), service


def test_images(objects: list[Object]) -> None:
    """Containers run the images of Compose's, which are there or are pulled by their tag."""
    for workload, container in containers(objects):
        service = service_of(workload, container)
        assert container["image"] == SERVICES[service]["image"], service
        assert container["imagePullPolicy"] == "IfNotPresent", service


def test_resources(objects: list[Object]) -> None:
    """Containers ask for no more than they may have, and may have the memory that Compose's have."""
    for workload, container in containers(objects):
        service, resources = service_of(workload, container), container["resources"]
        for kind in ("cpu", "memory"):
            assert 0 < amount(resources["requests"][kind]) <= amount(resources["limits"][kind]), (service, kind)
        limit = re.sub("m$", "Mi", SERVICES[service]["mem_limit"])
        assert amount(resources["limits"]["memory"]) == amount(limit), service


def test_probes(objects: list[Object]) -> None:
    """Every container is asked for its health, at a port that it has, by the addresses that its README tells."""
    for workload, container in containers(objects):
        service = service_of(workload, container)
        ports = {one["name"] for one in container["ports"]}
        for probe, paths in HEALTH.items():
            how = "tcpSocket" if (service, probe) in WITHOUT_HTTP else "httpGet"
            asked = container[probe][how]
            assert asked["port"] in ports, (service, probe)
            assert how == "tcpSocket" or asked["path"] in paths, (service, probe)


def test_settings(objects: list[Object]) -> None:
    """What a container is told, by its environment, its program reads; filebeat alone also learns where it is."""
    for workload, container in containers(objects):
        service = service_of(workload, container)
        told = environment(objects, container)
        if service == "proxy":
            assert told == {}
            continue
        known = variables(SETTINGS["nginx" if service == "nginx-github" else service])
        read = {one.name for one in known} | {f"{one.name}_FILE" for one in known if one.secret}
        assert told.keys() <= read, service
        assert [one["name"] for one in container.get("env", []) if "value" not in one] == (
            ["FILEBEAT_NODE_NAME"] if service == "filebeat" else []
        )


def files(objects: list[Object]) -> Iterator[tuple[str, str, str]]:
    """List the files that containers are told to find among secrets: service, its Secret, and the key there."""
    for workload, container in containers(objects):
        secrets = {volume["name"]: volume["secret"] for volume in pod(workload)["volumes"] if "secret" in volume}
        mounted = {
            mount["mountPath"]: secrets[mount["name"]]["secretName"]
            for mount in container["volumeMounts"]
            if mount["name"] in secrets
        }
        told = [*environment(objects, container).values(), *container.get("args", [])]
        for path in re.findall(r"(?<![\w/])/run/secrets[\w./]*", " ".join(told)):
            folder, _, key = path.rpartition("/")
            yield service_of(workload, container), mounted[folder], key


KEYS: dict[str, set[str]] = {
    "proxy": {"proxy_token"},
    "hub": {
        *("proxy_token", "metrics_token", "cookie_secret", "crypt_key", "fileserver_token"),
        *("github_client_secret", "database_url"),
    },
    "provisioner": {"fileserver_token"},
    "filebeat": {"authority.pem", "filebeat.pem", "filebeat.key"},
    "logstash": {"authority.pem", "logstash.pem", "logstash.key", "broker_password"},
    "nginx": {"tls.crt", "tls.key"},
    "github": {"standin_client_secret", "passphrase"},
    "broker": {"broker.pem", "broker.key", "publisher_password", "reader_password"},
}
"""What is in each Secret, which no manifest holds."""


def test_secrets(objects: list[Object]) -> None:
    """Secrets are files of a Secret of the component's own, for its group alone, and none is rendered."""
    assert not list(of_kind(objects, "Secret"))
    for workload, container in containers(objects):
        volumes = [volume for volume in pod(workload)["volumes"] if "secret" in volume]
        assert all(volume["secret"]["defaultMode"] == 0o440 for volume in volumes)
        for mount in container["volumeMounts"]:
            if mount["name"] in {volume["name"] for volume in volumes}:
                assert mount["readOnly"] is True
    for service, secret, key in files(objects):
        assert secret == ("nginx" if service == "nginx-github" else service)
        assert key in KEYS[secret]


def test_volumes(objects: list[Object]) -> None:
    """What a pod mounts is there: a claim that is rendered, or that is made for each cluster, or a ConfigMap."""
    claims = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in of_kind(objects, "PersistentVolumeClaim")
    }
    made = {("jupyterlabdemo", "keepalive")}
    for workload in of_kind(objects, *WORKLOADS):
        templates = {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])}
        known = templates | {volume["name"] for volume in pod(workload)["volumes"]}
        for container in pod(workload)["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= known, name(workload)
        for volume in pod(workload)["volumes"]:
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert (workload["metadata"]["namespace"], claim) in claims | made
            if "configMap" in volume:
                config_map(objects, volume["configMap"]["name"])


def test_ports(objects: list[Object]) -> None:
    """Containers say on which ports they listen: those of their settings."""
    for workload, container in containers(objects):
        service = service_of(workload, container)
        if service == "proxy":
            options = dict(re.findall(r"--((?:api-|metrics-)?port) (\d+)", container["args"][2]))
            told = {"http": options["port"], "api": options["api-port"], "metrics": options["metrics-port"]}
        else:
            called = "nginx" if service == "nginx-github" else service
            defaults = {one.name: one.default for one in variables(SETTINGS[called])}
            told = {port: defaults[setting] or "" for (one, port), setting in PORTS.items() if one == called}
        assert {one["name"]: str(one["containerPort"]) for one in container["ports"]} == told, service


def test_services(objects: list[Object]) -> None:
    """Each Service leads to the pods of one workload, at ports that these have under that name and number."""
    for service in of_kind(objects, "Service"):
        chosen = [
            workload
            for workload in of_kind(objects, *WORKLOADS)
            if workload["metadata"]["namespace"] == service["metadata"]["namespace"]
            and service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, name(service)
        ports: dict[str, Any] = {
            one["name"]: one["containerPort"] for part in pod(chosen[0])["containers"] for one in part["ports"]
        }
        for port in service["spec"]["ports"]:
            number = ports[port["targetPort"]]
            assert port["port"] == (443 if number == 8443 else number), name(service)


def test_metrics_are_announced(objects: list[Object]) -> None:
    """Pods, and the one Service whose pod has metrics at two ports, say where Prometheus finds theirs."""
    announcing = [*of_kind(objects, *WORKLOADS), *of_kind(objects, "Service")]
    found = {}
    for one in announcing:
        notes = (one["spec"]["template"] if one["kind"] in WORKLOADS else one)["metadata"].get("annotations", {})
        if one["kind"] in WORKLOADS or notes:
            assert (notes["prometheus.io/scrape"], notes["prometheus.io/path"]) == ("true", "/metrics"), name(one)
            found[one["metadata"]["name"]] = int(notes["prometheus.io/port"])
    metrics = {"hub": 8081, "proxy": 8002, "nginx": 8085, "fileserver": 8088, "provisioner": 8083, "keepalive": 8084}
    metrics |= {"filebeat": 8086, "logstash": 8087}
    demo = {"github": 8082, "nginx-github": 8085, "broker": 15692}
    assert found in (metrics, metrics | demo)
