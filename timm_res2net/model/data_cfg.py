"""What a pretrained cfg or a config.json says of a model's data: preprocessing, class names, license."""
from typing import Any, Dict, List, Mapping, Optional, Sequence

# what belongs to where weights came from, not to the weights
SOURCE_KEYS = (
    'url', 'file', 'state_dict', 'hf_hub_id', 'hf_hub_filename', 'source', 'custom_load', 'label_offset', 'label_names',
    'label_descriptions')
_TYPES = {
    'input_size': tuple, 'mean': tuple, 'std': tuple, 'interpolation': str, 'crop_pct': float, 'crop_mode': str,
    'license': str}


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


def read_config(config: Mapping[str, Any]) -> Dict[str, Any]:
    """Preprocessing, class names and license of a config.json; entries of another type than theirs are left out."""
    found: Dict[str, Any] = {}
    cfg = config.get('pretrained_cfg')
    for key, kind in _TYPES.items():
        value = cfg.get(key) if isinstance(cfg, dict) else None
        if kind is tuple:
            if isinstance(value, list) and len(value) and all(type(v) in (int, float) for v in value):
                found[key] = tuple(value)
        elif isinstance(value, kind) or kind is float and type(value) is int:
            found[key] = value
    if 'input_size' in found and len(found['input_size']) != 3:
        del found['input_size']
    for name, types in (('label_names', (list, dict)), ('label_descriptions', dict)):
        if isinstance(config.get(name), types) and config[name]:
            found[name] = config[name]
    return found


def in_order(names: Any, num_classes: int) -> List[str]:
    """Class names by index, from a sequence or from a mapping of all indices.

    Raises:
        ValueError: It is text, or not one name per class.
    """
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


def class_names(model: Any) -> Optional[List[str]]:
    """The names in a model's cfg, one per class in order, or None."""
    names: Optional[Sequence[str]] = (getattr(model, 'pretrained_cfg', None) or {}).get('label_names')
    try:
        return in_order(names, model.num_classes) if names else None
    except (TypeError, ValueError):  # those of other weights, with another number of classes
        return None
