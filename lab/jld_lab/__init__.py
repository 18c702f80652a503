"""JupyterLab for one member: entry point, kernel and announcement."""


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Name the two server extensions of this package, as Jupyter Server asks for them."""
    from .frontend import Lab  # noqa: PLC0415 - stack.py runs on a bare interpreter, without Jupyter
    from .server import SingleUser  # noqa: PLC0415 - as above

    return [{"module": __name__, "app": SingleUser}, {"module": __name__, "app": Lab}]
