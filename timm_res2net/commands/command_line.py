"""What all commands share: parser, errors in one line, interrupts, closed pipes, progress."""
import argparse
import os
import re
import sys
from importlib import import_module
from typing import Any, Iterable, Iterator, Optional, Sequence


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

    0: done. 1: done in part or found wanting (an unreadable image among many, an export that does not agree). 2: nothing
    could be done. 130: stopped by Ctrl-C. 141: whoever read the output has gone.
    """
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
        sys.path.insert(0, os.getcwd())  # as `python -m` would
        for imported in args.modules:
            import_module(imported)
        code = module.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
        return 141
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
    except Refusal as error:
        return _say(error, parser, error.code)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:  # timm's, the Hub's, a checkpoint's
        return _say(error, parser, 2)


def _say(error: Exception, parser: argparse.ArgumentParser, code: int) -> int:
    print(f'error: {in_options(" ".join(str(error).split()) or type(error).__name__, parser)}', file=sys.stderr)
    return code


def in_options(message: str, parser: argparse.ArgumentParser) -> str:
    """A message of the library in the language of a command: `overwrite=True` becomes `--overwrite`."""
    for action in parser._actions:
        option = next((o for o in action.option_strings if o.startswith('--')), None)
        if option is not None:
            message = re.sub(rf'\b{action.dest}=True\b', option, message)
            message = re.sub(rf'\b{action.dest}=(?=[\w\'"(\[-])', f'{option} ', message)
    return message


def warn(message: str) -> None:
    """Words for a person, beside the data on stdout."""
    print(message, file=sys.stderr)


def progress(items: Iterable[Any], total: Optional[int] = None, unit: str = 'image') -> Iterator[Any]:
    """The items, with a bar where a person watches and it takes longer than two seconds."""
    from tqdm import tqdm
    return iter(tqdm(items, total=total, unit=unit, delay=2, leave=False, disable=None, file=sys.stderr))
