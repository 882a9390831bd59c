"""What all commands share: parser, errors in one line, interrupts, closed pipes, files to be written, progress."""
import argparse
import errno
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterable, Iterator, List, Mapping, Sequence, Union


class Refusal(Exception):
    """Something that the user can put right, in one line that speaks the command's language.

    Attributes:
        code: The exit code: 2 where nothing could be done, 1 where it was done and found wanting.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code.

    0: done. 1: done in part or found wanting (an unreadable image among many, an export that does not agree). 2:
    nothing could be done. 130: stopped by Ctrl-C. 141: whoever read the output has gone. 129, 143: its terminal closed,
    or it was told to end (SIGTERM): it ends as by Ctrl-C, so that nothing half-done stays.

    Raises:
        SystemExit: argparse's, after help or wrong usage.
    """
    for stream, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, stream) is None:  # closed by the shell, >&-
            setattr(sys, stream, open(os.devnull, mode, encoding='utf-8'))  # noqa: SIM115  until the end
    if getattr(sys.stdout, 'errors', '') == 'strict' and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # names that the terminal has no letters for
    return ending_quietly(partial(_run, name, arguments))


def ending_quietly(run: Callable[[], int]) -> int:
    """What `run` returns, 128 and the signal that stops it with a word, 141 where nobody reads its output any more."""
    told: List[int] = []
    try:
        try:
            with _as_ctrl_c(told):
                return run()
        finally:
            if sys.stdout is not None:  # closed by the shell, of a script that runs through the package
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        return 141
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be gone
            print('stopped', file=sys.stderr)
        return 128 + (told[0] if told else signal.SIGINT)


@contextmanager
def _as_ctrl_c(told: List[int]) -> Iterator[None]:
    """A signal that would end the process at once interrupts it as Ctrl-C does, and is noted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def interrupt(number: int, frame: Any) -> None:
        if os.getpid() != process:  # forked, such as a process that loads images
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        told.append(number)
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(number, frame)

    names = ('SIGTERM', 'SIGHUP')  # Windows has no SIGHUP; what is ignored (nohup) stays so
    ending = [n for n in (getattr(signal, name, None) for name in names) if n and signal.getsignal(n) == signal.SIG_DFL]
    for number in ending:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def _run(name: str, arguments: Sequence[str]) -> int:
    module = import_module(f'timm_res2net.commands.{name.replace("-", "_")}')
    parser = argparse.ArgumentParser(
        prog=f'timm-res2net {name}', description=module.__doc__, epilog=f'example: {module.EXAMPLE}',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    parser.add_argument(
        '--import', dest='modules', action='append', default=[], metavar='MODULE',
        help='import this first, such as one that registers variants of your own')
    args = parser.parse_args(arguments)
    try:
        if args.modules:
            sys.path.insert(0, os.getcwd())  # as `python -m` would
        for imported in args.modules:
            _import(imported)
        return module.run(args)
    except Refusal as error:
        return _say(error, module, parser, error.code)
    except BrokenPipeError:
        raise
    except (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:  # of timm, the Hub
        return _say(error, module, parser, 2)


def _import(name: str) -> None:
    """A module of the user's; what goes wrong in it is told as his."""
    try:
        import_module(name)
    except Exception as error:
        raise Refusal(f'--import {name}: {type(error).__name__}: {error}') from error


def _say(error: Exception, module: ModuleType, parser: argparse.ArgumentParser, code: int) -> int:
    warn(f'error: {in_options(message_of(error), parser, getattr(module, "WORDS", {}))}')
    return code


def message_of(error: Exception) -> str:
    """What an error says, in one line; one of the system's says the file and what is the matter with it."""
    message = str(error)
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # every file that was not copied
        _, target, message = error.args[0][0]
        message = f'{target}: {message}'
    elif isinstance(error, OSError) and error.strerror:
        said = f'{error.strerror[0].lower()}{error.strerror[1:]}'
        message = f'{error.filename}: {said}' if error.filename is not None else f'{said}: nothing was written' if (
            error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)) else message
    return ' '.join(message.split()) or type(error).__name__


def in_options(message: str, parser: argparse.ArgumentParser, words: Mapping[str, str] = {}) -> str:
    """A message of the library in the language of a command: `overwrite=True` becomes `--overwrite`.

    Args:
        words: What a command says in its own words, such as advice that it cannot follow.
    """
    for theirs, ours in words.items():
        message = message.replace(theirs, ours)
    for action in parser._actions:
        option = next((o for o in action.option_strings if o.startswith('--')), None)
        if option is not None:
            message = re.sub(rf'\b{action.dest}=True\b', option, message)
            message = re.sub(rf'(?<![\w.-]){action.dest}=(?=[\w\'"(\[-])', f'{option} ', message)
            message = re.sub(rf'(?<![\w.-]){action.dest}=(?=[\s,.:;)]|$)', option, message)
    return message


def warn(message: str) -> None:
    """Words for a person, beside the data on stdout; control characters, which a file may have in them, as escapes."""
    if not message.isprintable():
        from ..weights.words import printable  # with torch, which most words do not need
        message = printable(message)
    print(message, file=sys.stderr)


def progress(items: Iterable[Any], unit: str = 'image') -> Iterator[Any]:
    """The items, with a bar where a person watches and it takes longer than two seconds."""
    from tqdm import tqdm
    return iter(tqdm(items, unit=unit, delay=2, leave=False, disable=None, file=sys.stderr))


def free_output(path: Union[str, Path], overwrite: bool = False, folder: bool = False) -> Path:
    """A file that is to be written, or a folder, refused at once where that could not be done at the end.

    Raises:
        Refusal: It exists and `overwrite` is not set, it is `-`, it is a folder where a file is meant or the other
            way round, or its folder is not there or cannot be written to. Folders are made with their parents.
    """
    path = Path(path)
    if str(path) == '-':
        raise Refusal(f'- would be a {"folder" if folder else "file"} of this name, not standard output: give another')
    if path.exists() and path.is_dir() != folder:
        raise Refusal(f'{path} is a {"file" if folder else "folder"}, give a {"folder" if folder else "file"}')
    if os.path.islink(path) and not path.exists():
        raise Refusal(f'{path} is a link to what is not there: choose another {"folder" if folder else "file"}')
    if path.exists() and not overwrite:
        raise Refusal(f'{path} exists already: choose another {"folder" if folder else "file"}, or add --overwrite')
    parent = path.absolute().parent
    while folder and not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise Refusal(f'{path}: {parent} is {"a file" if parent.exists() else "not there"}, it must be a folder')
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise Refusal(f'{path}: {parent} cannot be written to ({error.strerror}), choose another folder') from None
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write a file to that is complete or not there, also where it is interrupted."""
    with tempfile.TemporaryDirectory(prefix=f'.{path.name[:50]}.', dir=path.absolute().parent) as scratch:
        part = Path(scratch) / path.name
        yield part
        os.replace(part, path)


def write_whole(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding='utf-8')
