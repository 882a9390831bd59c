"""A network whose children stand in a sequence, `nn.Sequential(*list(net.children())[:-2])`: numbers in place of names.

The children of a ResNet are conv1, bn1, activation, pool, four stages, pool and classifier, in every project.
"""
import re

from .layout import State

ANCHOR = '4.0.conv1.weight'  # of the first stage
_CHILDREN = {
    '0': 'conv1', '1': 'bn1', '3': 'maxpool', '4': 'layer1', '5': 'layer2', '6': 'layer3', '7': 'layer4', '9': 'fc'}
ASSUMED = 'numbers to be those of the children of a network: 0 conv1, 1 bn1, 4 to 7 the stages, 9 fc'


def is_sequence(state: State) -> bool:
    """Whether names are those of a sequence, with all of its stages."""
    return all(f'{number}.0.conv1.weight' in state for number in (4, 5, 6, 7))


def with_names(state: State) -> State:
    """The names of the children for their numbers; what comes behind them keeps its number."""
    return {re.sub(r'\A\d+(?=\.)', lambda m: _CHILDREN.get(m[0], m[0]), name): value for name, value in state.items()}
