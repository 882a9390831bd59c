"""Diagrams of the modules for scripts/make_figures.py: boxes and arrows, no data."""
from typing import Sequence, Tuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, GREY, LINE = '#1f2933', '#7b8794', '#52606d'
CONV1, CONV3, MERGE, EXTRA, PLAIN = '#bee3f8', '#fbd38d', '#e4e7eb', '#c6f6d5', '#ffffff'
Point = Tuple[float, float]


def panel(axes: Axes, title: str, width: float) -> None:
    """An empty drawing board."""
    axes.set_xlim(0, width)
    axes.set_ylim(0, 14)
    axes.set_aspect('equal')
    axes.axis('off')
    axes.set_title(title, fontsize=11, color=INK, pad=6)


def box(axes: Axes, at: Point, text: str, color: str, width: float = 3, height: float = 0.95, size: float = 9) -> None:
    """A rounded box around its centre."""
    axes.add_patch(FancyBboxPatch(
        (at[0] - width / 2, at[1] - height / 2), width, height, boxstyle='round,pad=0,rounding_size=0.18',
        facecolor=color, edgecolor=LINE, linewidth=1))
    axes.text(*at, text, ha='center', va='center', fontsize=size, color=INK)


def arrow(axes: Axes, start: Point, end: Point, color: str = LINE) -> None:
    axes.add_patch(FancyArrowPatch(
        start, end, arrowstyle='-|>', mutation_scale=9, linewidth=1.1, color=color, shrinkA=0, shrinkB=0))


def line(axes: Axes, points: Sequence[Point]) -> None:
    axes.plot(*zip(*points, strict=True), color=LINE, linewidth=1.1, solid_joinstyle='round')


def plus(axes: Axes, at: Point) -> None:
    axes.add_patch(plt.Circle(at, 0.3, facecolor=PLAIN, edgecolor=LINE, linewidth=1.1, zorder=3))
    axes.text(*at, '+', ha='center', va='center', fontsize=10, color=INK, zorder=4)


def shortcut(axes: Axes, x: float, side: float, top: float, bottom: float) -> None:
    """The identity around a block, from its input to the addition."""
    line(axes, [(x, top), (side, top), (side, bottom)])
    arrow(axes, (side, bottom), (x + (0.3 if side > x else -0.3), bottom))


def bottleneck(axes: Axes) -> None:
    """(a) The bottleneck of ResNet."""
    panel(axes, '(a) bottleneck', 7)
    box(axes, (3.5, 11.6), '1 x 1', CONV1)
    box(axes, (3.5, 7.2), '3 x 3', CONV3)
    box(axes, (3.5, 2.8), '1 x 1', CONV1)
    for start, end in ((13.6, 12.08), (11.12, 7.68), (6.72, 3.28), (2.32, 1.3)):
        arrow(axes, (3.5, start), (3.5, end))
    shortcut(axes, 3.5, 6.3, 13.1, 1.0)
    plus(axes, (3.5, 1.0))
    arrow(axes, (3.5, 0.7), (3.5, 0.05))


def hierarchy(axes: Axes) -> None:
    """The split alone between y = 10.6 and y = 4: x_1 .. x_4 down to y_1 .. y_4."""
    xs = (1.6, 4.2, 6.8, 9.4)
    for i, x in enumerate(xs, 1):
        box(axes, (x, 9.6), f'$x_{i}$', MERGE, 1.5, 0.8, 10)
        box(axes, (x, 4.2), f'$y_{i}$', MERGE, 1.5, 0.8, 10)
        if i == 1:
            arrow(axes, (x, 9.2), (x, 4.6))
            continue
        if i > 2:
            plus(axes, (x, 8.25))
            arrow(axes, (x, 9.2), (x, 8.55))
            arrow(axes, (x, 7.95), (x, 7.0))
        else:
            arrow(axes, (x, 9.2), (x, 7.0))
        box(axes, (x, 6.5), f'$K_{i}$  3 x 3', CONV3, 1.9, 0.95)
        arrow(axes, (x, 6.02), (x, 4.6))
        if i < 4:  # y_i is added to x_{i+1}
            middle = x + 1.3
            line(axes, [(x, 5.35), (middle, 5.35), (middle, 8.25)])
            arrow(axes, (middle, 8.25), (xs[i] - 0.3, 8.25))


def res2net(axes: Axes) -> None:
    """(b) The Res2Net module."""
    panel(axes, '(b) Res2Net module, scale s = 4', 12)
    box(axes, (5.5, 12.2), '1 x 1', CONV1)
    arrow(axes, (5.5, 13.7), (5.5, 12.68))
    for x in (1.6, 4.2, 6.8, 9.4):
        arrow(axes, (5.5, 11.72), (x, 10.0))
        arrow(axes, (x, 3.8), (5.5, 2.93))
    hierarchy(axes)
    box(axes, (5.5, 2.45), '1 x 1', CONV1)
    arrow(axes, (5.5, 1.97), (5.5, 1.3))
    shortcut(axes, 5.5, 11.5, 13.3, 1.0)
    plus(axes, (5.5, 1.0))
    arrow(axes, (5.5, 0.7), (5.5, 0.05))


def extras(axes: Axes) -> None:
    """(c) Where cardinality and squeeze-and-excitation enter."""
    panel(axes, '(c) cardinality c and SE', 8)
    box(axes, (3.4, 11.6), '1 x 1', CONV1)
    box(axes, (3.4, 9.2), 'split', MERGE, 3.0, 0.8)
    for x in (2.1, 2.75, 3.4, 4.05, 4.7):
        box(axes, (x, 7.2), '', CONV3, 0.55)
    axes.text(5.2, 7.2, 'each $K_i$: 3 x 3\nin c groups', fontsize=8, color=INK, va='center')
    box(axes, (3.4, 5.3), 'concatenate', MERGE, 3.0, 0.8)
    box(axes, (3.4, 3.8), '1 x 1', CONV1)
    box(axes, (3.4, 2.3), 'SE', EXTRA, 3.0, 0.8)
    axes.text(5.1, 2.3, 'channel\nattention', fontsize=8, color=INK, va='center')
    for start, end in ((13.6, 12.08), (11.12, 9.6), (8.8, 7.68), (6.72, 5.7), (4.9, 4.28), (3.32, 2.7), (1.9, 1.3)):
        arrow(axes, (3.4, start), (3.4, end))
    shortcut(axes, 3.4, 7.4, 13.1, 1.0)
    plus(axes, (3.4, 1.0))
    arrow(axes, (3.4, 0.7), (3.4, 0.05))


def modules() -> Figure:
    """(a), (b) and (c) side by side."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 5.2), gridspec_kw={'width_ratios': [7, 12, 8]})
    bottleneck(axes[0])
    res2net(axes[1])
    extras(axes[2])
    figure.tight_layout(w_pad=0.5)
    return figure


def mathematics() -> Figure:
    """The equations beside the split, and the order of channels in published weights."""
    figure = plt.figure(figsize=(11, 5.4))
    left = figure.add_axes((0.01, 0.02, 0.44, 0.9))
    panel(left, 'split, convolve, concatenate', 11)
    left.set_ylim(0.4, 11.4)
    hierarchy(left)
    for i, text in enumerate(('1 x 1', '3 x 3', '3 x 3, 5 x 5', '3 x 3, 5 x 5, 7 x 7')):
        left.text((1.6, 4.2, 6.8, 9.4)[i], 3.3, text, ha='center', fontsize=7.5, color=GREY)
    left.text(5.5, 2.5, 'windows that each group sees', ha='center', fontsize=8, color=GREY)
    right = figure.add_axes((0.47, 0.02, 0.52, 0.9))
    panel(right, 'equations (paper, section 3.1)', 12)
    equations = (
        r'$y_1 = x_1$',
        r'$y_2 = K_2(x_2)$',
        r'$y_i = K_i(x_i + y_{i-1})\qquad 3 \leq i \leq s$',
        r'$Y = \mathrm{concat}(y_1, \ldots, y_s)$',
    )
    for i, text in enumerate(equations):
        right.text(0.6, 12.6 - 1.15 * i, text, fontsize=13, color=INK, va='center')
    right.text(0.6, 8.0, r'$K_i$: 3 x 3 convolution in $c$ groups, norm, ReLU', fontsize=9.5, color=INK)
    right.text(0.6, 7.2, r'group width: $\lfloor\,$planes$\,\cdot w\,/\,64\rfloor\cdot c$; "26w x 4s": $w=26$, $s=4$',
               fontsize=9.5, color=INK)
    groups = ['$x_1$', '$x_2$', '$x_3$', '$x_4$']
    rows = (('paper', groups, 4.6), ('published weights', groups[1:] + groups[:1], 2.2))
    right.text(0.6, 5.8, 'order of the channel groups', fontsize=9.5, color=INK)
    for title, names, y in rows:
        right.text(0.6, y, title, fontsize=8.5, color=GREY, va='center')
        for j, name in enumerate(names):
            color = EXTRA if name == '$x_1$' else MERGE
            box(right, (5.2 + 1.75 * j, y), name, color, 1.6, 0.9, 10)
    for j in range(4):
        arrow(right, (5.2 + 1.75 * j, 4.1), (5.2 + 1.75 * ((j - 1) % 4), 2.7), color=GREY)
    right.text(0.6, 0.9, "the identity group comes last, in conv1's output and in conv3's input", fontsize=8.5,
               color=GREY)
    return figure


def text_table(
        rows: Sequence[Sequence[str]],
        widths: Sequence[float],
        title: str,
        notes: str,
) -> Figure:
    """A table as a picture; the first row is the header."""
    height = 0.3 * len(rows) + 0.9
    figure = plt.figure(figsize=(11, height))
    axes = figure.add_axes((0.015, 0.4 / height, 0.97, 1 - 0.85 / height))
    axes.axis('off')
    axes.set_title(title, fontsize=11, color=INK, loc='left')
    table = axes.table(cellText=rows[1:], colLabels=rows[0], colWidths=widths, bbox=(0, 0, 1, 1), cellLoc='right')
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor('#cbd2d9')
        cell.get_text().set_color(INK)
        if column == 0:
            cell.get_text().set_ha('left')
            cell.PAD = 0.02
        if row == 0:
            cell.set_facecolor(MERGE)
            cell.get_text().set_weight('bold')
    figure.text(0.015, 0.12 / height, notes, fontsize=7.5, color=GREY)
    return figure
