"""`python -m jld_github`: run the stand-in."""

import asyncio

from jld_github import log, settings
from jld_github.members import BadMembersFileError, read_directory
from jld_github.server import serve
from jld_github.state import State
from jld_github.tokens import BadTokensFileError, Tokens


def main() -> None:
    """Run until told to end.

    Raises:
        SystemExit: where a setting, the members file or an address prevents the start.
    """
    configuration = settings.load()
    try:
        directory = read_directory(configuration.members_file)
    except BadMembersFileError as error:
        settings.stop("members_file", configuration.members_file, str(error))
    try:
        tokens = Tokens(configuration.tokens_file)
    except BadTokensFileError as error:
        settings.stop("tokens_file", configuration.tokens_file, str(error))
    log.configure()
    asyncio.run(serve(configuration, State(directory, tokens)))


if __name__ == "__main__":
    main()
