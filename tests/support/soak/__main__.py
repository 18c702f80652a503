"""Looks for lost lines: `python -m soak --rounds 20`; needs root, or a kernel that lets anybody make namespaces.

All of it runs with a network, mounts and processes of its own, which are gone with it, whatever ends it.
"""

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from . import collector, shipper
from .disturbances import Turn, all_of, deal, turns
from .rig import Rig

NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")

PROGRAMS = {"unshare": "util-linux", "ip": "iproute2", "iptables": "iptables", "erl_call": "rabbitmq-server"}
"""What is needed of the machine, and which package has it."""

MUTANTS = sorted({*collector.LATE_SECONDS, *collector.MUTANTS, *shipper.MUTANTS})


def main() -> int:
    """Run the rounds, and give the exit status: 0 when nothing is lost or wrong, 1 when something is."""
    parser = argparse.ArgumentParser(prog="soak", description="Disturb the pipeline of logs, and look for lost lines.")
    parser.add_argument("--rounds", type=int, default=20, help="how many; the default is %(default)s")
    parser.add_argument("--seed", help="what all chance comes from; a random one unless it is given")
    parser.add_argument("--only", help="names of disturbances with commas between; all unless they are given")
    parser.add_argument("--mutant", default="", choices=MUTANTS, help="how to break shipper or collector on purpose")
    parser.add_argument("--folder", default="/var/tmp", help="where to keep everything; %(default)s unless it is given")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: should be 1 or more")
    if not Path(options.folder).is_dir():
        parser.error(f"--folder {options.folder}: should be a folder")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            parser.error(f"{program} is needed (Debian: apt install {package})")
    if not options.inside:
        user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        os.execvp(
            "unshare", ["unshare", *user, *NAMESPACES, sys.executable, "-P", "-m", "soak", "--inside", *sys.argv[1:]]
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(tempfile.mkdtemp(prefix="jld-soak-", dir=options.folder))
    try:
        wrong = run(options, folder)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        say("\nstopped\n")
        return 130
    if not wrong:
        shutil.rmtree(folder)
        return 0
    say("".join(f"{line}\n" for line in wrong))
    say(f"{folder} has what each part said and kept; tests/soak/README.md tells how to read it\n")
    return 1


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Set all of it up in a folder, play, and say what is wrong."""
    seed = options.seed or secrets.token_hex(4)
    say(f"seed {seed}, {options.rounds} rounds, in {folder}\n")
    with Rig(folder, random.Random(seed), options.mutant) as rig:
        wrong = play(rig, options.rounds, options.only.split(",") if options.only else [])
        if wrong:
            wrong.append(f"seed {seed}")
            rig.keep()
    return wrong


def say(text: str) -> None:
    """Tell whoever watches."""
    print(text, end="", flush=True)  # noqa: T201 # that is what it is for


def play(rig: Rig, rounds: int, only: list[str]) -> list[str]:
    """Play rounds until something is wrong, and say what."""
    known = all_of(rig)
    disturbances = [found for found in known if not only or found.name in only]
    if not {found.name for found in disturbances} >= set(only):
        return [f"--only: should be some of {', '.join(found.name for found in known)}"]
    timeline = rig.folder / "timeline"
    for number, dealt in enumerate(islice(deal(disturbances, rig.chance), rounds), 1):
        names = " ".join(found.name for found in dealt)
        say(f"{number}/{rounds}: {names}")
        before = rig.ledger.repeats
        rig.writers.begin()
        disturb(turns(dealt, rig.chance), timeline)
        written = rig.writers.end()
        healed = time.monotonic()
        try:
            rig.heal()
            healed = time.monotonic()
            wrong = rig.check(written)
        except AssertionError as error:
            wrong = [str(error)]
        seconds = time.monotonic() - healed
        repeats = rig.ledger.repeats - before
        say(f": {sum(written.values())} lines by now, {repeats} repeats, decided after {seconds:.1f} s\n")
        if wrong:
            return wrong
        rig.writers.prune()
    return last_look(rig)


def last_look(rig: Rig) -> list[str]:
    """Say what arrived, that should not have, when the last round was decided already."""
    try:
        return rig.last_look()
    except AssertionError as error:
        return [str(error)]


def disturb(turns: list[Turn], timeline: Path) -> None:
    """Do each thing when its time has come.

    Args:
        turns: what, in the order of time.
        timeline: the file that is told what was done when.
    """
    begin = time.monotonic()
    with timeline.open("a") as told:
        for turn in turns:
            time.sleep(max(0, begin + turn.at - time.monotonic()))
            result = turn.act()
            print(f"{time.strftime('%H:%M:%S')} {turn.at:.2f} {turn.name} {result or ''}", file=told, flush=True)


if __name__ == "__main__":
    sys.exit(main())
