"""The programs that ours are compared with and have to get on with: versions, and how each is had, once a machine."""

from .cache import PeerError
from .debian import syslog_ng
from .go import FILEBEAT, elastic_is_missing, filebeat, receiver, sender
from .java import PERF_TEST, perf_test

__all__ = [
    "FILEBEAT",
    "PERF_TEST",
    "PeerError",
    "elastic_is_missing",
    "filebeat",
    "perf_test",
    "receiver",
    "sender",
    "syslog_ng",
]
