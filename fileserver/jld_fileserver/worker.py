"""File system calls where a hanging file system stops neither the loop nor the exit."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from .errors import StorageError

T = TypeVar("T")


class Worker:
    """Runs one call at a time, each in a daemon thread of its own.

    A thread in a call that hangs cannot be ended. As the next call waits for it, there is never more than one;
    as it is a daemon, the program can end without it (an executor's threads would be waited for).

    Args:
        deadline: time a call may take with the wait for its turn, in seconds.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._turn = asyncio.Lock()

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """Run the call and give its result; what it raises is raised here.

        Raises:
            StorageError: no result within the deadline. The call itself goes on.
        """
        try:
            async with asyncio.timeout(self._deadline):
                await self._turn.acquire()
                return await asyncio.shield(self._start(call, *arguments))
        except TimeoutError as error:
            raise StorageError(f"The storage does not answer within {self._deadline:g} s.") from error

    def _start(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def finish(value: T | None, error: Exception | None) -> None:
            self._turn.release()
            if error is None:
                result.set_result(value)  # type: ignore[arg-type] # no error, so it is the call's value
            else:
                result.set_exception(error)
                result.exception()  # counts as seen, though nobody may wait for it any more

        def work() -> None:
            value, failure = None, None
            try:
                value = call(*arguments)
            except Exception as error:  # noqa: BLE001 handed to the one who waits
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(finish, value, failure)

        threading.Thread(target=work, daemon=True).start()
        return result
