"""A log line's way: from whoever writes it to the broker, whatever dies meanwhile."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from broker import Arrivals, arrivals
from member import SECRETS, Kernel, Lab, Member
from stack import CHECKOUT, Stack, Writer, until

IN_TIME = 2.0
"""Seconds from a cell to the broker, at the most."""

FAILURES = ["broker", "logstash", "filebeat"]


@pytest.fixture(scope="module")
def arrived(stack: Stack) -> Iterator[Arrivals]:
    """Collect all that has arrived at the broker since the stack's first start."""
    with arrivals(stack.broker()) as reader:
        until("events arrive", lambda: reader.events, seconds=60)
        yield reader


def shout(kernel: Kernel, line: str) -> None:
    """Print to the lab server's log from a cell."""
    kernel.run(f"import sys; print({line!r}, file=sys.__stderr__, flush=True)")


def test_line_of_a_cell_is_at_the_broker_in_time(stack: Stack, lab: Lab, arrived: Arrivals) -> None:
    """A line that a cell prints to the server's log is at the broker within 2 s, with all that says whose it is."""
    with lab.kernel() as kernel:
        shout(kernel, "warm")
        # Before it come the lines of whatever tests have run.
        until("the first line", lambda: any("warm" in line for line in arrived.messages), seconds=90)
        begun = time.monotonic()
        shout(kernel, "a line of alice's")
        found = until("the line", lambda: [n for n, line in enumerate(arrived.messages) if "a line of alice's" in line])
        assert time.monotonic() - begun < IN_TIME
    event, properties = arrived.events[found[0]], arrived.properties[found[0]]
    message = json.loads(event["message"])
    assert (message["message"], message["service"], message["user"]) == ("a line of alice's", "lab", "alice")
    assert stack.origin(event) == ("lab", "alice")
    assert event["log"]["file"]["path"].endswith(".log")
    assert event["shipper"] == arrived.keys[found[0]] == "jupyterlabdemo"
    assert event["shipper_certificate"] == "filebeat"
    assert event["host"]["name"]
    assert event["event"]["id"] == properties.message_id
    assert event["event"]["id"].endswith(f"-{event['log']['offset']}")
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"
    assert abs(time.time() - properties.timestamp) < 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z", event["@timestamp"])
    assert "@metadata" not in event


def test_make_logs_shows_it_in_time(stack: Stack, lab: Lab) -> None:
    """`make logs` with both filters shows the line of a cell within 2 s, with service and member, and nobody else's."""
    command = [*stack.words("logs"), "service=lab", "member=alice"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=stack.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as logs:
        assert logs.stdout
        try:
            with lab.kernel() as kernel:
                shout(kernel, "first of these")
                shown = list(itertools.takewhile(lambda line: "first of these" not in line, logs.stdout))
                begun = time.monotonic()
                shout(kernel, "second of these")
                line = next(line for line in logs.stdout if "second of these" in line)
                assert time.monotonic() - begun < IN_TIME
        finally:
            os.killpg(logs.pid, signal.SIGINT)
    # A cluster names the pod and its container.
    assert re.fullmatch(r"lab(-alice/lab)? +\d\d:\d\d:\d\d\.\d{3} INFO \[alice\] second of these\n", line)
    assert all(re.match(r"lab(-alice/lab)? .*\[alice\]", line) for line in shown)


def test_every_service_is_at_the_broker(stack: Stack, arrived: Arrivals) -> None:
    """Lines of every part of the stack arrive."""
    parts = {"hub", "github", "fileserver", "keepalive", "nginx", "filebeat", "logstash", "broker"}

    def seen() -> set[str]:
        return {stack.origin(event)[0] for event in arrived.events}

    stack.get("/hub/login")
    until("a line of each", lambda: parts <= seen())


def kill(stack: Stack, part: str) -> None:
    """Kill a part with -9 and wait until another has taken its place."""
    pid = stack.pid(part)
    os.kill(pid, signal.SIGKILL)
    # Kubernetes waits longer each time.
    until(f"{part} is back", lambda: stack.pid(part) != pid, seconds=90)
    until(f"{part} is ready", stack.is_ready, seconds=60)


def test_nothing_is_lost_when_parts_are_killed(stack: Stack, lab: Lab, arrived: Arrivals, writer: Writer) -> None:
    """Shipper, collector and broker are killed with -9 while lines are written and logs rotate: all arrive, once by id.

    Repeats have the id of the first, and no two lines share one.
    """
    with lab.kernel() as kernel:
        kernel.run(
            "import sys, threading, time\ngoing = True\ncount = 0\ndef go():\n    global count\n    while going:\n"
            "        print('cell', count, file=sys.__stderr__, flush=True)\n"
            "        count += 1\n        time.sleep(0.01)\n"
            "shouting = threading.Thread(target=go)\nshouting.start()"
        )
        for part in [*FAILURES, *reversed(FAILURES)]:
            kill(stack, part)
        # The kernel shows what is written to its descriptors as well, maybe the last line here.
        told = re.search(r"(\d+) in all", kernel.run("going = False\nshouting.join()\nf'{count} in all'"))
    assert told
    count = int(told[1])
    written = writer.end()
    expected = {f"cell {number}" for number in range(count)} | set(written)
    assert count > 100
    assert len(written) > 1000

    def lines() -> list[tuple[str, str]]:
        """Give line and id of what arrived of the two, repeats too."""
        found = []
        for event in list(arrived.events):
            text = event["message"]
            if stack.origin(event)[0] == "lab" and text.startswith("{"):
                text = json.loads(text)["message"]
            if text.startswith(("cell ", writer.mark)):
                found.append((text, event["event"]["id"]))
        return found

    def missing() -> set[str]:
        return expected - {line for line, _ in lines()}

    until("every line is at the broker", lambda: not missing(), seconds=90)
    distinct = set(lines())
    assert len(distinct) == len({line for line, _ in distinct}) == len({event for _, event in distinct})
    assert {line for line, _ in distinct} == expected


def test_no_secret_of_the_run_is_in_an_event(stack: Stack, alice: Member, lab: Lab, arrived: Arrivals) -> None:
    """No password, token, cookie, key or code of the whole run is in any event; conftest has this run last."""
    with lab.kernel() as kernel:
        shout(kernel, "the end")
    until("the last line", lambda: any("the end" in line for line in arrived.messages))
    alice.note_secrets()
    SECRETS.update(filter(None, (its.get("JUPYTERHUB_API_TOKEN") for its in stack.processes().values())))
    secrets = SECRETS | stack.secrets()
    events = "\n".join(json.dumps(event) for event in arrived.events)
    assert not [secret[:4] for secret in secrets if secret in events]
    assert not re.findall(r"gho_\w+|[?&](?:code|state|token)=(?!\*\*\*)\w+", events)
    assert "oauth_callback" in events
