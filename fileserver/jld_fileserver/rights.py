"""The capabilities that the NFS server needs.

Without some of them Ganesha would go on, and do the requests of members as root.
"""

import re
from pathlib import Path

NEEDED = {"CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "FSETID": 4, "SETGID": 6, "SETUID": 7}
"""Capabilities and their numbers in linux/capability.h; the component's README says what each is for."""


def missing() -> list[str]:
    """List the needed capabilities that this process has not."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bits = int(effective[1], 16) if effective else 0
    return [f"CAP_{name}" for name, number in NEEDED.items() if not bits >> number & 1]
