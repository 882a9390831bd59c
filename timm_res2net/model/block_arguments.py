"""What a Res2Net block is, said once: every argument with its default, its meaning and its check.

Networks and blocks take these arguments flat (`scale=8, base_width=14`), make one `BlockArguments` of them and hand it
on. The page of arguments, saving and the recognition of weights read the fields here, so a new one is a row here, the
line of code in `blocks` that uses it and, if names and shapes of weights tell it, that in `weights.architecture` which
reads it. `tests/model/test_block_arguments.py` follows every argument, and every choice of it, to all of these places.
"""
import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Concatenate, Dict, Mapping, Optional, ParamSpec, Type, TypeVar

from timm.layers import LayerType

from .arguments import check_choice, check_int, check_real
from .layers import resolve_layer

FIRST_BLOCKS = {  # form of each stage's first block: what it is
    'parallel': 'no additions, identity group through a 3x3 average pool: official and timm weights',
    'parallel_conv': 'no additions, identity group convolved too: the parameter counts of the CIFAR table',
    'strided_pool': 'no additions, identity group pooled only where the 3x3 convolutions have a stride: weights of '
                    'mmdetection and Res2Net-detectron2',
    'paddle': 'stage 1 hierarchical, others parallel with a pool that ignores padding: PaddleClas weights',
    'hierarchical': "no exception at all, with `stride_position='conv1'`",
}
STRIDE_POSITIONS = {
    'split': 'in the 3x3 convolutions',
    'conv1': "in the first 1x1 convolution, the authors' alternative: every block can be hierarchical",
}
ATTN_POSITIONS = {
    'output': "on the block's output before the shortcut is added, the paper",
    'split': 'on the concatenation before the last 1x1 convolution, SE(Y)',
}


def argument(default: Any, meaning: str, *, in_weights: bool, choices: Optional[Mapping[str, str]] = None) -> Any:
    """A declared argument.

    Args:
        default: Its default.
        meaning: Words for the page of arguments.
        in_weights: Whether names and shapes of weights tell it, at least in part, and `weights.architecture` reads it;
            what they do not tell is taken from the registered variant that fits.
        choices: The values that it may have, with words for the page.
    """
    words = '; '.join(f"`'{name}'`, {of_it}" for name, of_it in (choices or {}).items())
    return dataclasses.field(default=default, metadata=dict(
        meaning=meaning.format(choices=words) if choices else meaning, in_weights=in_weights,
        choices=tuple(choices or ())))


def with_default(kind: Type[Any], name: str, default: Any) -> Any:
    """The argument `name` of `kind` with another default, for a dataclass that inherits from it."""
    return dataclasses.field(default=default, metadata=kind.__dataclass_fields__[name].metadata)


@dataclass(frozen=True, kw_only=True)
class BlockArguments:
    """The arguments of a block but its place in a network, checked; what may be given as None is settled afterwards.

    Raises:
        TypeError, ValueError: An argument of the wrong kind or value, named in the message with what is allowed.
    """
    scale: int = argument(4, "Groups of the split, the paper's s.", in_weights=True)
    base_width: float = argument(26, "Channels of a convolution group at 64 planes, the paper's w.", in_weights=True)
    cardinality: int = argument(1, "Groups of each 3x3 convolution, the paper's c.", in_weights=True)
    first_block: str = argument(
        None, "Form of each stage's first block, which as in timm is one that has a stride or a projection: {choices}. "
              "By default `'parallel'`, or `'hierarchical'` if "
              "`stride_position='conv1'`. At scale 1 they are all the same.", in_weights=True, choices=FIRST_BLOCKS)
    stride_position: str = argument(
        'split', 'Where a block has its stride: {choices}.', in_weights=False, choices=STRIDE_POSITIONS)
    attn_layer: Optional[LayerType] = argument(
        None, "Attention, by timm's name (`'se'`, `'eca'`, ..), class or partial.", in_weights=True)
    rd_ratio: Optional[float] = argument(
        None, 'Reduction ratio of the attention, by default its own (SE: 1/16).', in_weights=True)
    attn_position: str = argument(
        'output', 'Where the attention acts, if there is any: {choices}.', in_weights=True, choices=ATTN_POSITIONS)

    def __post_init__(self) -> None:
        check_int('scale', self.scale)
        check_real('base_width', self.base_width, 0)
        check_int('cardinality', self.cardinality)
        check_choice('stride_position', self.stride_position, tuple(STRIDE_POSITIONS))
        check_choice('attn_position', self.attn_position, tuple(ATTN_POSITIONS))
        if self.first_block is None:
            self.settle(first_block='hierarchical' if self.stride_position == 'conv1' else 'parallel')
        check_choice('first_block', self.first_block, tuple(FIRST_BLOCKS))
        if isinstance(self.attn_layer, bool):
            self.settle(attn_layer='se' if self.attn_layer else None)
        if self.first_block == 'hierarchical' and self.stride_position == 'split' and self.scale > 1:
            raise ValueError(
                "first_block='hierarchical' needs stride_position='conv1': with the stride in the split, groups of "
                'different resolution would be added.')
        if resolve_layer('attn_layer', self.attn_layer) is None and self.rd_ratio is not None:
            raise ValueError(f"rd_ratio={self.rd_ratio!r} has no effect without an attn_layer, add attn_layer='se'.")

    def settle(self, **values: Any) -> None:
        """Put what an argument stands for in its place, while it is being checked."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def block_kwargs(self) -> Dict[str, Any]:
        """The arguments of a block, flat, without the two that timm's networks hand to blocks by themselves."""
        names = (f.name for f in dataclasses.fields(BlockArguments))
        return {name: getattr(self, name) for name in names if name not in ('cardinality', 'base_width')}


Arguments = TypeVar('Arguments', bound=BlockArguments)


def declared(kind: Type[Arguments], owner: str, given: Mapping[str, Any]) -> Arguments:
    """Make `kind` of flat arguments.

    Raises:
        TypeError: An argument that `kind` does not declare, named with those that it does.
    """
    names = [f.name for f in dataclasses.fields(kind)]
    for name, value in given.items():
        if name not in names:
            raise TypeError(f'{owner} got an unknown argument {name}={value!r}; it takes {", ".join(names)}.')
    return kind(**given)


Declared = ParamSpec('Declared')


def takes(kind: Callable[Declared, BlockArguments]) -> Callable[
        [Callable[..., None]], Callable[Concatenate[Any, Declared], None]]:
    """Tell type checkers and editors that a constructor's `**arguments` are those of `kind`; it stays as it is."""
    return lambda constructor: constructor
