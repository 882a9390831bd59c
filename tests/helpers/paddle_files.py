"""Files as PaddleClas publishes them, by their published names, with random weights: what `paddle.save` writes."""
import pickle
import re

from literal_networks import Foreign

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 200: (3, 12, 48, 3)}
NAME = re.compile(r'Res2Net(\d+)(_vd)?_(\d+)w_(\d+)s(_ssld)?_pretrained\.pdparams')


def paddle_network(name):
    """The network of a published file, of which it gives weights and outputs."""
    depth, vd, width, scale, ssld = NAME.fullmatch(name).groups()
    stem = dict(stem='deep', stem_width=32, avg_down=True) if vd else {}
    return Foreign(
        'paddle', layers=LAYERS[int(depth)], planes=(64, 128, 256, 512), base_width=int(width), scale=int(scale),
        classes=1000, seed=1 if ssld else 0, **stem)


class PaddleFiles(dict):
    """All of them, each made when it is asked for."""

    def __contains__(self, name):
        return NAME.fullmatch(name) is not None

    def __missing__(self, name):
        self[name] = paddle_bytes(paddle_network(name))
        return self[name]


def paddle_bytes(network):
    """Arrays by name, and the table of paddle's own names for them."""
    arrays = {k: v.numpy() for k, v in network.weights.items()}
    arrays['StructuredToParameterName@@'] = {k: k.replace('.', '_') for k in arrays}
    return pickle.dumps(arrays, protocol=4)
