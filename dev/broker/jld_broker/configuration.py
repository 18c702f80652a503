"""What RabbitMQ reads when it starts: its configuration, who may do what, and its environment.

Names of settings are those of RabbitMQ's guides on configuration, definitions, streams and networking.
"""

import base64
import hashlib
import json
from collections.abc import Mapping

from .settings import Settings

EXCHANGE = QUEUE = "logs"

KEPT = 200_000_000
"""Bytes of events that the queue keeps for readers that come later; the oldest go first."""

SEGMENT = 10_000_000
"""Bytes of one file of the queue, the unit in which the oldest go."""

PLUGINS = "[rabbitmq_prometheus].\n"


def configuration(settings: Settings) -> str:
    """Write rabbitmq.conf: AMQP over TLS only, and log lines with the names that Logstash's v1 format has.

    Definitions that are known are skipped: after a kill RabbitMQ 4.0 would end over a queue that it still recovers.
    """
    state = settings.state_dir
    return f"""\
listeners.tcp = none
listeners.ssl.1 = {settings.host}:{settings.port}
ssl_options.certfile = {settings.certificate_file}
ssl_options.keyfile = {settings.key_file}
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
prometheus.tcp.ip = {settings.host}
prometheus.tcp.port = {settings.metrics_port}
definitions.import_backend = local_filesystem
definitions.local.path = {state / "definitions.json"}
definitions.skip_if_unchanged = true
log.file = false
log.console = true
log.console.level = info
log.console.formatter = json
log.console.formatter.time_format = rfc3339_T
log.console.formatter.json.field_map = time:@timestamp level:level msg:message *:-
"""


def definitions(settings: Settings) -> str:
    """Write what exists, and who may do what with it: the one publishes, the other reads.

    The queue is a stream: it keeps what was read, so that every reader sees all of it.
    """

    def user(name: str, password: str) -> dict[str, object]:
        return {
            "name": name,
            "password_hash": password_hash(name, password),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": "",
        }

    def permission(name: str, **patterns: str) -> dict[str, str]:
        return {"user": name, "vhost": "/", "configure": "^$", "write": "^$", "read": "^$", **patterns}

    return json.dumps(
        {
            "vhosts": [{"name": "/"}],
            "users": [
                user("logstash", settings.publisher_password.get_secret_value()),
                user("reader", settings.reader_password.get_secret_value()),
            ],
            "permissions": [
                permission("logstash", write=f"^{EXCHANGE}$"),
                permission("reader", read=f"^{QUEUE}$"),
            ],
            "exchanges": [
                {
                    "name": EXCHANGE,
                    "vhost": "/",
                    "type": "topic",
                    "durable": True,
                    "auto_delete": False,
                    "internal": False,
                    "arguments": {},
                }
            ],
            "queues": [
                {
                    "name": QUEUE,
                    "vhost": "/",
                    "durable": True,
                    "auto_delete": False,
                    "arguments": {
                        "x-queue-type": "stream",
                        "x-max-length-bytes": KEPT,
                        "x-stream-max-segment-size-bytes": SEGMENT,
                    },
                }
            ],
            "bindings": [
                {
                    "source": EXCHANGE,
                    "vhost": "/",
                    "destination": QUEUE,
                    "destination_type": "queue",
                    "routing_key": "#",
                    "arguments": {},
                }
            ],
        },
        indent=1,
    )


def password_hash(name: str, password: str) -> str:
    """Hash a password as RabbitMQ's guide on passwords has it: base64 of a salt of 32 bits and the salted SHA-256.

    The salt follows from name and password, so that the definitions are the same at each start. It guards nothing:
    these passwords are random.
    """
    salt = hashlib.sha256(f"{name}:{password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Put RabbitMQ's environment together; nothing of the distribution's own instance is read or written.

    Args:
        settings: the settings.
        inherited: this process's environment; what is secret or not RabbitMQ's stays behind.
    """
    state = settings.state_dir
    kept = {name: value for name, value in inherited.items() if not name.startswith(("BROKER_", "RABBITMQ_", "ERL_"))}
    return kept | {
        "HOME": str(state),  # of the cookie
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(state / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(state / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(state / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(state / "messages"),
        "RABBITMQ_LOG_BASE": str(state / "log"),
        "RABBITMQ_DIST_PORT": str(settings.node_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(settings.epmd_port),
        # Makes the start script become the server, which takes SIGTERM itself, instead of staying as its parent.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
