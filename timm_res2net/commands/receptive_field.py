"""Receptive fields: for each layer and group of its split, the smallest and the largest window that a unit sees.

Windows are those through convolutions and pools: channel attention (SE) sees all of the image.

--plot draws how many paths through each model see windows of each size (extra `figures`). --effective adds the measured
field: the gradient of the centre unit, averaged over photographs (--images, or those bundled with scikit-image, extra
`demo`). A model is a registered name, hf-hub:USER/REPO, local-dir:FOLDER, or a checkpoint file or folder. Compare with
scale 1:

    timm-res2net receptive-field resnet50_custom res2net50_26w_4s_custom --plot fields.png

Exit code 0: done. 1: some images could not be read (named, and the others taken). 2: nothing could be done.
"""
import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from .checks import check_picture, needs, save_picture
from .command_line import Refusal, progress, warn

if TYPE_CHECKING:
    import torch

    from ..insight import Layer

EXAMPLE = 'timm-res2net receptive-field resnet50_custom res2net50_26w_4s_custom'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('models', nargs='+', metavar='NAME')
    parser.add_argument('--model-kwargs', nargs='*', default=[], metavar='KEY=VALUE', help='arguments for all of them')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='picture to write (.png, .svg, ..)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead of tables')
    parser.add_argument('--effective', action='store_true', help='measure the effective field too')
    parser.add_argument('--images', metavar='FOLDER', help="of images for --effective (scikit-image's photographs)")
    parser.add_argument('--image-size', type=int, metavar='N',
                        help="for --effective: height and width (the model's own)")
    parser.add_argument('--layer', help='for --effective: module whose centre unit is taken (the last map)')


def run(args: argparse.Namespace) -> int:
    _check(args)
    from ..insight import effective_receptive_field, find_layer, receptive_fields, side_of_share, table
    from .models import key_values, load_model
    kwargs = key_values(args.model_kwargs)
    fields: Dict[str, List[Layer]] = {}
    effective: Dict[str, torch.Tensor] = {}
    answer: Dict[str, Any] = {}
    unreadable: List[str] = []
    for name in progress(args.models, unit='model'):
        model = load_model(name, args.effective and not kwargs, **kwargs)  # weights only where they matter
        if args.effective and kwargs and getattr(model, 'checkpoint_info', None) is None:
            warn(f'{name} with --model-kwargs has random weights, and so is its effective field')
        if args.layer:
            find_layer(model, args.layer)
        try:
            fields[name] = receptive_fields(model)
        except TypeError as error:
            raise Refusal(f'{name}: {error}') from error
        answer[name] = {
            'layers': [{
                'name': layer.name, 'stride': layer.field.jump, 'smallest': layer.field.smallest,
                'largest': layer.field.largest,
                'groups': [{'channels': g.channels, 'largest': g.field.largest} for g in layer.groups],
            } for layer in fields[name]],
            'shares': fields[name][-1].field.shares(),
        }
        if args.effective:
            effective[name] = effective_receptive_field(model, _input(model, args, unreadable), args.layer)
            answer[name]['effective'] = {s: side_of_share(effective[name], s) for s in (0.5, 0.9)}
    for line in dict.fromkeys(unreadable):
        warn(line)
    if args.plot:
        plot(fields, effective, args.plot)
    if args.json:
        print(json.dumps(answer, indent=2))
        return 1 if unreadable else 0
    for name, layers in fields.items():
        print(f'{name}\n{table(layers)}')
        if name in effective:
            half, most = answer[name]['effective'].values()
            print(f'effective: half of the gradient within {half} pixels of side, 90% within {most}')
        print()
    return 1 if unreadable else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what would fail after the fields are computed."""
    if not args.effective and (args.images or args.image_size or args.layer):
        raise Refusal('--images, --image-size and --layer are for --effective, which is not there')
    if args.plot:
        needs('--plot', 'figures', 'matplotlib')
        check_picture('--plot', args.plot)
    if args.images:
        from ..model.images import find_images
        find_images(Path(args.images))
    elif args.effective:
        needs('--effective without --images', 'demo', 'skimage')


def _input(model: Any, args: argparse.Namespace, unreadable: List[str]) -> 'torch.Tensor':
    from ..deploy.preprocessing import data_config, normalise, read_pixels
    config = data_config(model, args.image_size)
    return normalise(read_pixels(args.images, config, 16, unreadable), config)


def plot(fields: Dict[str, List['Layer']], effective: Dict[str, 'torch.Tensor'], path: Path) -> None:
    """Cumulative share of paths by window size, and the effective fields as pictures."""
    import matplotlib
    import torch
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    columns = 1 + len(effective)
    figure, axes = plt.subplots(1, columns, figsize=(4.5 + 3.2 * len(effective), 3.4), dpi=120, squeeze=False,
                                gridspec_kw={'width_ratios': [1.5] + [1] * len(effective)})
    for name, layers in fields.items():
        shares = layers[-1].field.shares()
        axes[0, 0].step(list(shares), torch.tensor(list(shares.values())).cumsum(0).numpy(), where='post', label=name)
    axes[0, 0].set_xlabel('window seen by a path, pixels')
    axes[0, 0].set_ylabel('share of paths, cumulative')
    axes[0, 0].legend(fontsize=7)
    for panel, (name, field) in zip(axes[0, 1:], effective.items(), strict=True):
        panel.imshow((field / field.max()).sqrt().numpy(), cmap='magma')
        panel.set_title(name, fontsize=7)
        panel.axis('off')
    figure.tight_layout()
    save_picture(figure, path)
