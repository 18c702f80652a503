"""Which kernels there are, and what a member is told when the stack is missing."""

from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from tornado.web import HTTPError
from traitlets import Unicode

NAME = "lsst_stack"
KERNELS = Path(__file__).with_name("kernels")


class Kernels(KernelSpecManager):
    """LSST_Stack and the member's own kernels; not the server's Python, which has nothing in it to work with."""

    ensure_native_kernel = False

    def _kernel_dirs_default(self) -> list[str]:
        return [str(KERNELS), str(Path.home() / ".local/share/jupyter/kernels")]


class StackKernelManager(ServerKernelManager):
    """Starts kernels, and says in a sentence why LSST_Stack cannot be started."""

    stack_dir = Unicode(help="folder that holds the stack's loadLSST.bash").tag(config=True)

    async def _async_pre_start_kernel(self, **kwargs: Any) -> Any:
        script = Path(self.stack_dir) / "loadLSST.bash"
        if self.kernel_name.lower() == NAME and not script.is_file():
            self.log.error("LSST_Stack cannot be started: there is no %s", script)
            raise HTTPError(503, f"The LSST stack is missing here: there is no {script}. Tell your operator.")
        return await super()._async_pre_start_kernel(**kwargs)
