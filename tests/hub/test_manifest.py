"""A lab's pod: what the hub puts into the operator's template."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jld_hub.app import configure
from jld_hub.identity import MOST_ORGANIZATIONS, Organization, identify
from jld_hub.lab import Lab, describe
from jld_hub.manifest import Place, TemplateError, manifest, read_template, secret
from jld_hub.settings import EX_CONFIG, load

TEMPLATE = Path(__file__).parents[2] / "lab/kubernetes/pod.yaml"
ORGANIZATIONS = [Organization("lsst", 3050001), Organization("friends", 9001)]
PLACE = Place("lab-alice", "alice", "homes", 8888)


def lab_of(organizations: list[Organization], image: str = "img:1") -> Lab:
    """Return the description of a lab."""
    return describe(identify("alice", 4242424, organizations, ["lsst"]), image, load())


def pod(
    template: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    organizations: list[Organization] = ORGANIZATIONS,
) -> dict[str, Any]:
    """Return a lab's pod."""
    read = template or read_template(TEMPLATE)
    return manifest(lab_of(organizations), read, PLACE, environment or {}, "the-token")


def variables(made: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a pod's lab, by name."""
    return {variable["name"]: variable for variable in made["spec"]["containers"][0]["env"]}


def test_who_a_lab_is() -> None:
    """A pod runs as the member, with the groups of his organizations and no others, and gives his files to nobody."""
    assert pod()["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 4242424,
        "runAsGroup": 4242424,
        "supplementalGroups": [3050001, 9001],
        "supplementalGroupsPolicy": "Strict",
    }


def test_what_a_lab_may() -> None:
    """A lab has no capability, gains none, writes to its folders only, and has no token of the cluster."""
    spec = pod()["spec"]
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["restartPolicy"] == "Never"
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "serviceAccountName"} & spec.keys()


def test_groups_are_capped() -> None:
    """No more groups than NFS carries, whitelisted ones first."""
    many = [Organization(f"org-{number}", 5000 + number) for number in range(40)]
    groups = pod(organizations=[*many, Organization("lsst", 3050001)])["spec"]["securityContext"]["supplementalGroups"]
    assert len(groups) == MOST_ORGANIZATIONS
    assert groups[0] == 3050001


def test_folders() -> None:
    """The home and the folders of whitelisted organizations are parts of one claim; the rest is memory."""
    spec = pod()["spec"]
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["/home/alice"] == {"name": "homes", "mountPath": "/home/alice", "subPath": "homes/4242424"}
    assert mounts["/groups/lsst"] == {"name": "homes", "mountPath": "/groups/lsst", "subPath": "groups/3050001"}
    assert set(mounts) == {"/home/alice", "/groups/lsst", "/tmp", "/var/lib/extrausers"}
    assert spec["volumes"] == [
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": str(2**30)}},
        {"name": "names", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "homes", "persistentVolumeClaim": {"claimName": "homes"}},
    ]


def test_limits(environment: pytest.MonkeyPatch) -> None:
    """CPU and memory are as the settings say; what the template says of other resources stays."""
    environment.setenv("LAB_CPU_LIMIT", "0.2")
    environment.setenv("LAB_MEM_LIMIT", "512M")
    template = read_template(TEMPLATE)
    template["spec"]["containers"][0]["resources"] = {"limits": {"ephemeral-storage": "1Gi", "cpu": "8"}}
    assert pod(template)["spec"]["containers"][0]["resources"] == {
        "limits": {"ephemeral-storage": "1Gi", "cpu": "200m", "memory": str(512 * 2**20)},
        "requests": {"cpu": "50m", "memory": str(256 * 2**20)},
    }


@pytest.mark.parametrize("value", [json.dumps(["{username} {0} {}"]), "$(HOME)", "$$", "a$b", ""])
def test_variables_come_as_they_are(value: str) -> None:
    """Braces mean nothing, and of dollars the kubelet makes again what they were."""
    given = variables(pod(environment={"LAB_NOTICES": value}))["LAB_NOTICES"]["value"]
    assert given.replace("$$", "$") == value
    assert "$(" not in given.replace("$$", "")


def test_token_is_in_the_secret_only() -> None:
    """Who reads the pod does not read the token."""
    made = pod(environment={"JUPYTERHUB_API_TOKEN": "the-token", "JPY_API_TOKEN": "the-token", "USER": "alice"})
    assert "the-token" not in json.dumps(made)
    source = {"secretKeyRef": {"name": "lab-alice", "key": "token"}}
    assert variables(made)["JUPYTERHUB_API_TOKEN"] == {"name": "JUPYTERHUB_API_TOKEN", "valueFrom": source}
    kept = secret(PLACE, "the-token")
    assert (kept["metadata"]["name"], kept["stringData"]) == ("lab-alice", {"token": "the-token"})


def test_operators_template() -> None:
    """What an operator adds stays: where pods may go, whose they are, further containers, variables and volumes."""
    template = read_template(TEMPLATE)
    template["metadata"] |= {"namespace": "elsewhere", "annotations": {"cost": "42"}}
    template["spec"] |= {"nodeSelector": {"labs": "yes"}, "imagePullSecrets": [{"name": "registry"}]}
    template["spec"]["containers"][0]["env"] = [{"name": "HOME", "value": "/"}, {"name": "PROXY", "value": "p"}]
    template["spec"]["containers"].append({"name": "side", "image": "side:1"})
    template["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = "4Gi"
    made = pod(template, {"HOME": "/home/alice"})
    spec = made["spec"]
    assert "namespace" not in made["metadata"]
    assert made["metadata"]["annotations"] == {"cost": "42", "org.lsst.jupyterlabdemo/member": "alice"}
    assert (spec["nodeSelector"], spec["imagePullSecrets"]) == ({"labs": "yes"}, [{"name": "registry"}])
    assert spec["containers"][1] == {"name": "side", "image": "side:1"}
    assert [(name, one["value"]) for name, one in variables(made).items()] == [("PROXY", "p"), ("HOME", "/home/alice")]
    assert spec["volumes"][0]["emptyDir"]["sizeLimit"] == "4Gi"
    assert "runAsUser" not in template["spec"]["securityContext"], "a template is not changed"


def test_whose_a_pod_is() -> None:
    """Labels find a member's pod; the annotation has his login as it is."""
    made = manifest(lab_of([]), read_template(TEMPLATE), Place("lab-a", "x-1---abc", "homes", 1), {}, "the-token")
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/name": "lab",
        "app.kubernetes.io/part-of": "jupyterlabdemo",
        "org.lsst.jupyterlabdemo/member": "x-1---abc",
        "org.lsst.jupyterlabdemo/uid": "4242424",
    }
    assert made["metadata"]["annotations"] == {"org.lsst.jupyterlabdemo/member": "alice"}


def test_least_template() -> None:
    """A template may leave everything out but the lab's container."""
    made = pod({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "lab"}]}})
    assert made["spec"]["securityContext"]["runAsUser"] == 4242424
    assert made["spec"]["containers"][0]["image"] == "img:1"
    assert made["metadata"]["labels"]["app.kubernetes.io/part-of"] == "jupyterlabdemo"


def changed(**parts: Any) -> str:
    """Return a template with another spec, as YAML."""
    template = read_template(TEMPLATE)
    template["spec"] |= parts
    return yaml.safe_dump(template)


WRONG = {
    "absent": (None, "readable YAML file"),
    "no YAML": ("a: [", "readable YAML file"),
    "empty": ("", "kind Pod"),
    "another kind": ("apiVersion: v1\nkind: ConfigMap\n", "kind Pod"),
    "no spec": ("apiVersion: v1\nkind: Pod\n", "spec.containers"),
    "odd containers": (changed(containers="lab"), "spec.containers"),
    "no lab": (changed(containers=[{"name": "notebook"}]), "one container called lab"),
    "a user": (changed(securityContext={"runAsUser": 0}), "without runAsUser"),
    "a group for files": (changed(securityContext={"fsGroup": 100}), "without fsGroup"),
    "a container's user": (changed(containers=[{"name": "lab", "securityContext": {"runAsUser": 0}}]), "runAsUser"),
    "our volume": (changed(volumes=[{"name": "homes", "emptyDir": {}}]), "without a volume homes"),
}


@pytest.mark.parametrize(("text", "right"), WRONG.values(), ids=WRONG)
def test_wrong_template_is_one_line(
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    right: str,
) -> None:
    """A template that cannot serve ends the start with status 78 and one line."""
    file = tmp_path / "pod.yaml"
    if text is not None:
        file.write_text(text)
    environment.setenv("HUB_SPAWNER", "kubernetes")
    environment.setenv("HUB_POD_TEMPLATE", str(file))
    with pytest.raises(SystemExit) as stopped:
        configure(load())
    line = capsys.readouterr().err
    assert stopped.value.code == EX_CONFIG
    assert line.startswith(f"jld_hub: HUB_POD_TEMPLATE={file}: ")
    assert line.count("\n") == 1
    assert right in line


def test_error_names_the_fault(tmp_path: Path) -> None:
    """The text about a file that is no YAML says where the fault is."""
    (tmp_path / "pod.yaml").write_text("a: [")
    with pytest.raises(TemplateError, match="line 1"):
        read_template(tmp_path / "pod.yaml")
