"""`python -m jld_compose up|down|status|logs`."""

import argparse
import os
import signal
import sys

from jld_embedded.errors import EX_IOERR, EmbeddedError
from jld_embedded.settings import env_file, make_env_file, unknown
from jld_embedded.up import say

from . import settings
from .develop import FILE, develop
from .logs import logs
from .stack import Stack
from .state import State
from .status import status
from .up import down, up


def main() -> int:
    """Do what the first argument says; every failure is one line on stderr and an exit status."""
    parser = argparse.ArgumentParser(prog="jld_compose", description="The stack in containers")
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("up", help="start what does not run, and wait until all is ready")
    start.add_argument("--dev", action="store_true", help="mount the sources, and restart what changes")
    verbs.add_parser("down", help="end and remove every container of the stack, labs too")
    verbs.add_parser("status", help="show each part, since when it runs and whether it is ready")
    follow = verbs.add_parser("logs", help="follow the logs")
    follow.add_argument("--service", help="only this service; lab for all labs")
    follow.add_argument("--member", help="only this member's lab, and lines that name him")
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        return run(arguments)
    except EmbeddedError as error:
        sys.stderr.write(f"jld_compose: {error}\n")
        return error.status
    except BrokenPipeError:
        # Whoever read this has enough; Python must not fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        sys.stderr.write(f"jld_compose: {error.filename or 'the state folder'}: {error.strerror or error}\n")
        return EX_IOERR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say."""
    if arguments.verb == "up" and make_env_file():
        say(f"your settings are in {env_file()}, made from .env.example")
    stack_settings, user = settings.load()
    if arguments.verb == "up" and (names := unknown()):
        say(f"nothing reads {', '.join(names)} in {env_file()}: see .env.example")
    state = State(stack_settings.state.resolve())
    stack = Stack(stack_settings, state, user)
    match arguments.verb:
        case "up":
            up(stack, state, (FILE,) if arguments.dev else ())
            if arguments.dev:
                develop(stack.project)
        case "down":
            down(stack, state)
        case "logs":
            logs(stack, arguments.service, arguments.member)
        case "status":
            return status(stack)
    return 0


if __name__ == "__main__":
    sys.exit(main())
