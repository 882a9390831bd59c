"""Changes to the whole process that several threads want at once."""
import threading
import warnings
from contextlib import ExitStack, contextmanager
from typing import Callable, ContextManager, Iterator


class Together:
    """A change to the whole process: of several threads that are inside, the first made it, the last takes it back."""

    def __init__(self, change: Callable[[], ContextManager[None]]) -> None:
        self.change, self.inside = change, 0
        self.lock, self.made = threading.Lock(), ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.made.enter_context(self.change())
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.made.close()


@contextmanager
def _ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


unwarned = Together(_ignored)  # the one for all: two would put back each other's filters
