"""Time, of the processor, and memory that a test may take."""
import contextlib
import resource
import signal


class TooLong(BaseException):
    """Not an Exception: what is loaded may take those for damage."""


@contextlib.contextmanager
def bounded(seconds=20, megabytes=200):
    """A hang becomes an error, and so does memory beyond what a small file and a small network need."""
    def stop(*_):
        raise TooLong(f'it has not ended after {seconds} s')
    before, old = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert used < megabytes, f'{used:.0f} MB'
