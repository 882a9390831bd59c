"""ResNet and ResNeXt of torchvision and timm: at scale 1 our `convs.0` and `bns.0` are their `conv2` and `bn2`."""
import re

from ..checkpoint import CheckpointError
from .layout import Found, Layout, Renamed, State, rename_entries


def _to_ours(found: Found) -> Renamed:
    if 'layer1.0.conv3.weight' not in found.state:
        raise CheckpointError('its blocks have two 3x3 convolutions (ResNet-18 or -34); Res2Net has bottlenecks.')
    return Renamed(rename_entries(
        found.state, lambda name: re.sub(r'^(layer\d+\.\d+)\.(conv|bn)2\.', r'\1.\2s.0.', name)))


def from_ours(state: State) -> State:
    """Weights of a network of scale 1 under their names."""
    return rename_entries(state, lambda name: re.sub(r'^(layer\d+\.\d+)\.(conv|bn)s\.0\.', r'\1.\g<2>2.', name))


LAYOUT = Layout(
    'torchvision or timm ResNet', 'layer1.0.conv1.weight', lambda found: 'layer1.0.conv2.weight' in found.state,
    _to_ours)
