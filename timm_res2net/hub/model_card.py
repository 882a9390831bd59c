"""The README.md of a pushed model: front matter that the Hub reads, and how to use the model."""
from typing import Any, Mapping, Optional, Sequence, Union

from huggingface_hub import EvalResult, ModelCardData

from ..version import SOURCE, __version__

# A card is rewritten by the next push as long as it has this line; without it, it belongs to whoever edited it.
MARKER = '<!-- Written by timm_res2net.push_to_hub. Remove this line to keep your own changes from the next push. -->'

# metric names of timm's scripts -> the Hub's metric id and the name that is shown
METRICS = {
    'accuracy': ('accuracy', 'accuracy'),
    'top1': ('accuracy', 'top-1 accuracy'), 'acc1': ('accuracy', 'top-1 accuracy'),
    'top5': ('accuracy', 'top-5 accuracy'), 'acc5': ('accuracy', 'top-5 accuracy'),
}

USAGE = '''\
```python
{imports}

model = timm.create_model('hf-hub:{repo_id}', pretrained=True).eval()
{image}
{output}
```

Feature maps: `timm.create_model('hf-hub:{repo_id}', pretrained=True, features_only=True)`.
Another number of classes, for fine-tuning: `timm.create_model('hf-hub:{repo_id}', pretrained=True, num_classes=10)`.
'''

CITATION = '''\
```bibtex
@article{gao2021res2net,
  title={Res2Net: A New Multi-scale Backbone Architecture},
  author={Gao, Shang-Hua and Cheng, Ming-Ming and Zhao, Kai and Zhang, Xin-Yu and Yang, Ming-Hsuan and Torr, Philip},
  journal={IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume={43}, number={2}, pages={652-662}, year={2021}
}
```
'''


def make_card(
        repo_id: str,
        config: Mapping[str, Any],
        parameters: int,
        metrics: Optional[Mapping[str, float]] = None,
        dataset: Union[str, Sequence[str], None] = None,
        tags: Sequence[str] = (),
        description: Optional[str] = None,
        needs_import: bool = True,
) -> str:
    """Write the model card.

    Args:
        repo_id: USER/NAME.
        config: The config.json, whose license the card names.
        parameters: Number of parameters.
        metrics: Name -> value ('top1', 'top5' or the Hub's own ids), measured on `dataset`.
        dataset: Data set or sets, by their names on the Hub; the first is the one of the metrics.
        tags: Added to the usual ones.
        description: Text under the title.
        needs_import: The model needs this package to be imported.

    Returns:
        The text of README.md.
    """
    datasets = [dataset] if isinstance(dataset, str) else list(dataset or ())
    cfg = config['pretrained_cfg']
    task = 'image-classification' if config['num_classes'] else 'image-feature-extraction'
    results = [_result(task, name, value, datasets[0]) for name, value in (metrics or {}).items()]
    own_tags = [task, 'timm', *(['timm-res2net'] if needs_import else []), 'transformers', 'res2net']
    data = ModelCardData(
        library_name='timm',
        pipeline_tag=task,
        tags=list(dict.fromkeys([*own_tags, *tags])),
        license=cfg.get('license', 'unknown'),
        datasets=datasets or None,
        metrics=list(dict.fromkeys(r.metric_type for r in results)) or None,
        model_name=repo_id.split('/')[-1] if results else None,
        eval_results=results or None,
    )
    lines = [
        '---', data.to_yaml().strip(), '---', MARKER, '', f'# Model card for {repo_id.split("/")[-1]}', '',
        description or f'A Res2Net image model, `{config["architecture"]}`'
                       f'{", trained on " + ", ".join(datasets) if datasets else ""}.',
        '', '## Model details', '',
        f'- **Architecture:** `{config["architecture"]}`',
        f'- **Parameters (M):** {parameters / 1e6:.1f}',
        f'- **Input (channels, height, width):** {" x ".join(map(str, cfg["input_size"]))}',
        f'- **Classes:** {config["num_classes"] or "none, pooled features"}',
    ]
    if config.get('model_args'):
        lines.append('- **Arguments:** ' + ', '.join(f'`{k}={v!r}`' for k, v in config['model_args'].items()))
    if cfg.get('description'):
        lines.append(f'- **Weights from:** {cfg["description"]}')
    lines += [f'- **{METRICS.get(k, (k, k))[1]}:** {v:g} ({datasets[0]})' for k, v in (metrics or {}).items()]
    lines.append('- **Paper:** Res2Net: A New Multi-scale Backbone Architecture, https://arxiv.org/abs/1904.01169')
    lines += ['', '## Usage', '']
    if needs_import:
        install = f', `pip install \'{SOURCE}\'`' if SOURCE else ''
        lines += [f'Needs the Python package timm-res2net ({__version__} or newer){install}.', '']
    lines += [_usage(repo_id, config, needs_import), '## Citation', '', CITATION]
    return '\n'.join(lines)


def _result(task: str, name: str, value: float, dataset: str) -> EvalResult:
    kind, shown = METRICS.get(name, (name, name))
    return EvalResult(
        task_type=task, dataset_type=dataset, dataset_name=dataset, metric_type=kind, metric_name=shown,
        metric_value=float(value))


def _usage(repo_id: str, config: Mapping[str, Any], needs_import: bool) -> str:
    imports = 'import timm\nimport timm_res2net  # registers the architecture' if needs_import else 'import timm'
    size = tuple(config['pretrained_cfg']['input_size'])
    if size[0] in (1, 3):
        imports += '\nfrom PIL import Image'
        image = (
            'transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)\n'
            f"image = transform(Image.open('image.jpg').convert('{'L' if size[0] == 1 else 'RGB'}')).unsqueeze(0)")
    else:
        imports += '\nimport torch'
        image = f'image = torch.randn(1, {", ".join(map(str, size))})  # normalized with the mean and std of the cfg'
    if not config['num_classes']:
        output = 'features = model(image)'
    elif config.get('label_names'):
        output = "print(model.pretrained_cfg['label_names'][model(image).argmax(1).item()])"
    else:
        output = 'probabilities = model(image).softmax(1)'
    return USAGE.format(imports=imports, repo_id=repo_id, image=image, output=output)
