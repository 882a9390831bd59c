"""What is said of files, errors and networks: one line, of a length for people, nothing in it that a terminal obeys."""
from typing import Any, Mapping, Sequence

_LONGEST = 150  # characters of one of several things
_LISTED = 8  # before the rest is counted


def printable(text: str) -> str:
    """Text of a file for a terminal: control and other invisible characters as escapes."""
    return text if text.isprintable() else ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(error: BaseException, longest: int = 2400) -> str:
    """What an error says, or what it is where it says nothing."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f'{text[:longest]}...'


def listed(items: Sequence[str]) -> str:
    """Things one after the other; of many the first, and how many more there are."""
    shown = (item if len(item) <= _LONGEST else f'{item[:_LONGEST]}...' for item in items[:_LISTED])
    return ', '.join(shown) + (f' and {len(items) - _LISTED} more' if len(items) > _LISTED else '')


def keywords(arguments: Mapping[str, Any]) -> str:
    """Arguments as a call has them: scale=8, act_layer='silu'."""
    return ', '.join(f'{name}={value!r}' for name, value in arguments.items())


def network(name: str, arguments: Mapping[str, Any]) -> str:
    """A network by its name and the arguments in which it differs from what has that name."""
    return f'{name}({keywords(arguments)})' if arguments else name


def creation(variant: str, arguments: Mapping[str, Any]) -> str:
    """The call that makes a network."""
    return f'timm.create_model({variant!r}{", " * bool(arguments)}{keywords(arguments)})'
