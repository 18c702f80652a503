"""Write RabbitMQ's configuration and become RabbitMQ."""

import os
import secrets
import shutil
import sys
from pathlib import Path

from .configuration import PLUGINS, configuration, definitions, environment
from .errors import BrokerError, MissingError, StateError
from .settings import Settings

PROGRAMS = "/usr/lib/rabbitmq/bin"
"""Where Debian has the programs themselves; those of the same name in /usr/sbin insist on their own user."""


def main() -> None:
    """Start the broker; this process becomes it."""
    os.umask(0o077)
    try:
        settings = Settings.load()
        server = shutil.which("rabbitmq-server", path=f"{PROGRAMS}:{os.environ.get('PATH', os.defpath)}")
        if not server:
            raise MissingError("rabbitmq-server is not on PATH (Debian, Ubuntu: apt install rabbitmq-server)")
        prepare(settings)
        os.execve(server, [server], environment(settings, os.environ))  # noqa: S606 - what was found above
    except BrokerError as error:
        sys.stderr.write(f"jld_broker: {error}\n")
        sys.exit(error.status)


def prepare(settings: Settings) -> None:
    """Write what RabbitMQ reads; all of it is made anew at each start but the cookie of RabbitMQ's own commands.

    Raises:
        StateError: where the folder cannot be written.
    """
    state = settings.state_dir
    texts = {
        "rabbitmq.conf": configuration(settings),
        "definitions.json": definitions(settings),
        "enabled_plugins": PLUGINS,
    }
    try:
        state.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (state / name).write_text(text)
        keep_cookie(state / ".erlang.cookie")
    except OSError as error:
        raise StateError(f"BROKER_STATE_DIR={state}: {error.filename or state}: {error.strerror}") from error


def keep_cookie(path: Path) -> None:
    """Make the secret of RabbitMQ's own commands, where it is missing: what Erlang makes by itself can be guessed."""
    if not path.exists():
        aside = path.with_suffix(".new")
        aside.write_text(secrets.token_hex(32))
        aside.chmod(0o400)
        aside.replace(path)


if __name__ == "__main__":
    main()
