"""What ends a command, each as one line and an exit status (sysexits.h)."""

from jld_embedded.errors import EX_CONFIG, EX_UNAVAILABLE, EmbeddedError

EX_SOFTWARE = 70


class K8sError(EmbeddedError):
    """A command cannot go on; the text is one line that says why and what would be right."""


class ClusterError(K8sError):
    """The cluster does not answer, or not as it should."""

    status = EX_UNAVAILABLE


class SiteError(K8sError):
    """The operator's folder lacks something, or has something wrong."""

    status = EX_CONFIG


class FindingsError(K8sError):
    """The preflight found what must be put right first; it has been printed."""

    status = EX_CONFIG


class RolloutError(K8sError):
    """What was applied does not come to run; what ran before runs again."""


class StrandedError(K8sError):
    """What was applied does not come to run, and what ran before could not be brought back."""

    status = EX_SOFTWARE
