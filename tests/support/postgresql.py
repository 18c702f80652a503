"""A real PostgreSQL on this machine, for the hub."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from stack import until

USER = "nobody"
"""PostgreSQL refuses to be root."""

PASSWORD = "a-well-known-password"


def programs() -> Path | None:
    """Find PostgreSQL's programs, which Debian keeps off the path."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Database:
    """PostgreSQL with a database `hub` of the user `hub`.

    Args:
        folder: Of its data; made.
        host: Address that it listens on.
        port: TCP port.
    """

    def __init__(self, folder: Path, host: str, port: int = 5432) -> None:
        found = programs()
        assert found, "PostgreSQL is needed"
        self.programs = found
        self.folder = folder
        self.host = host
        self.port = port
        self.url = f"postgresql+psycopg://hub:{PASSWORD}@{host}:{port}/hub"

    def _as_user(self, program: str, *words: str) -> list[str]:
        return ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", str(self.programs / program), *words]

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Make it, run it, and remove it."""
        self.folder.mkdir(mode=0o700)
        shutil.chown(self.folder, USER, "nogroup")
        data = f"--pgdata={self.folder}/data"
        subprocess.run(
            self._as_user("initdb", data, "--auth=trust", "--username=owner"), check=True, capture_output=True
        )
        with (self.folder / "data/pg_hba.conf").open("a") as rules:
            rules.write("host hub hub all scram-sha-256\n")
        serve = self._as_user(
            "postgres", "-D", f"{self.folder}/data", "-h", self.host, "-p", str(self.port), "-k", str(self.folder)
        )
        with (self.folder / "log").open("wb") as log, subprocess.Popen(serve, stdout=log, stderr=log) as server:
            try:
                until("PostgreSQL answers", lambda: self.ask("select 1", "postgres"))
                self.ask(f"create user hub password '{PASSWORD}'", "postgres")
                self.ask("create database hub owner hub", "postgres")
                yield self
            finally:
                server.terminate()
                server.wait(30)
                shutil.rmtree(self.folder)

    def ask(self, query: str, database: str = "hub") -> str:
        """Run a query as its owner, and return what it gives."""
        words = ("-h", str(self.folder), "-p", str(self.port), "-U", "owner", "-d", database, "-Atc", query)
        done = subprocess.run([self.programs / "psql", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip() or "nothing"
