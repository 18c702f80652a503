"""`python -m jld_embedded up|down|status|logs`."""

import argparse
import http.client
import os
import signal
import sys

from . import settings
from .errors import EX_IOERR, EmbeddedError
from .logs import logs
from .services import Stack
from .state import State
from .status import status
from .up import down, say, up


def main() -> int:
    """Do what the first argument says; every failure is one line on stderr and an exit status."""
    parser = argparse.ArgumentParser(prog="jld_embedded", description="The embedded stack")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="start what does not run, and wait until all is ready")
    verbs.add_parser("down", help="end every process of the stack")
    verbs.add_parser("status", help="show each part, since when it runs and whether it is ready")
    follow = verbs.add_parser("logs", help="follow the logs")
    follow.add_argument("--service", help="only this service; lab for all labs")
    follow.add_argument("--member", help="only this member's lab, and lines that name him")
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        return run(arguments)
    except EmbeddedError as error:
        sys.stderr.write(f"jld_embedded: {error}\n")
        return error.status
    except BrokenPipeError:
        # Whoever read this has enough; Python must not fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (OSError, http.client.HTTPException) as error:
        where = getattr(error, "filename", None) or "the state folder or supervisord"
        sys.stderr.write(f"jld_embedded: {where}: {getattr(error, 'strerror', None) or error}\n")
        return EX_IOERR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say."""
    if arguments.verb == "up" and settings.make_env_file():
        say(f"your settings are in {settings.env_file()}, made from .env.example")
    stack_settings, user = settings.load()
    if arguments.verb == "up" and (names := settings.unknown()):
        say(f"nothing reads {', '.join(names)} in {settings.env_file()}: see .env.example")
    state = State(stack_settings.state.resolve())
    stack = Stack(stack_settings, state, state.run() or state.root, user)
    match arguments.verb:
        case "up":
            up(stack_settings, state, user)
        case "down":
            down(state)
        case "logs":
            logs(state, stack, arguments.service, arguments.member)
        case "status":
            return status(state, stack.services())
    return 0


if __name__ == "__main__":
    sys.exit(main())
