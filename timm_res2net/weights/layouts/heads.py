"""What a file holds beside the trunk: classifiers of another build, auxiliary heads, decoders."""
import re
from typing import List, Tuple

from .layout import State

# top-level names of our networks, and those that could be a part of another one's trunk: they are not left out
_TRUNK = re.compile(
    r'fc|(?:base_layer|conv|bn|norm|act|stem|layer|level|stage|block|res|pool|maxpool|features)\d*(?:_\d+)?')
# what people call a classifier of their own, with the places in it that a single layer may have
_CLASSIFIER = re.compile(
    r'(?P<where>.*?)(?P<name>(?:classifier|head|last_linear|linear|logits|output|cls)'
    r'(?:\.(?:\d|fc|linear))?)\.weight')


def without_other_heads(state: State) -> Tuple[State, State]:
    """The network, and what no trunk has; a state without a trunk stays whole, to be told as it is."""
    others = {k: v for k, v in state.items() if not _TRUNK.fullmatch(k.partition('.')[0])}
    if not any(k.startswith(('layer1.', 'base_layer.')) for k in state):
        others = {}
    return {k: v for k, v in state.items() if k not in others}, others


def with_plain_classifier(state: State) -> Tuple[State, List[str], List[str]]:
    """A classifier inside a sequence, as dropout before it makes one, becomes `fc`; one of several layers is left out.

    Returns:
        The state, what was left out and what was assumed, in words.
    """
    inside = [k for k in state if k.startswith('fc.')]
    if not inside or any(k in ('fc.weight', 'fc.bias') for k in inside):
        return state, [], []
    rest = {k: v for k, v in state.items() if k not in inside}
    layers = sorted({k.rpartition('.')[0] for k in inside})
    if len(layers) > 1 or state.get(f'{layers[0]}.weight', state[inside[0]]).ndim != 2:
        return rest, [f'a classifier of several layers: {", ".join(layers)}'], []
    fc = {f'fc{k.removeprefix(layers[0])}': state[k] for k in inside}
    return {**rest, **fc}, [], [f'the classifier to be {layers[0]} alone']


def renamed_classifier(state: State, beside: State, prefix: str) -> Tuple[State, Tuple[str, ...], List[str]]:
    """The one classifier that stands beside a network without any under another name (`classifier`, `head`, ..).

    Args:
        state: Of the network, under our names.
        beside: Everything else, under whole names.
        prefix: Of the network: the classifier stands in what the network is in.

    Returns:
        Its entries as `fc`, their names and what was assumed; nothing where there is none, or more than one.
    """
    stages = [state[k] for s in (4, 3) if (k := f'layer{s}.0.conv3.weight') in state]
    if not stages or any(k.startswith('fc.') for k in state):
        return {}, (), []
    found = []
    for name, weight in beside.items():
        match = _CLASSIFIER.fullmatch(name)
        bias = beside.get(f'{name.removesuffix("weight")}bias')
        if match and prefix.startswith(match['where']) and bias is not None and bias.shape == weight.shape[:1] and (
                weight.ndim == 2 and weight.shape[1] == stages[0].shape[0]):
            part = match['where'] + match['name'].partition('.')[0] + '.'
            found.append((name, weight, bias, sum(k.startswith(part) for k in beside)))
    if len(found) != 1 or found[0][-1] != 2:
        return {}, (), []
    name, weight, bias, _ = found[0]
    whole = name.removesuffix('.weight')
    return {'fc.weight': weight, 'fc.bias': bias}, (name, f'{whole}.bias'), [f'the classifier to be {whole}']
