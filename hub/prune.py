# ruff: noqa: INP001 - a program of the image's build, no package
"""Leave of the Kubernetes client what KubeSpawner uses: one API group of 60, and the models that it names.

The client is generated from the whole of Kubernetes' API: 46 MB of modules, all of which its packages import at once.
Run it with the interpreter whose packages are to be pruned, when the image is built.
"""

import compileall
import re
from importlib.util import cache_from_source, find_spec
from pathlib import Path

APIS = {"core_v1_api"}
"""Of the client's API groups: pods, events and secrets are in it."""

IMPORT = re.compile(r"^from kubernetes_asyncio\.client\.(api|models)\.(\w+) import (\w+)$", re.MULTILINE)


def package(name: str) -> Path:
    """Return the folder of a package, without importing it."""
    spec = find_spec(name)
    assert spec is not None, name  # noqa: S101 - the lock has it
    assert spec.origin is not None, name  # noqa: S101 - as above
    return Path(spec.origin).parent


def names(text: str) -> set[str]:
    """Return the words of a source, or of the types in it, that can be a model's name."""
    return set(re.findall(r"\b[A-Z]\w+", text))


def main() -> None:
    """Remove the other modules, and from the packages the lines that import them."""
    client = package("kubernetes_asyncio") / "client"
    models = {model: module for _, module, model in IMPORT.findall((client / "models" / "__init__.py").read_text())}
    wanted = set().union(*(names(file.read_text()) for file in package("kubespawner").glob("*.py")))
    reached: set[str] = set()
    while more := (wanted & models.keys()) - reached:
        reached |= more
        wanted = set().union(*(names((client / "models" / f"{models[model]}.py").read_text()) for model in more))
    kept = APIS | {models[model] for model in reached}
    for file in (*client.glob("api/*.py"), *client.glob("models/*.py")):
        if file.stem not in kept and file.stem != "__init__":
            Path(cache_from_source(str(file))).unlink(missing_ok=True)
            file.unlink()
    for file in (client / "__init__.py", client / "api" / "__init__.py", client / "models" / "__init__.py"):
        file.write_text(IMPORT.sub(lambda line: line[0] if line[2] in kept else "", file.read_text()))
        compileall.compile_file(file, quiet=1)


if __name__ == "__main__":
    main()
