"""What a lab is, in one pure description; spawners are thin adapters from it to a process, container or pod."""

import json
from dataclasses import dataclass

from .identity import MOST_ORGANIZATIONS, Identity
from .settings import Settings


@dataclass(frozen=True)
class Folder:
    """A folder of the file server and where the lab sees it.

    Attributes:
        source: Path below the export, such as `homes/4242424`.
        target: Path in the lab, such as `/home/alice`.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Lab:
    """One member's lab.

    Attributes:
        identity: Whose it is, and so its uid, gid and groups.
        image: Image chosen from the menu.
        cpu_limit: CPUs it may use.
        mem_limit: Bytes it may use.
        cpu_guarantee: CPUs a node must have free for it.
        mem_guarantee: Bytes a node must have free for it.
        home: The member's own folder.
        groups: Folders shared with the members of whitelisted organizations.
    """

    identity: Identity
    image: str
    cpu_limit: float
    mem_limit: int
    cpu_guarantee: float
    mem_guarantee: int
    home: Folder
    groups: tuple[Folder, ...]

    @property
    def notices(self) -> list[str]:
        """What the member must be told, in sentences."""
        if not self.identity.left_out:
            return []
        names = ", ".join(organization.login for organization in self.identity.left_out)
        return [f"On shared storage you act in {MOST_ORGANIZATIONS} organizations at most; left out: {names}."]

    def environment(self, notices: list[str]) -> dict[str, str]:
        """Return the lab's own variables, beside JupyterHub's; adapters move paths where theirs differ.

        Args:
            notices: Further sentences for the member.
        """
        login = self.identity.login
        return {
            "USER": login,
            "LOGNAME": login,
            "HOME": self.home.target,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "JUPYTER_IMAGE_SPEC": self.image,
            "LAB_GROUPS": ",".join(f"{group.login}:{group.id}" for group in self.identity.groups),
            "LAB_GROUPS_DIR": "/groups",
            "LAB_NOTICES": json.dumps(self.notices + notices),
        }


def describe(identity: Identity, image: str, settings: Settings) -> Lab:
    """Describe the lab of a member.

    Args:
        identity: The member.
        image: An image of the menu.
        settings: The hub's settings.
    """
    return Lab(
        identity=identity,
        image=image,
        cpu_limit=settings.lab_cpu_limit,
        mem_limit=settings.lab_mem_limit,
        cpu_guarantee=min(settings.lab_cpu_guarantee, settings.lab_cpu_limit),
        mem_guarantee=min(settings.lab_mem_guarantee, settings.lab_mem_limit),
        home=Folder(f"homes/{identity.uid}", f"/home/{identity.login}"),
        groups=tuple(
            Folder(f"groups/{group.id}", f"/groups/{group.login}")
            for group in identity.groups
            if group.login in settings.github_organization_whitelist
        ),
    )
