"""The stack on a machine that has less: no nginx, no RabbitMQ."""

import json
import time
from collections.abc import Iterator

import pytest
from member import Lab, Member
from stack import EmbeddedStack, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.target("embedded", reason="images bring all programs along"),
]


@pytest.fixture
def own() -> Iterator[EmbeddedStack]:
    """Start a stack that sees neither program, and is not to install them."""
    stack = EmbeddedStack(NO_APT="1")
    hidden = "mount --bind /dev/null $(command -v nginx) && mount --bind /dev/null $(command -v rabbitmq-server)"
    stack.command = ["unshare", "--mount", "sh", "-c", f'{hidden} && exec "$@"', "sh", *stack.command]
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.mark.nginx
@pytest.mark.rabbitmq
def test_without_nginx_and_rabbitmq(own: EmbeddedStack) -> None:
    """It says what is less, serves plain HTTP on the loopback, and has the lines of cells in a file within 2 s."""
    assert "less than all: nginx is not on this machine" in own.output
    assert "less than all: RabbitMQ is not on this machine" in own.output
    assert own.url == f"http://localhost:{own.port}"
    alice = Member(own, "alice")
    alice.sign_in()
    assert alice.start_lab().status_code == 200
    lab = Lab(alice)
    with lab.kernel() as kernel:
        events = own.state / "events.log"
        until("events arrive", events.exists)
        begun = time.monotonic()
        kernel.run("import sys; print('a line of hers', file=sys.__stderr__, flush=True)")
        until("the line is in the file", lambda: "a line of hers" in events.read_text())
        assert time.monotonic() - begun < 2
    found = [json.loads(line) for line in events.read_text().splitlines() if "a line of hers" in line]
    assert [event["log"]["file"]["path"] for event in found] == [str(own.state / "log/labs/alice.log")]
    alice.leave()
