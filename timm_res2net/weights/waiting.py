"""A call in a thread, for who waits a bounded time: nothing in Python ends a read that goes on byte by byte."""
import threading
from concurrent.futures import Future
from typing import Any, Callable


def started(call: Callable[[], Any]) -> Future:
    """The future of a call, which is on its way. A thread that is left behind does not keep the process alive."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
    threading.Thread(target=run, daemon=True).start()
    return future
