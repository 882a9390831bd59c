"""Receptive fields of a model: `python scripts/receptive_field.py NAME [NAME ...] [--plot FILE] [--effective]`.

Prints, for each layer and each group of its hierarchical split, the smallest and the largest window of the image that a
unit sees. --plot draws how many paths through each model see windows of each size; --effective adds the measured field:
the gradient of the centre unit, averaged over real photographs (--images, or scikit-image's). Compare with scale 1:

    python scripts/receptive_field.py resnet50_custom res2net50_26w_4s_custom --plot fields.png
"""
import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Dict, List

import timm
import torch
from classify import load_model
from timm.utils import ParseKwargs

from timm_res2net.deploy.preprocessing import data_config, normalise, read_pixels
from timm_res2net.insight import Layer, effective_receptive_field, receptive_fields, side_of_share, table


def plot(fields: Dict[str, List[Layer]], effective: Dict[str, torch.Tensor], path: Path) -> None:
    """Cumulative share of paths by window size, and the effective fields as pictures."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    columns = 1 + len(effective)
    figure, axes = plt.subplots(1, columns, figsize=(4.5 + 3.2 * len(effective), 3.4), dpi=120, squeeze=False,
                                gridspec_kw={'width_ratios': [1.5] + [1] * len(effective)})
    for name, layers in fields.items():
        shares = layers[-1].field.shares()
        axes[0, 0].step(list(shares), torch.tensor(list(shares.values())).cumsum(0), where='post', label=name)
    axes[0, 0].set_xlabel('window seen by a path, pixels')
    axes[0, 0].set_ylabel('share of paths, cumulative')
    axes[0, 0].legend(fontsize=7)
    for panel, (name, field) in zip(axes[0, 1:], effective.items(), strict=True):
        panel.imshow((field / field.max()).sqrt(), cmap='magma')
        panel.set_title(name, fontsize=7)
        panel.axis('off')
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', metavar='NAME')
    parser.add_argument('--model-kwargs', nargs='*', default={}, action=ParseKwargs, help='arguments for all of them')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='picture to write (.png, .svg)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead of tables')
    parser.add_argument('--effective', action='store_true', help='measure the effective field too')
    parser.add_argument('--images', help="folder of images for --effective (scikit-image's photographs)")
    parser.add_argument('--image-size', type=int, help="for --effective: height and width (the model's own)")
    parser.add_argument('--layer', help='for --effective: module whose centre unit is taken (the last map)')
    args = parser.parse_args()
    if not args.effective and (args.images or args.image_size or args.layer):
        parser.error('--images, --image-size and --layer are for --effective, which is not there')
    if args.plot and importlib.util.find_spec('matplotlib') is None:
        parser.error("--plot needs matplotlib: pip install 'timm-res2net[figures]'")
    fields: Dict[str, List[Layer]] = {}
    effective: Dict[str, torch.Tensor] = {}
    answer = {}
    try:
        for name in args.models:
            # weights only where they matter and there are any
            weights = args.effective and not args.model_kwargs and (
                ':' in name or timm.models.is_model_pretrained(name))
            model = load_model(name, weights, **args.model_kwargs)
            fields[name] = receptive_fields(model)
            answer[name] = {
                'layers': [{
                    'name': layer.name, 'stride': layer.field.jump, 'smallest': layer.field.smallest,
                    'largest': layer.field.largest,
                    'groups': [{'channels': g.channels, 'largest': g.field.largest} for g in layer.groups],
                } for layer in fields[name]],
                'shares': fields[name][-1].field.shares(),
            }
            if args.effective:
                config = data_config(model, args.image_size)
                images = normalise(read_pixels(args.images, config, 16), config)
                effective[name] = effective_receptive_field(model, images, args.layer)
                answer[name]['effective'] = {s: side_of_share(effective[name], s) for s in (0.5, 0.9)}
        if args.plot:
            plot(fields, effective, args.plot)
    except Exception as error:  # whatever timm, a checkpoint or an image says, in one line
        print(f'error: {error}', file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(answer, indent=2))
        return 0
    for name, layers in fields.items():
        print(f'{name}\n{table(layers)}')
        if name in effective:
            half, most = answer[name]['effective'].values()
            print(f'effective: half of the gradient within {half} pixels of side, 90% within {most}')
        print()
    return 0


if __name__ == '__main__':
    sys.exit(main())
