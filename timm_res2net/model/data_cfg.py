"""What a pretrained cfg or a config.json says of a model's data: preprocessing, class names, license."""
import dataclasses
from dataclasses import dataclass
from typing import Any, Collection, Dict, Iterable, List, Mapping, Optional, Sequence

import torch
from timm.models import PretrainedCfg

from .arguments import check_choice, check_int, check_real

_DATA_KEYS = ('input_size', 'test_input_size', 'interpolation', 'mean', 'std', 'crop_pct', 'test_crop_pct', 'crop_mode')
_CFG_KEYS = tuple(f.name for f in dataclasses.fields(PretrainedCfg))
# of timm.data
_CROP_MODES = ('center', 'squash', 'border')
_INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos')
# what belongs to where weights came from, not to the weights
SOURCE_KEYS = (
    'url', 'file', 'state_dict', 'hf_hub_id', 'hf_hub_filename', 'source', 'custom_load', 'label_offset', 'label_names',
    'label_descriptions')
# what a row of a table says otherwise, or the network does
_NOT_OWN = (*SOURCE_KEYS, 'license', 'description', 'num_classes', 'pool_size', 'first_conv', 'classifier',
            'paper_name', 'paper_ids')
# what is true of weights as they were published, and not of what is trained from them
OF_THE_WEIGHTS = ('tag', 'license', 'description', 'label_names', 'label_descriptions')
_TYPES = {
    'input_size': tuple, 'test_input_size': tuple, 'mean': tuple, 'std': tuple, 'interpolation': str, 'crop_pct': float,
    'test_crop_pct': float, 'crop_mode': str, 'license': str, 'description': str}


def for_channels(cfg: Dict[str, Any], in_chans: int) -> Dict[str, Any]:
    """A copy for another number of input channels: the means of `mean` and `std`, as timm's loader takes them."""
    cfg = dict(cfg)
    for key in ('input_size', 'test_input_size', 'min_input_size'):
        if cfg.get(key):
            cfg[key] = (in_chans, *cfg[key][1:])
    for key in ('mean', 'std'):
        if len(cfg[key]) != in_chans:
            cfg[key] = (sum(cfg[key]) / len(cfg[key]),) * in_chans
    return cfg


def data_entries(cfg: Mapping[str, Any]) -> Dict[str, Any]:
    """The preprocessing in a model's cfg, where somebody may have put anything, as JSON has it.

    Raises:
        TypeError, ValueError: Naming the first entry that cannot be used.
    """
    data = {k: _plain(cfg[k]) for k in _DATA_KEYS if k in cfg}
    check_data_config('pretrained_cfg', data)
    return data


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, 'tolist') else value  # of numpy or torch
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def check_data_config(name: str, config: Mapping[str, Any], in_chans: Optional[int] = None) -> None:
    """Check preprocessing by timm's names; None is as good as absent.

    Args:
        name: Of the mapping, for errors.
        config: Key -> value.
        in_chans: Channels that it must be for; None for any.

    Raises:
        TypeError, ValueError: Naming the first that cannot be used.
    """
    for key, value in config.items():
        check_settings(name, [key], _DATA_KEYS)
        if value is not None:
            _check_setting(f'{name}[{key!r}]', key, value, in_chans)


def _check_setting(shown: str, key: str, value: Any, in_chans: Optional[int]) -> None:
    if key.endswith('input_size'):
        what = f'({in_chans or "channels"}, height, width)'
        sizes = _numbers(shown, value, 3, what)
        for i, size in enumerate(sizes):
            check_int(f'{shown}[{i}]', size)
        if in_chans and sizes[0] != in_chans:
            raise ValueError(f'{shown}={value!r} must be {what}.')
    elif key in ('mean', 'std'):
        for i, number in enumerate(_numbers(shown, value, in_chans, 'a number for each input channel')):
            check_real(f'{shown}[{i}]', number, float('-inf') if key == 'mean' else 1e-12)
    elif key.endswith('crop_pct'):
        check_real(shown, value, 0.01, 10)
    elif key == 'crop_mode':
        check_choice(shown, value, _CROP_MODES)
    elif key == 'interpolation':
        check_choice(shown, value, _INTERPOLATIONS)


def check_settings(name: str, cfg: Iterable[str], known: Sequence[str] = _CFG_KEYS) -> None:
    """Raise a ValueError that names the first entry of a cfg that timm does not know."""
    for key in cfg:
        if key not in known:
            raise ValueError(f'{name}[{key!r}] is not a setting of timm, choose from {", ".join(known)}.')


def check_own_cfg(name: str, data: Mapping[str, Any], in_chans: int) -> None:
    """Check the preprocessing of a cfg of one's own; everything else in it is the network's, or that of its weights.

    Raises:
        TypeError, ValueError: Naming the first entry that cannot be used.
    """
    check_settings(name, data)
    for key in data:
        if key in _NOT_OWN:
            raise ValueError(
                f'{name}[{key!r}] is no preprocessing: url, file, hf_hub_id, license, num_classes, label_names and '
                'source (the description) are arguments of Weights, what is of the network is read off it.')
    check_data_config(name, {k: v for k, v in data.items() if k in _DATA_KEYS}, in_chans)


def _numbers(shown: str, value: Any, length: Optional[int], what: str) -> list:
    if isinstance(value, (str, bytes, set, frozenset, Mapping)) or not isinstance(value, Collection):
        raise TypeError(f'{shown}={value!r} must be {what}.')
    length = length or max(len(value), 1)
    if len(value) != length:
        raise ValueError(f'{shown}={value!r} must be {what}: it has {len(value)} entries instead of {length}.')
    return list(value)


def read_config(config: Mapping[str, Any]) -> Dict[str, Any]:
    """Preprocessing, class names and license of a config.json; entries of another type than theirs are left out."""
    found: Dict[str, Any] = {}
    cfg = config.get('pretrained_cfg')
    for key, kind in _TYPES.items():
        value = cfg.get(key) if isinstance(cfg, dict) else None
        if kind is tuple:
            if isinstance(value, (list, tuple)) and len(value) and all(type(v) in (int, float) for v in value):
                found[key] = tuple(value)
        elif isinstance(value, kind) or kind is float and type(value) is int:
            found[key] = value
    for key in ('input_size', 'test_input_size'):
        if len(found.get(key, (0, 0, 0))) != 3:
            del found[key]
    for name, types in (('label_names', (list, dict)), ('label_descriptions', dict)):
        if isinstance(config.get(name), types) and config[name]:
            found[name] = config[name]
    return found


def unreadable(config: Mapping[str, Any]) -> List[str]:
    """What `read_config` leaves out of a config.json that is there: the names of entries of `pretrained_cfg`."""
    cfg, found = config['pretrained_cfg'], read_config(config)
    return [k for k in _TYPES if cfg.get(k) is not None and k not in found]


def in_order(names: Any, num_classes: int) -> List[str]:
    """Class names by index, from a sequence or from a mapping of all indices.

    Raises:
        TypeError: They have no order, or are no collection.
        ValueError: It is text, or not one name per class.
    """
    if isinstance(names, (set, frozenset)) or not isinstance(names, Collection):
        raise TypeError(f'label_names must be a list, or a dictionary by index, not a {type(names).__name__}.')
    if isinstance(names, str):
        raise ValueError(f'label_names={names!r} is text, give one name per class.')
    if len(names) != num_classes:
        raise ValueError(f'label_names has {len(names)} names for {num_classes} classes, give one name per class.')
    if not isinstance(names, Mapping):
        return [str(n) for n in names]
    by_index = {int(k) if str(k).isdigit() else k: v for k, v in names.items()}  # JSON makes text of numbers
    missing = [i for i in range(num_classes) if i not in by_index]
    if missing:
        raise ValueError(f'label_names has no name for class {missing[0]}, give those of 0 to {num_classes - 1}.')
    return [str(by_index[i]) for i in range(num_classes)]


@dataclass
class Origin:
    """The weights that a model started from; the attribute `origin` of a model that was built with some.

    Attributes:
        name: Of the weights, NAME.TAG, or the folder or repository they came from.
        num_classes: Their classes.
        entries: What its cfg said of them, of `OF_THE_WEIGHTS`.
        values: Their norms and biases, by which training is noticed; empty where a model of one's own goes on.
    """
    name: str
    num_classes: int
    entries: Dict[str, Any]
    values: Dict[str, torch.Tensor]

    @classmethod
    def of(cls, model: Any, name: str) -> 'Origin':
        """Of a model whose cfg describes the weights that it has just been given."""
        cfg = model.pretrained_cfg
        published = cfg.get('tag') not in (None, 'untrained')
        values = {k: v.detach().clone() for k, v in model.state_dict().items() if v.ndim == 1} if published else {}
        return cls(name, cfg['num_classes'], {k: cfg.get(k) for k in OF_THE_WEIGHTS}, values)

    def is_left(self, model: Any) -> bool:
        """Whether the model has other classes now (having lost its classifier does not count), or has been trained.

        Folding and another precision change nothing.
        """
        if model.num_classes not in (0, self.num_classes):
            return True
        state = model.state_dict()
        return any(
            not torch.equal(state[k].cpu(), v.cpu().to(state[k].dtype)) for k, v in self.values.items()
            if k in state and state[k].shape == v.shape and not (state[k].is_meta or v.is_meta))


def own_cfg(model: Any) -> Dict[str, Any]:
    """A model's cfg without what it still says of weights that the model has no more; see `Origin`."""
    cfg = dict(getattr(model, 'pretrained_cfg', None) or {})
    origin = getattr(model, 'origin', None)
    if isinstance(origin, Origin) and origin.is_left(model):
        cfg.update({k: None for k, v in origin.entries.items() if cfg.get(k) == v})
    return cfg


def class_names(model: Any) -> Optional[List[str]]:
    """The names in a model's cfg, one per class in order, or None."""
    names: Optional[Sequence[str]] = _plain(own_cfg(model).get('label_names'))
    try:
        return in_order(names, model.num_classes) if names else None
    except (TypeError, ValueError):  # those of other weights, with another number of classes
        return None
