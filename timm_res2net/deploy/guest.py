"""Export and load are guests in somebody's process: its settings are its own again afterwards, nothing is printed.

And nothing is sent over the network.
"""
import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from typing import Any, Iterator, List, TextIO, cast

import torch

from ..model.together import Together, unwarned

_LOGGERS = (  # that speak of the insides of exporters, of which a user can change nothing
    'torch.utils.cpp_extension', 'torch.utils._pytree', 'torch._inductor.package.package', 'torch.export',
    'torch.fx.experimental.symbolic_shapes', 'nncf')
alone = threading.RLock()  # held by whoever traces, or loads what was traced: torch can do it for one thread at a time


@contextlib.contextmanager
def settings_of_export(device: str, threads: int) -> Iterator[None]:
    """What changes a file or what it is compared with, as in a fresh process; inductor freezes only without gradients.

    Most of it is the whole process's, so that exports of several threads wait for each other.

    Args:
        device: Type of the device that the model is on.
        threads: Of torch; it lays weights out for them.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone)
        dtype, default = torch.get_default_dtype(), torch.get_default_device()
        deterministic, only_warn = (
            torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in {'cpu', device}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if default.type != 'cpu':
            stack.enter_context(torch.device('cpu'))
        stack.enter_context(torch.backends.mkldnn.flags(enabled=True))
        stack.callback(sys.setrecursionlimit, sys.getrecursionlimit())  # which inductor doubles
        stack.callback(torch.set_default_dtype, dtype)
        stack.callback(torch.use_deterministic_algorithms, deterministic, warn_only=only_warn)
        if threads != torch.get_num_threads():
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
        yield


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No warnings and log lines of the engines about themselves, and no handlers that they leave on the root logger."""
    root, placeholder = logging.getLogger(), logging.NullHandler()
    loggers = {logger: logger.level for logger in map(logging.getLogger, _LOGGERS)}
    root.addHandler(placeholder)  # without any, the first line that is logged through it brings one to stderr
    root.addFilter(_not_onnxruntime)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with unwarned:
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
        root.removeFilter(_not_onnxruntime)
        root.removeHandler(placeholder)


quiet = Together(_silence)


class _OfOtherThreads:
    """A stream without what the thread that makes this writes to it."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self.thread else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def unprinted() -> Iterator[None]:
    """Nothing that this thread prints on stderr, such as a graph of hundreds of lines where an export fails."""
    with contextlib.redirect_stderr(cast(TextIO, _OfOtherThreads(sys.stderr))):
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends what is done here: at once, or else at its end.

    What a handler of signals raises is lost where it comes while Python calls back from C, to take a dead object out of
    a dictionary say, as happens all the time while torch traces; and torch makes other errors of it.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    raised: List[BaseException] = []
    lost = sys.unraisablehook

    def noted(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            raised.append(error)
            raise
    signal.signal(signal.SIGINT, noted)
    sys.unraisablehook = lambda what: None if what.exc_value in raised else lost(what)
    try:
        yield
    except Exception:
        if not raised:
            raise
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = lost
    if raised:
        raise raised[-1]


class _Stack(ctypes.Structure):
    """C's stack_t, as Linux has it."""

    _fields_ = [('ss_sp', ctypes.c_void_p), ('ss_flags', ctypes.c_int), ('ss_size', ctypes.c_size_t)]


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Leave this thread the stack for signals that it had, if any.

    A model of OpenVINO's puts one of its own there when it is compiled, and the one before it back when it goes. Of two
    models the later may so put back what went with the earlier, and the next signal, Ctrl-C say, kills the process.
    """
    if sys.platform != 'linux':
        yield
        return
    sigaltstack, before = ctypes.CDLL(None).sigaltstack, _Stack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)


def _not_onnxruntime(record: logging.LogRecord) -> bool:
    return 'onnxruntime' not in record.pathname


@contextlib.contextmanager
def telemetry_refused(package: str) -> Iterator[None]:
    """Engines report their use to a server unless told not to when they are imported; here, unless told to."""
    if package in ('openvino', 'nncf'):
        _refuse_openvino()
    variable = 'ORT_DISABLE_TELEMETRY'
    if package != 'onnxruntime' or variable in os.environ:
        yield
        return
    os.environ[variable] = '1'  # read once
    try:
        yield
    finally:
        del os.environ[variable]


def _refuse_openvino() -> None:
    """Refuse OpenVINO's telemetry, which NNCF uses too, unless the user has answered for himself, in a file."""
    with contextlib.suppress(ImportError, AttributeError, TypeError):  # not installed, no home, or another version
        import openvino_telemetry
        from openvino_telemetry.utils import opt_in_checker
        with contextlib.suppress(RuntimeError):  # nobody has a home here
            if os.path.exists(opt_in_checker.OptInChecker().consent_file()):
                return  # the user has decided
        opt_in_checker.OptInChecker.check = lambda *_, **__: opt_in_checker.ConsentCheckResult.DECLINED
        with contextlib.suppress(RuntimeError):  # which it is where nobody has used it yet
            openvino_telemetry.Telemetry().consent = False
