"""What a member has running while a test does something to the stack."""

from cluster import ClusterStack
from containers import ComposeStack
from member import Lab, Member
from stack import until

COUNT = """
import threading, time
count = 0
def go():
    global count
    while True:
        count += 1
        time.sleep(0.01)
threading.Thread(target=go, daemon=True).start()
"""


class Work:
    """What alice has running, which is to go on whatever happens to the stack.

    Args:
        alice: Whose browser is signed in.
        lab: Her lab.
    """

    def __init__(self, stack: ComposeStack | ClusterStack, alice: Member, lab: Lab) -> None:
        self.stack = stack
        self.alice = alice
        self.lab = lab
        assert alice.start_lab().is_success
        self.id = stack.lab_id("alice")
        self.kernel = lab.api("POST", "kernels", json={"name": "LSST_Stack"})["id"]
        with lab.join(self.kernel) as kernel:
            kernel.run(COUNT)
        self.last = self.count()

    def count(self) -> int:
        """Ask the kernel how far it is, over a new connection."""
        with self.lab.join(self.kernel) as kernel:
            return int(kernel.run("count"))

    def goes_on(self) -> None:
        """Assert that the same kernel has counted on, in the same lab, and that nobody has to sign in again."""
        until("the lab answers", lambda: self.lab.api("GET", "status"), seconds=30)
        before, self.last = self.last, self.count()
        assert self.last > before
        assert self.stack.lab_id("alice") == self.id
        home = self.alice.web.get(f"{self.alice.url}/hub/home")
        assert (home.status_code, home.url.path) == (200, "/hub/home")
        assert self.alice.web.get(f"{self.alice.url}/user/alice/lab").url.path == "/user/alice/lab"
