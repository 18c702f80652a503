"""`make up DEV=1`: restart what runs a component's sources when they change."""

import queue
import time
from collections.abc import Mapping
from pathlib import Path

import yaml
from jld_embedded.settings import CHECKOUT
from jld_embedded.up import say
from watchdog.events import (
    EVENT_TYPE_CREATED,
    EVENT_TYPE_DELETED,
    EVENT_TYPE_MODIFIED,
    EVENT_TYPE_MOVED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from dev.images import ImageError, build

from .engine import EngineError, docker
from .state import image

FILE = CHECKOUT / "dev/compose/dev.yaml"

LAB = CHECKOUT / "lab/jld_lab"
"""Labs are not Compose's: their image is built anew, and the next lab has it."""

QUIET = 0.3
"""Seconds without a further change after which a restart begins: editors and git write files in bursts."""

CHANGES = {EVENT_TYPE_CREATED, EVENT_TYPE_DELETED, EVENT_TYPE_MODIFIED, EVENT_TYPE_MOVED}


def sources() -> Mapping[Path, list[str]]:
    """Tell which services run which sources, as dev.yaml mounts them."""
    found: dict[Path, list[str]] = {}
    for service, described in yaml.safe_load(FILE.read_text())["services"].items():
        for volume in described["volumes"]:
            found.setdefault(CHECKOUT / volume.partition(":")[0], []).append(service)
    return found


class Notes(FileSystemEventHandler):
    """Notes the folder of each change that matters.

    Args:
        folder: that is watched.
        changed: where to note it.
    """

    def __init__(self, folder: Path, changed: queue.Queue[Path]) -> None:
        self.folder = folder
        self.changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a change; bytecode is none."""
        if event.event_type in CHANGES and not event.is_directory and "__pycache__" not in str(event.src_path):
            self.changed.put(self.folder)


def develop(project: str) -> None:
    """Watch the sources until interrupted; the stack goes on then.

    Args:
        project: name of the stack.
    """
    running = sources()
    changed: queue.Queue[Path] = queue.Queue()
    observer = Observer()
    for folder in (*running, LAB):
        observer.schedule(Notes(folder, changed), str(folder), recursive=True)
    observer.start()
    say("\nwatching the sources; Ctrl-C ends that, and the stack goes on")
    try:
        while True:
            for folder in sorted(gather(changed)):
                take(folder, running, project)
    except KeyboardInterrupt:
        say("")
    finally:
        observer.stop()
        observer.join()


def gather(changed: queue.Queue[Path]) -> set[Path]:
    """Wait for a change, and for the end of its burst."""
    found = {changed.get()}
    while True:
        try:
            found.add(changed.get(timeout=QUIET))
        except queue.Empty:
            return found


def take(folder: Path, running: Mapping[Path, list[str]], project: str) -> None:
    """Have the changed sources of a folder run."""
    begun = time.monotonic()
    what = "the image of labs" if folder == LAB else ", ".join(running[folder])
    try:
        if folder == LAB:
            build(image("lab"))
        else:
            docker("restart", "--time", "5", *(f"{project}-{service}-1" for service in running[folder]))
    except (EngineError, ImageError) as error:
        say(f"{folder.name} changed: {error}")
        return
    say(f"{folder.name} changed: {what} renewed in {time.monotonic() - begun:.1f} s")
