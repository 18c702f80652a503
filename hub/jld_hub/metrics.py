"""What the hub counts beside what JupyterHub does, and shows at the same address."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter
from tornado.httpclient import HTTPClientError

from .access import Refusal
from .github import GitHubUnavailableError, TokenRevokedError
from .identity import UnusableIdError

ANSWERS = Counter(
    "hub_membership_checks",
    "Questions to GitHub whether somebody is a member, by its answer: yes, no, or none, as in an outage.",
    ["answer"],
)
for _answer in ("yes", "no", "none"):  # there before the first event, or an alert would miss that
    ANSWERS.labels(_answer)


@contextmanager
def counted() -> Iterator[None]:
    """Count GitHub's answer to what is asked meanwhile."""
    try:
        yield
    except (Refusal, UnusableIdError, TokenRevokedError):
        ANSWERS.labels("no").inc()
        raise
    except (GitHubUnavailableError, HTTPClientError, OSError) as error:
        is_revoked = isinstance(error, HTTPClientError) and error.code == 401  # noqa: PLR2004
        ANSWERS.labels("no" if is_revoked else "none").inc()
        raise
    ANSWERS.labels("yes").inc()
