"""The diagram of a block with its own widths, as SVG in the colours of the page around it."""
import html
from typing import List

from .block import Block
from .drawing import group_colour

_STEP, _BOX, _TALL = 112, 88, 34  # from group to group, width and height of a box


def diagram(block: Block) -> str:
    """conv1, the groups with their convolutions and additions, conv3, attention and shortcut, top to bottom."""
    s = block.scale
    wide = max(s, 2) * _STEP + 70
    middle = (wide - 70) / 2
    xs = [_STEP * (i + 0.5) + (middle - s * _STEP / 2) for i in range(s)]
    parts: List[str] = []
    _trunk(parts, block, middle, wide)
    for i, x in enumerate(xs, 1):
        _group(parts, block, i, x, xs)
    words = html.escape(describe_in_words(block))
    return (f'<svg class="diagram" viewBox="0 0 {wide} 500" role="img" aria-label="{words}">'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>{"".join(parts)}</svg>')


def describe_in_words(block: Block) -> str:
    """The same as text."""
    stride = f' with stride {block.stride}' if block.stride > 1 else ''
    added = {
        'hierarchical': 'each but the first convolved, from the third on after adding the one before',
        'parallel': 'each but the first convolved alone, the first pooled',
        'unpooled': 'each but the first convolved alone',
        'parallel_conv': 'each convolved alone',
        'plain': ''}[block.form]
    split = f'{block.scale} groups of {block.width} channels, {added}' if block.scale > 1 else (
        f'one 3 x 3 convolution of {block.width} channels, as in a bottleneck')
    attention = f'; {block.attention} on the {block.attends}' if block.attention else ''
    return (f'Block {block.name}{stride}: 1 x 1 convolution from {block.inputs} to {block.scale * block.width} '
            f'channels, {split}, cardinality {block.cardinality}, 1 x 1 convolution to {block.outputs} channels'
            f'{attention}, plus the {block.shortcut} shortcut.')


def _box(x: float, y: float, lines: List[str], kind: str, width: float = _BOX) -> str:
    tall = _TALL + 12 * (len(lines) - 1)
    text = ''.join(f'<text x="{x}" y="{y + 4.5 + 14 * (k - (len(lines) - 1) / 2)}">{html.escape(line)}</text>'
                   for k, line in enumerate(lines))
    return (f'<rect x="{x - width / 2}" y="{y - tall / 2}" width="{width}" height="{tall}" rx="6" class="{kind}"/>'
            f'{text}')


def _line(points: str) -> str:
    return f'<polyline points="{points}" marker-end="url(#tip)"/>'


def _plus(x: float, y: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="9"/><path d="M{x - 5} {y}h10M{x} {y - 5}v10"/>'


def _trunk(parts: List[str], block: Block, middle: float, wide: float) -> None:
    """What is around the groups: both 1 x 1 convolutions, attention, the shortcut."""
    def stride(place: str) -> str:
        return f' / {block.stride}' if block.strided == place else ''

    channels, side = block.scale * block.width, wide - 24
    parts += [
        _line(f'{middle},4 {middle},30'), _line(f'{middle},14 {side},14 {side},478 {middle + 11},478'),
        _box(middle, 50, [f'1 x 1{stride("conv1")}', f'{block.inputs} → {channels}'], 'one', 120),
        f'<text x="{side + 8}" y="250" transform="rotate(90 {side + 8} 250)">{block.shortcut} shortcut</text>',
        _box(middle, 392, ['1 x 1', f'{channels} → {block.outputs}'], 'one', 120),
        _line(f'{middle},416 {middle},467'), _plus(middle, 478), _line(f'{middle},487 {middle},499')]
    if block.attention:
        parts.append(_box(middle, 345 if block.attends == 'split' else 440, [block.attention], 'extra', 130))


def _group(parts: List[str], block: Block, i: int, x: float, xs: List[float]) -> None:
    """x_i to y_i."""
    hierarchical, s = block.form == 'hierarchical', block.scale
    middle = sum(xs) / s
    kernel = ['3 x 3' + (f' / {block.stride}' if block.strided == 'split' else '')]
    kernel += [f'c = {block.cardinality}'] if block.cardinality > 1 else []
    first = i == 1 and s > 1 and block.form != 'parallel_conv'
    parts += [_line(f'{middle},73 {x},{100}'), _box(x, 118, [f'x{_low(i)}: {block.width}'], 'plain')]
    if hierarchical and i > 2:
        parts += [_line(f'{x},135 {x},158'), _plus(x, 168), _line(f'{x},177 {x},196')]
    elif not first:
        parts.append(_line(f'{x},135 {x},196'))
    if not first:
        parts.append(_box(x, 218 if len(kernel) > 1 else 214, kernel, 'three'))
    elif block.form == 'parallel':
        kernel = ['pool 3 x 3' + (f' / {block.stride}' if block.strided == 'split' else '')]
        parts += [_line(f'{x},135 {x},196'), _box(x, 214, kernel, 'extra')]
    top = 135 if first and block.form != 'parallel' else 242 if len(kernel) > 1 else 231
    if hierarchical and 1 < i < s:
        between = x + _STEP / 2
        parts.append(_line(f'{x},256 {between},256 {between},168 {xs[i] - 11},168'))
    parts += [
        _line(f'{x},{top} {x},278'),
        f'<rect x="{x - _BOX / 2}" y="279" width="{_BOX}" height="34" rx="6" class="plain" '
        f'style="stroke:{group_colour(i)};stroke-width:3"/>',
        f'<text x="{x}" y="300.5">y{_low(i)}: {block.sides[i - 1]} px</text>',
        _line(f'{x},314 {middle},{327 if block.attends == "split" and block.attention else 368}')]


def _low(i: int) -> str:
    """The number as an index."""
    return ''.join('₀₁₂₃₄₅₆₇₈₉'[int(d)] for d in str(i))
