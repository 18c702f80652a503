"""What the tool's own pods have in common, which only stand there or try something: they may do nothing."""

from collections.abc import Mapping
from typing import Any

POD: Mapping[str, Any] = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "runAsGroup": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
"""Part of a pod's specification; with CONTAINER it passes the Pod Security Standard *restricted*."""

CONTAINER: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""A container's securityContext."""
