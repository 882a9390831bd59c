"""The numbers of a model: what it costs, how fast it is here, how much it sees."""
from typing import Any, Dict

import torch

from ..deploy import prepack
from ..deploy.benchmark.timing import interleave
from ..insight import cost
from .subject import COMPUTING, Subject


def numbers(subject: Subject, seconds: float = 0.5) -> Dict[str, Any]:
    """What `timm-res2net list` and `receptive-field` say of the model, and its milliseconds on this machine.

    Measured once a model. Milliseconds are medians for one image at the model's own size, in turns for `seconds`;
    'prepacked' and 'receptive_field' are None where the model is not of this package or cannot be prepacked.
    """
    with COMPUTING:
        if not subject.facts:
            subject.facts.update(_measured(subject, seconds))
    return subject.facts


def _measured(subject: Subject, seconds: float) -> Dict[str, Any]:
    parameters, macs = cost(subject.model)
    x = torch.zeros(1, *subject.config['input_size'])
    paths = {'eager': lambda: subject.model(x)}
    if subject.layers:
        try:
            packed = prepack(subject.model)
            paths['prepacked'] = lambda: packed(x)
        except ValueError:  # norms that cannot be folded
            pass
    with torch.inference_mode():
        milliseconds: Dict[str, float] = interleave(paths, 'cpu', seconds)
    return {
        'parameters': parameters,
        'macs': macs,
        'size': subject.size,
        'classes': len(subject.classes),
        'eager': milliseconds['eager'],
        'prepacked': milliseconds.get('prepacked'),
        'receptive_field': subject.layers[-1].field.largest if subject.layers else None,
        'smallest': subject.layers[-1].field.smallest if subject.layers else None,
        'threads': torch.get_num_threads(),
    }


def rows(facts: Dict[str, Any]) -> Dict[str, str]:
    """The numbers as text, under their titles."""
    def pixels(value: Any) -> str:
        return '-' if value is None else f'{value} pixels'

    def time(value: Any) -> str:
        return '-' if value is None else f'{value:.1f} ms'

    return {
        'Parameters': f'{facts["parameters"]:,}',
        'Multiply-accumulates (MACs)': f'{facts["macs"] / 1e9:.2f} G',
        'Input, pixels': f'{facts["size"]} x {facts["size"]}',
        'Classes': str(facts['classes']),
        'One image, eager': time(facts['eager']),
        'One image, prepacked': time(facts['prepacked']),
        'Receptive field of the last block': pixels(facts['receptive_field']),
        'Smallest window of a path': pixels(facts['smallest'])}
