"""`python -m jld_hub`: read the settings and run the hub; exit status 78 where one of them is wrong."""

from .settings import load


def main() -> None:
    """Run the hub until a signal ends it."""
    settings = load()
    # Only now: JupyterHub takes a second to import, and a wrong setting should show at once.
    from .app import Hub, configure  # noqa: PLC0415

    Hub.instance(config=configure(settings))
    Hub.launch_instance([])


if __name__ == "__main__":
    main()
