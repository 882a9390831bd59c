"""What is told of a model besides its weights, checked before anything is written."""
from typing import Any, Collection, Mapping

from ..model.arguments import check_bool, check_mapping, check_real
from ..model.data_cfg import check_data_config


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
    check_data_config('data_config', check_mapping('data_config', content.get('data_config')), in_chans)


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


def _check_descriptions(descriptions: Any) -> None:
    for name, text in check_mapping('label_descriptions', descriptions).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f'label_descriptions[{name!r}]={text!r} must be text under the name of a class.')


def _check_metrics(metrics: Any, dataset: Any) -> None:
    metrics = check_mapping('metrics', metrics)
    if metrics and not dataset:
        raise ValueError("metrics without dataset=: say what they were measured on, for example dataset='imagenet-1k'.")
    for name, value in metrics.items():
        _check_text('metrics: the name', name)
        check_real(f'metrics[{name!r}]', value, float('-inf'))
