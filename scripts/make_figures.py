"""Draw every picture of the README: `python scripts/make_figures.py [--only NAME ...]`, into images/.

Needs the extra `figures` (matplotlib, scikit-image, grad-cam), no network and a few minutes. A rerun with the same
versions writes the same bytes. The numbers come from the models themselves, from the paper (named so), and from
scripts/results and the provenance of the shipped weights.
"""
import argparse
import io
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import diagrams
import matplotlib.pyplot as plt
import timm
import torch
from matplotlib.figure import Figure
from PIL import Image

import timm_res2net  # noqa: F401  registers the variants
from timm_res2net.deploy.preprocessing import data_config, normalise, read_pixels
from timm_res2net.insight import class_activation_maps, cost, group_activations, receptive_fields
from timm_res2net.insight.groups import paper_order
from timm_res2net.model.images import bundled
from timm_res2net.weights.catalogue import provenance

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = FOUR, _ = ('res2net23_32w_4s_cifar_custom.cifar100', 'seres2net23_16w_8s_cifar_custom.cifar100')
PHOTOGRAPHS = ('rocket', 'stereo_motorcycle', 'coffee')
STYLE = {
    'font.family': 'DejaVu Sans', 'mathtext.fontset': 'dejavusans', 'figure.facecolor': 'white',
    'savefig.facecolor': 'white', 'axes.edgecolor': diagrams.LINE, 'axes.labelcolor': diagrams.INK,
    'xtick.color': diagrams.INK, 'ytick.color': diagrams.INK, 'axes.spines.top': False, 'axes.spines.right': False}


class Paper(NamedTuple):
    """A row of the paper's tables: errors in percent, size where the paper gives it, and the variant here."""
    title: str
    name: str
    top1: float
    top5: Optional[float] = None
    parameters: Optional[float] = None  # millions
    macs: Optional[float] = None  # 1e9, the paper's "FLOPs"
    table: int = 1


PAPER = [
    Paper('ResNet-50', 'resnet50_custom', 23.85, 7.13),
    Paper('Res2Net-50 26w x 4s', 'res2net50_26w_4s_custom', 22.01, 6.15, macs=4.2, table=3),
    Paper('Res2Net-50 48w x 2s', 'res2net50_48w_2s_custom', 22.68, 6.47, macs=4.2, table=3),
    Paper('Res2Net-50 14w x 8s', 'res2net50_14w_8s_custom', 21.86, 6.14, macs=4.2, table=3),
    Paper('Res2Net-50 26w x 6s', 'res2net50_26w_6s_custom', 21.42, 5.87, macs=6.3, table=3),
    Paper('Res2Net-50 26w x 8s', 'res2net50_26w_8s_custom', 20.80, 5.63, macs=8.3, table=3),
    Paper('Res2Net-50-L 18w x 4s', 'res2net50_18w_4s_custom', 22.92, 6.67, macs=2.9, table=3),
    Paper('Res2NeXt-50', 'res2next50_custom', 21.76, 6.09),
    Paper('SE-Res2Net-50', 'seres2net50_26w_4s_custom', 21.56, 5.94),
    Paper('Res2Net-DLA-60', 'dla60_res2net_custom', 21.53, 5.80),
    Paper('Res2NeXt-DLA-60', 'dla60_res2next_custom', 21.55, 5.86),
    Paper('Res2Net-101 26w x 4s', 'res2net101_26w_4s_custom', 20.81, 5.57, table=2),
]
PAPER_CIFAR = [
    Paper('ResNeXt-29 8c x 64w', 'resnext29_8c_64w_cifar_custom', 17.90, parameters=34.4, table=4),
    Paper('ResNeXt-29 16c x 64w', 'resnext29_16c_64w_cifar_custom', 17.31, parameters=68.1, table=4),
    Paper('Res2NeXt-29 6c x 24w x 4s', 'res2next29_6c_24w_4s_cifar_custom', 16.98, parameters=24.3, table=4),
    Paper('Res2NeXt-29 8c x 25w x 4s', 'res2next29_8c_25w_4s_cifar_custom', 16.93, parameters=33.8, table=4),
    Paper('Res2NeXt-29 6c x 24w x 6s', 'res2next29_6c_24w_6s_cifar_custom', 16.79, parameters=36.7, table=4),
    Paper('SE-ResNeXt-29 8c x 64w', 'seresnext29_8c_64w_cifar_custom', 16.77, parameters=35.1, table=4),
    Paper('SE-Res2NeXt-29 6c x 24w x 4s', 'seres2next29_6c_24w_4s_cifar_custom', 16.68, table=4),
    Paper('SE-Res2NeXt-29 8c x 25w x 4s', 'seres2next29_8c_25w_4s_cifar_custom', 16.64, table=4),
    Paper('SE-Res2NeXt-29 6c x 24w x 6s', 'seres2next29_6c_24w_6s_cifar_custom', 16.56, table=4),
]


# where a name beside its point would cover another
LABELS = {
    'Res2Net-50 26w x 4s': (6, 2), 'Res2Net-50 14w x 8s': (6, 1), 'Res2NeXt-50': (6, -4), 'SE-Res2Net-50': (6, -1),
    'Res2Net-DLA-60': (-2, -11), 'Res2NeXt-DLA-60': (-40, -11), 'Res2Net-101 26w x 4s': (-90, -2)}


def evidence() -> Dict[str, Any]:
    """Our trainings at equal cost."""
    path = ROOT / 'scripts/results/evidence_cifar100.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} is not there, scripts/evidence.py writes it')
    return json.loads(path.read_text())


def photographs(size: int) -> List[Image.Image]:
    """Square centre crops of scikit-image's photographs."""
    result = []
    for _, array in bundled(PHOTOGRAPHS):
        image = Image.fromarray(array)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        crop = image.crop((left, top, left + side, top + side))
        result.append(crop.resize((size, size), Image.Resampling.BICUBIC))
    return result


def draw_figures() -> Figure:
    """(a), (b), (c) the modules; (d) what the groups of one block answer to photographs."""
    model = timm.create_model(FOUR, pretrained=True).eval()
    block = 'layer1.1'
    groups = {la.name: la.groups for la in receptive_fields(model)}[block]
    sides = [g.field.largest for g in paper_order(groups)]
    images = photographs(160)
    sizes = {'groups': data_config(model, 96), 'answer': data_config(model)}  # the answer at the size of training
    figure = plt.figure(figsize=(11, 11.2))
    for (left, width), draw in zip(((0.0, 0.24), (0.24, 0.46), (0.71, 0.28)), (
            diagrams.bottleneck, diagrams.res2net, diagrams.extras), strict=True):
        draw(figure.add_axes((left, 0.535, width, 0.435)))
    figure.text(0.5, 0.505, f'(d) one block, many receptive fields: mean activation of the groups of {block} of '
                f'{FOUR.split(".")[0]}', ha='center', fontsize=11, color=diagrams.INK)
    grid = figure.add_gridspec(len(images), 6, left=0.02, right=0.98, top=0.475, bottom=0.02, wspace=0.06, hspace=0.14)
    for i, image in enumerate(images):
        x = {key: normalise(read_pixels([image], config, 1), config) for key, config in sizes.items()}
        with torch.no_grad():
            maps = [y[0].mean(0) for y in group_activations(model, x['groups'], [block])[block]]
        heat = class_activation_maps(model, x['answer'])[0]
        answer = model.pretrained_cfg['label_names'][model(x['answer']).argmax()]
        windows = [f'$y_{j}$: {side} x {side} pixels' for j, side in enumerate(sides, 1)]
        titles = ['photograph', *windows, 'Grad-CAM, answer']
        for j, picture in enumerate([image, *maps, heat]):
            axes = figure.add_subplot(grid[i, j])
            axes.axis('off')
            if j == 5:
                axes.imshow(image)
                axes.imshow(heat, cmap='inferno', alpha=0.55, extent=(0, 160, 160, 0), interpolation='bicubic')
                axes.text(80, 174, answer, ha='center', fontsize=8, color=diagrams.INK)
            else:
                axes.imshow(picture, cmap='viridis', interpolation='bicubic')
            if i == 0:
                axes.set_title(titles[j], fontsize=9, color=diagrams.INK)
    return figure


def draw_table1() -> Figure:
    """The paper's rows, their sizes beside what is counted here, and our own CIFAR-100 results."""
    def number(value: Optional[float], digits: int) -> str:
        return '-' if value is None else f'{value:.{digits}f}'

    rows = [(
        '', 'data', 'top-1 error', 'top-5 error', 'Mparams, paper', 'here', 'GMACs, paper', 'here', 'errors from')]
    for data, papers in (('ImageNet', PAPER), ('CIFAR-100', PAPER_CIFAR)):
        for row in papers:
            # the paper's sizes on CIFAR come out with a classifier of 10 classes
            parameters, macs = cost(row.name, **(dict(num_classes=10) if data == 'CIFAR-100' else {}))
            rows.append((
                row.title, data, number(row.top1, 2), number(row.top5, 2), number(row.parameters, 1),
                f'{parameters / 1e6:.1f}', number(row.macs, 1), f'{macs / 1e9:.2f}', f'paper, table {row.table}'))
    for title, name in zip(('Res2Net-23 32w x 4s', 'SE-Res2Net-23 16w x 8s'), SHIPPED, strict=True):
        facts = provenance(name)
        parameters, macs = cost(name)
        rows.append((
            f'{title}, ships', 'CIFAR-100', f'{100 - facts["top1"]:.2f}', f'{100 - facts["top5"]:.2f}', '-',
            f'{parameters / 1e6:.2f}', '-', f'{macs / 1e9:.3f}', 'trained here'))
    ours = evidence()
    for run in ours['rows']:
        rows.append((
            f'Res2Net-23 {run["network"].split(" (")[0]}, {ours["epochs"]} epochs', 'CIFAR-100',
            *(f'{100 - statistics.mean(run[key]):.2f}' for key in ('top1', 'top5')), '-',
            f'{run["parameters"] / 1e6:.2f}', '-', f'{run["macs"] / 1e9:.3f}',
            f'here, {len(run["top1"])} run{"s" * (len(run["top1"]) > 1)}'))
    return diagrams.text_table(
        rows, (0.25, 0.09, 0.1, 0.1, 0.13, 0.06, 0.12, 0.06, 0.11), 'errors in percent, sizes in millions and 1e9',
        'paper: arXiv 1904.01169; here: parameters and MACs counted from the models of this package, with 10 classes '
        'for the rows of table 4; our errors from scripts/results and timm_res2net/weights')


def draw_accuracy_cost() -> Figure:
    """Error against cost: the paper's networks, and our own runs at equal cost."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), gridspec_kw={'width_ratios': [1.5, 1]})
    for row in PAPER:
        macs = cost(row.name)[1] / 1e9
        baseline = row.title == 'ResNet-50'
        left.scatter(macs, row.top1, color='#c05621' if baseline else '#2b6cb0', s=28, zorder=3)
        left.annotate(
            row.title, (macs, row.top1), xytext=LABELS.get(row.title, (5, 3)), textcoords='offset points', fontsize=7,
            color=diagrams.INK)
    left.set_xlabel('GMACs, counted here')
    left.set_ylabel('ImageNet top-1 error, % (paper)')
    left.set_xlim(2.5, 9.8)
    left.grid(color='#e4e7eb', zorder=0)
    ours = evidence()
    for i, row in enumerate(ours['rows']):
        color = '#c05621' if i == 0 else '#2b6cb0'
        mean = statistics.mean(row['top1'])
        right.scatter([i] * len(row['top1']), row['top1'], color=color, s=28, alpha=0.6, zorder=3)
        right.hlines(mean, i - 0.25, i + 0.25, color=color, linewidth=2)
        right.annotate(f'{mean:.1f}', (i + 0.25, mean), xytext=(3, -3), textcoords='offset points', fontsize=8,
                       color=diagrams.INK)
    names = [row['network'].split(' (')[0].replace(' with ', '\nwith ') for row in ours['rows']]
    names = [name + ''.join(
        f',\n{row[key] - 1:+.0%} {words}' for key, words in (('parameters_ratio', 'params'), ('macs_ratio', 'MACs'))
        if abs(row[key] - 1) > 0.02) for name, row in zip(names, ours['rows'], strict=True)]
    right.set_xticks(range(len(names)), names)
    right.set_xlim(-0.5, len(ours['rows']) - 0.2)
    right.grid(axis='y', color='#e4e7eb', zorder=0)
    right.tick_params(axis='x', labelsize=7.5)
    right.set_ylabel(f'CIFAR-100 top-1, %, {ours["epochs"]} epochs, ours')
    right.set_title('equal parameters and MACs; a dot a run, a line their mean', fontsize=9, color=diagrams.INK)
    figure.tight_layout()
    return figure


def draw_receptive_fields() -> Figure:
    """Paths by window, for scales at equal cost."""
    names = {1: 'resnet50_custom', 2: 'res2net50_48w_2s_custom', 4: 'res2net50_26w_4s_custom'}
    names[8] = 'res2net50_14w_8s_custom'
    colors = ('#c05621', '#90cdf4', '#3182ce', '#1a365d')
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for (scale, name), color in zip(names.items(), colors, strict=True):
        layers = receptive_fields(timm.create_model(name, device='meta'))
        shares = layers[-1].field.shares()
        left.step(list(shares), torch.tensor(list(shares.values())).cumsum(0), where='post', color=color,
                  label=f'scale {scale}')
        blocks = [layer for layer in layers if layer.groups]
        right.plot(range(1, len(blocks) + 1), [b.field.largest for b in blocks], color=color, marker='o', markersize=3,
                   linewidth=5 if scale == 1 else 1.5)  # scales 1 and 2 see the same
    left.set_xlabel('window that a path sees, pixels')
    left.set_ylabel('share of paths, cumulative')
    left.set_title('all paths through the network', fontsize=9, color=diagrams.INK)
    left.legend(fontsize=8, frameon=False)
    right.axhline(224, color=diagrams.GREY, linewidth=0.8, linestyle='--')
    right.text(1, 232, 'image of 224 pixels', fontsize=7.5, color=diagrams.GREY)
    right.set_xlabel('block')
    right.set_ylabel('largest window, pixels')
    right.set_title('ResNet-50 and Res2Net-50 at equal cost', fontsize=9, color=diagrams.INK)
    figure.tight_layout()
    return figure


FIGURES: Dict[str, Callable[[], Figure]] = {
    'figures': draw_figures,
    'math': diagrams.mathematics,
    'table1': draw_table1,
    'accuracy_cost': draw_accuracy_cost,
    'receptive_fields': draw_receptive_fields,
}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of few colours without a date, the same bytes each time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, metadata={'Software': None})
    plt.close(figure)
    image = Image.open(buffer).convert('RGB')
    image.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument('--output', type=Path, default=ROOT / 'images')
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    plt.switch_backend('Agg')
    torch.set_num_threads(1)  # the same sums in the same order
    with plt.rc_context(STYLE):
        for name in args.only:
            path = args.output / f'{name}.png'
            save(FIGURES[name](), path)
            print(f'{path}: {path.stat().st_size / 1e3:.0f} kB')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ImportError, OSError) as error:
        sys.exit(f'error: {error}')
