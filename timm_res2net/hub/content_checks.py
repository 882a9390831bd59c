"""What is told of a model beside its weights, checked before anything is written."""
from typing import Any, Collection, Mapping

from ..model.arguments import check_bool, check_choice, check_int, check_real

_DATA_KEYS = ('input_size', 'test_input_size', 'interpolation', 'mean', 'std', 'crop_pct', 'test_crop_pct', 'crop_mode')
# of timm.data
_CROP_MODES = ('center', 'squash', 'border')
_INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos')


def check_content(content: Mapping[str, Any], in_chans: int) -> None:
    """Check all entries of `Content` but `label_names`, which depend on the model.

    Raises:
        TypeError, ValueError: Naming the first that cannot be used.
    """
    for name in ('license', 'description'):
        if content.get(name) is not None:
            _check_text(name, content[name])
    for name in ('tags', 'dataset'):
        for text in texts(name, content.get(name)):
            _check_text(name, text)
    check_bool('as_timm', content.get('as_timm', False))
    _check_descriptions(content.get('label_descriptions'))
    _check_metrics(content.get('metrics'), content.get('dataset'))
    _check_data_config(content.get('data_config'), in_chans)


def texts(name: str, value: Any) -> list:
    """One text or several, as a list.

    Raises:
        TypeError: They have no order, or are no texts.
    """
    if value is None or isinstance(value, str):
        return [value] if value else []
    if isinstance(value, (set, frozenset, Mapping)) or not isinstance(value, Collection):
        raise TypeError(f'{name}={value!r} must be text or a list of texts.')
    return list(value)


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f'{name}={value!r} must be text.')


def _check_mapping(name: str, value: Any) -> Mapping[Any, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f'{name}={value!r} must be a dictionary.')
    return value or {}


def _check_descriptions(descriptions: Any) -> None:
    for name, text in _check_mapping('label_descriptions', descriptions).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f'label_descriptions[{name!r}]={text!r} must be text under the name of a class.')


def _check_metrics(metrics: Any, dataset: Any) -> None:
    if _check_mapping('metrics', metrics) and not dataset:
        raise ValueError("metrics without dataset=: say what they were measured on, for example dataset='imagenet-1k'.")
    for name, value in (metrics or {}).items():
        _check_text('metrics: the name', name)
        check_real(f'metrics[{name!r}]', value, float('-inf'))


def _check_data_config(config: Any, in_chans: int) -> None:
    for name, value in _check_mapping('data_config', config).items():
        if name not in _DATA_KEYS:
            raise ValueError(f'data_config[{name!r}] is not a setting of timm, choose from {", ".join(_DATA_KEYS)}.')
        if value is not None:
            _check_setting(f'data_config[{name!r}]', name, value, in_chans)


def _check_setting(shown: str, name: str, value: Any, in_chans: int) -> None:
    if name.endswith('input_size'):
        sizes = _numbers(shown, value, 3, f'({in_chans}, height, width)')
        if sizes[0] != in_chans:
            raise ValueError(f'{shown}={value!r} must be ({in_chans}, height, width).')
        for i, size in enumerate(sizes):
            check_int(f'{shown}[{i}]', size)
    elif name in ('mean', 'std'):
        for i, number in enumerate(_numbers(shown, value, in_chans, 'a number for each input channel')):
            check_real(f'{shown}[{i}]', number, float('-inf') if name == 'mean' else 1e-12)
    elif name.endswith('crop_pct'):
        check_real(shown, value, 0.01, 10)
    elif name == 'crop_mode':
        check_choice(shown, value, _CROP_MODES)
    elif name == 'interpolation':
        check_choice(shown, value, _INTERPOLATIONS)


def _numbers(shown: str, value: Any, length: int, what: str) -> list:
    if isinstance(value, (str, bytes, set, frozenset, Mapping)) or not isinstance(value, Collection):
        raise TypeError(f'{shown}={value!r} must be {what}.')
    if len(value) != length:
        raise ValueError(f'{shown}={value!r} must be {what}: it has {len(value)} entries instead of {length}.')
    return list(value)
