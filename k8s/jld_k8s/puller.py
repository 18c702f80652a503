"""The DaemonSet that has every node pull the images of labs before somebody waits for one."""

from collections.abc import Sequence
from typing import Any

import yaml

from . import confined
from .cluster import LABS, NAME, SYSTEM, Object
from .manifests import Key, config_maps, named

SHARED = ("nodeSelector", "tolerations", "affinity", "imagePullSecrets")
"""What an operator has said in the labs' template of where they may be, which holds for their images too."""


def puller(pulled: Sequence[str], base: Sequence[Object]) -> Object:
    """Write the DaemonSet.

    Each image is pulled to run a program that ends at once; what stays is a container of an image that every node has
    anyway, the shipper's.
    """
    labels = {NAME: "images", "app.kubernetes.io/part-of": "jupyterlabdemo"}
    shipper = named(base, "DaemonSet", "filebeat")
    resident = shipper["spec"]["template"]["spec"]["containers"][0]["image"] if shipper else pulled[0]
    little = {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "50m", "memory": "32Mi"}}

    def container(name: str, image: str, command: list[str]) -> dict[str, Any]:
        return {
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "resources": little,
            "securityContext": dict(confined.CONTAINER),
        }

    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "images", "namespace": LABS, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {NAME: "images"}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    **{name: value for name, value in template(base).items() if name in SHARED},
                    **confined.POD,
                    # The resident does not hear the signal: it is process 1, which has no handler.
                    "terminationGracePeriodSeconds": 0,
                    "initContainers": [
                        container(f"image-{number}", image, ["true"]) for number, image in enumerate(pulled)
                    ],
                    "containers": [container("resident", resident, ["sleep", "infinity"])],
                },
            },
        },
    }


def template(base: Sequence[Object]) -> dict[str, Any]:
    """Give what the labs' template says of a pod."""
    found = config_maps(base).get(Key(SYSTEM, "lab"))
    spec: dict[str, Any] = yaml.safe_load(found["data"]["pod.yaml"])["spec"] if found else {}
    return spec
