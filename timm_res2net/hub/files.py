"""What `push_to_hub` pushes, as a folder: model.safetensors, config.json and the model card."""
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, TypedDict, Union

from torch import nn

from ..model.data_cfg import own_cfg
from ..weights.saving import check_labels, describe, network_of, write_config, write_weights
from .content_checks import check_content, texts
from .model_card import make_card

if TYPE_CHECKING:
    from typing_extensions import Unpack

CARD = 'README.md'
_logger = logging.getLogger(__name__)


class Content(TypedDict, total=False):
    """What is told of a model besides its weights, as keywords of `push_to_hub` and `save_for_hub`, all optional.

    Attributes:
        label_names: One name per class.
        label_descriptions: Label name -> description.
        metrics: Name -> value, with names such as 'top1' and 'top5', measured on `dataset`.
        dataset: Data set or sets, by their names on the Hub ('imagenet-1k', 'cifar100').
        license: License id of the Hub; None for that of published weights as they came, or of the folder that they
            were loaded from. Weights of one's own (trained, new classes) have none until it is given: 'unknown'.
        tags: One or several, added to the usual ones.
        description: Text of the model card.
        data_config: Preprocessing the weights were trained with, where it differs from the model's pretrained cfg:
            `input_size` (channels, height, width), `mean`, `std`, `interpolation`, `crop_pct`, `crop_mode`, ...
        as_timm: Save under timm's own architecture name, for people without this package.
    """
    label_names: Union[Sequence[str], Mapping[int, str], None]
    label_descriptions: Optional[Mapping[str, str]]
    metrics: Optional[Mapping[str, float]]
    dataset: Union[str, Sequence[str], None]
    license: Optional[str]
    tags: Union[str, Sequence[str]]
    description: Optional[str]
    data_config: Optional[Mapping[str, Any]]
    as_timm: bool


def save_for_hub(model: nn.Module, folder: Union[str, Path], repo_id: str, **content: 'Unpack[Content]') -> None:
    """Write what `push_to_hub` pushes into a folder, which `timm.create_model('local-dir:FOLDER')` loads.

    Args:
        model: From `timm.create_model`, possibly compiled or inside DistributedDataParallel, on any device.
        folder: Made if it does not exist.
        repo_id: USER/NAME that the model card tells people to load.
        **content: `label_names`, `metrics`, `dataset`, `license`, `as_timm`, ...: all that `Content` lists.

    Raises:
        TypeError, ValueError: The model or an argument cannot be saved, named in the message; nothing is written.
    """
    Described(model, content).write(Path(folder), repo_id)


class Described:
    """A model and what is told of it, checked, not written yet. `labels` are the label entries of its config.json."""

    def __init__(self, model: nn.Module, content: Content) -> None:
        """
        Raises:
            TypeError, ValueError: As `save_for_hub`.
        """
        for name in content:
            if name not in Content.__annotations__:
                raise TypeError(f'{name}= is unknown, a push takes {", ".join(Content.__annotations__)}.')
        self.content = content
        self.network = network_of(model)
        check_content(content, self.network.in_chans)
        self.architecture, self.arguments, self.state = describe(self.network, content.get('as_timm', False))
        self.labels = check_labels(self.network, content.get('label_names'), content.get('label_descriptions'))
        _warn_of_license(self.network, content.get('license'))

    def write(self, folder: Path, repo_id: str) -> Dict[str, Any]:
        """Write all of it and return the contents of config.json; arguments as of `save_for_hub`."""
        folder.mkdir(parents=True, exist_ok=True)
        config = self.write_texts(folder, repo_id)
        write_weights(self.state, folder)
        return config

    def write_texts(self, folder: Path, repo_id: str) -> Dict[str, Any]:
        """Write config.json and the model card into an existing folder, and return the contents of the former."""
        content = self.content
        config = write_config(
            self.network, folder, self.architecture, self.arguments, self.labels, content.get('license'),
            content.get('data_config'))
        card = make_card(
            repo_id, config, sum(p.numel() for p in self.network.parameters()), metrics=content.get('metrics'),
            dataset=content.get('dataset'), tags=texts('tags', content.get('tags')),
            description=content.get('description'), needs_import=not content.get('as_timm', False))
        (folder / CARD).write_text(card, encoding='utf-8')
        return config


def _warn_of_license(model: Any, given: Optional[str]) -> None:
    """Name the license of the weights that a model was fine-tuned from: it may bind the model's own."""
    origin: Any = getattr(model, 'origin', None)
    license = origin.entries.get('license') if origin is not None and origin.is_left(model) else None
    if license not in (None, 'unknown') and not given and own_cfg(model).get('license') is None:
        _logger.warning(
            f'the model started from {origin.name}, which is under {license}; what it has become has no license of its '
            'own until license= is given, the card says unknown.')
