"""A table of names, read in both directions."""
import re
from functools import cache
from typing import Callable, Mapping, NamedTuple, Optional, Tuple

_FIELDS = ('stage', 'block', 'group')
PADDLE_NORM = (('_mean', 'running_mean'), ('_variance', 'running_var'))  # entries of a norm, theirs and ours
Pairs = Tuple[Tuple[str, str], ...]


def in_blocks(theirs: str, *pairs: Tuple[str, str]) -> Pairs:
    """(theirs, ours) inside a block, whose names begin with `theirs` in the project."""
    return tuple((f'{theirs}{name}', f'layer{{stage}}.{{block}}.{ours}') for name, ours in pairs)


def deep_stem(*theirs: str) -> Pairs:
    """(theirs, ours) of a deep stem: three convolutions, each with its norm behind it."""
    return tuple(zip(theirs, ('conv1.0.', 'conv1.1.', 'conv1.3.', 'conv1.4.', 'conv1.6.', 'bn1.'), strict=True))


class Names(NamedTuple):
    """How the names of a project begin, and ours.

    Attributes:
        pairs: (theirs, ours) beginnings of names; `{stage}`, `{block}` and `{group}` stand for numbers. The first that
            fits is taken.
        first: What the project numbers our first stage (1), block (0) and group (0), where it numbers them otherwise.
        entries: (theirs, ours) ends of names that are another.
    """
    pairs: Pairs
    first: Tuple[int, int, int] = (1, 0, 0)
    entries: Pairs = ()

    def to_ours(self, name: str) -> Optional[str]:
        """Our name, None for one that the table has not."""
        return _translator(self, False)(name)

    def from_ours(self, name: str) -> Optional[str]:
        """Their name, None for one that the table has not."""
        return _translator(self, True)(name)


@cache
def _translator(names: Names, back: bool) -> Callable[[str], Optional[str]]:
    pairs = [(ours, theirs) if back else (theirs, ours) for theirs, ours in names.pairs]
    patterns = [(_pattern(source), target) for source, target in pairs]
    shift = {f: (n - o) * (1 if back else -1) for f, n, o in zip(_FIELDS, names.first, (1, 0, 0), strict=True)}
    entries = {ours: theirs for theirs, ours in names.entries} if back else dict(names.entries)

    def translate(name: str) -> Optional[str]:
        for pattern, target in patterns:
            if match := pattern.match(name):
                return _filled(target, match.groupdict(), shift) + entries.get(rest := name[match.end():], rest)
        return None

    return translate


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for field in _FIELDS:
        escaped = escaped.replace(rf'\{{{field}\}}', rf'(?P<{field}>\d{{1,4}})', 1)
    return re.compile(escaped)


def _filled(template: str, numbers: Mapping[str, str], shift: Mapping[str, int]) -> str:
    return template.format(**{field: int(number) + shift[field] for field, number in numbers.items()})
