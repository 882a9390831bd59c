"""The authors' functions: a network of the table of variants, with the weights that are asked for."""
import sys
from typing import Any, Callable, Dict, Type

from ..model.networks import LAYERS
from ..model.variants import VARIANTS
from ..weights.catalogue import CATALOGUE
from .network import OfficialNetwork
from .pretrained import Pretrained, load

AUTHORS = 'https://shanghuagao.oss-cn-beijing.aliyuncs.com/res2net/'  # where their files are

_DOC = """{words}.

    Args:
        pretrained: True for {true}; a file or folder that `timm_res2net.load_checkpoint` reads; or NAME.TAG, a name of
            `timm_res2net.list_pretrained`. A classifier of another number of classes is left out, with a warning.
        **kwargs: `num_classes`, 1000 by default, 0 for pooled features.

    Raises:
        TypeError, ValueError: An argument that is unknown or impossible, named in the message.
        FileNotFoundError: `pretrained` is neither a file nor a name.
        CheckpointError: The weights cannot be read, or are those of another network.
    """


def function(
        name: str,
        network: Type[OfficialNetwork],
        block: Any,
        weights: str,
) -> Callable[..., OfficialNetwork]:
    """A function of the authors', `NAME(pretrained=False, **kwargs)`.

    Args:
        name: Its name there.
        network: Class of the network.
        block: Class of its blocks.
        weights: The variant that it is, with the tag of the authors' weights if there are any.
    """
    variant = weights.partition('.')[0]
    row = VARIANTS[variant]
    arguments: Dict[str, Any] = dict(
        layers=LAYERS[row.arguments['depth']], baseWidth=row.arguments['base_width'], scale=row.arguments['scale'])
    if 'cardinality' in row.arguments:
        arguments['cardinality'] = row.arguments['cardinality']

    def create(pretrained: Pretrained = False, **kwargs: Any) -> OfficialNetwork:
        for unknown, value in kwargs.items():
            if unknown != 'num_classes':
                raise TypeError(
                    f'{name} got an unknown argument {unknown}={value!r}; it takes pretrained and num_classes, '
                    f'timm.create_model({variant!r}, ...) takes more.')
        model = network(block, **{'num_classes': 1000, **arguments, **kwargs})
        model.describe_as(variant, **kwargs)
        load(model, pretrained, name, weights)
        return model

    create.__name__ = create.__qualname__ = name
    create.__module__ = sys._getframe(1).f_globals['__name__']
    true = f'`{weights}`, weights of the authors' if weights in CATALOGUE else 'an error, none were published'
    create.__doc__ = _DOC.format(words=row.words, true=true)
    return create
