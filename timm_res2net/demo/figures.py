"""What is computed, as HTML: pictures with their words, windows drawn over the photo, tables."""
import html
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from PIL import Image

from .answer import Answer
from .drawing import INFERNO, VIRIDIS, coloured, data_uri, group_colour, heat_over, hottest, image_tag, place, stretched
from .numbers import rows
from .windows import Box, Seen

SIDE = 448  # pixels of the pictures on the page


def note(text: str, wrong: bool = False) -> str:
    """A line about the state of things, read out where it is new."""
    role, kind = ('alert', 'note wrong') if wrong else ('status', 'note')
    return f'<p class="{kind}" role="{role}">{html.escape(text)}</p>'


def heading(model: str, text: str, wrong: bool = False) -> str:
    """What is above a column: which model, and a word on it."""
    return f'<h3>{html.escape(model)}</h3>{note(text, wrong) if text else ""}'


def photo_buttons(photos: Sequence[Tuple[str, Image.Image]]) -> str:
    """Photos to choose from, by name."""
    buttons = (
        f'<button type="button" value="{name}">{image_tag(data_uri(np.asarray(image)), "")}'
        f'{name.split("_")[-1]}</button>' for name, image in photos)
    return f'<p class="legend">Or one of scikit-image\'s:</p><div class="photos">{"".join(buttons)}</div>'


def percent(probability: float) -> str:
    """As `timm-res2net classify` prints it."""
    return f'{probability:.1%}'


def bar_style(element: str, found: Sequence[Answer]) -> str:
    """Bars behind the options of a choice of classes."""
    rules = (f'#{element} label:nth-of-type({i}) {{ --share: {answer.probability:.4f}; }}'
             for i, answer in enumerate(found, 1))
    return f'<style>{"".join(rules)}</style>'


def map_figure(model: str, photo: np.ndarray, title: str, label: str, heat: torch.Tensor) -> str:
    """A class activation map over the photo, uint8 (N, N, 3)."""
    if heat.any():
        words = f'{title} with the class activation map of {label} by {model}: it is hottest at the {hottest(heat)}.'
    else:
        words = f'{title}: nothing in it speaks for {label} in this layer of {model}, so its map is empty.'
    return (f'<figure class="map">{image_tag(data_uri(heat_over(photo, heat)), words)}'
            f'<figcaption>where <b>{html.escape(label)}</b> is seen: <span class="scale" role="img" '
            'aria-label="from dark, nothing, to bright, the most"></span></figcaption></figure>')


def group_figures(maps: Sequence[torch.Tensor], seen: Sequence[Seen], what: str) -> str:
    """A card a group: its activation, its effective field, its numbers.

    Args:
        maps: (h, w) each.
        seen: What the unit at the chosen pixel sees.
        what: The activations in words, 'mean of the channels' or 'channel 3'.
    """
    cards = []
    for activation, one in zip(maps, seen, strict=True):
        gradient = (one.gradient / one.gradient.max().clamp_min(torch.finfo(one.gradient.dtype).tiny)).sqrt()
        answer = image_tag(
            data_uri(coloured(stretched(activation), VIRIDIS), 192, sharp=True),
            f'Activation of y{one.group}, {what}, {activation.shape[0]} x {activation.shape[1]} cells: the largest '
            f'at the {hottest(activation)}.')
        field = image_tag(
            data_uri(coloured(gradient, INFERNO), 192),
            f'Effective field of y{one.group} around the chosen pixel: {effective(one)}.')
        cards.append(
            f'<li style="--group:{group_colour(one.group)}"><h4>{_y(one.group)}</h4>'
            f'<div class="pair">{answer}{field}</div><p><b>{one.side} x {one.side}</b> pixels, '
            f'{one.channels} channels<br>{effective(one)}</p></li>')
    return (f'<p class="legend">Left: what the group answers ({html.escape(what)}). Right: which pixels move the unit '
            f'at the chosen point, by the gradient.</p><ul class="groups">{"".join(cards)}</ul>')


def effective(seen: Seen) -> str:
    """The effective field in words."""
    if seen.half is None:
        return 'off here: no pixel moves it'
    return f'half of it within {seen.half}, 90% within {seen.most}'


def windows_figure(photo: np.ndarray, size: int, at: Tuple[float, float], seen: Sequence[Seen], name: str) -> str:
    """The photo, uint8 (N, N, 3), with what each group sees around a pixel of it: to be clicked."""
    sides = ', '.join(f'y{one.group} {one.side} pixels' for one in seen)
    words = (f'The photo with the windows around the pixel at the {place(at[1], at[0])}, {round(at[0] * 100)}% across '
             f'and {round(at[1] * 100)}% down: in block {name} {sides} of {size}.')
    beyond = ', beyond which some windows go' if any(_inside(one.box, size) != one.box for one in seen) else ''
    outside = max(one.outside for one in seen)
    attention = '' if outside < 0.001 else (
        f'; up to {percent(outside)} of the gradient comes from outside, through channel attention, which sees all of '
        'them')
    return (f'<div class="photo">{image_tag(data_uri(photo), words)}{_overlay(size, seen, at)}</div>'
            f'<p class="legend">{_key(seen)}<br>solid: what it can see through its convolutions, dashed: the square '
            f'that holds half of its gradient; of {size} x {size} pixels{beyond}{attention}</p>')


def depth_figure(
        photo: np.ndarray,
        size: int,
        at: Tuple[float, float],
        found: Dict[str, List[Seen]],
        chosen: str,
) -> str:
    """The same for every block, small, from the first to the last."""
    uri = data_uri(photo, 160)
    cards = []
    for name, seen in found.items():
        sides = ', '.join(f'y{one.group} {one.side}, {effective(one)}' for one in seen)
        here = ' aria-current="true"' if name == chosen else ''
        cards.append(
            f'<li{here}><h4>{html.escape(name)}</h4><div class="small">'
            f'{image_tag(uri, f"Windows in block {name}, in pixels: {sides}.")}{_overlay(size, seen, at)}</div>'
            f'<p>{_sides(seen)}</p></li>')
    return (f'<h3>Around this pixel at every depth</h3><p class="legend">what {_y(1)}, {_y(2)}, .. can see, and where '
            f'half of their gradient is, in pixels</p><ol class="depth">{"".join(cards)}</ol>')


def _sides(seen: Sequence[Seen]) -> str:
    """Theoretical sides, and what half of the gradient takes, group by group."""
    halves = ', '.join('-' if one.half is None else str(one.half) for one in seen)
    return f'sees {", ".join(str(one.side) for one in seen)}<br>half in {halves}'


def _y(group: int) -> str:
    return f'<i>y</i><sub>{group}</sub>'


def _key(seen: Sequence[Seen]) -> str:
    return ' '.join(f'<span class="key" style="--group:{group_colour(one.group)}">{_y(one.group)} {one.side}</span>'
                    for one in seen)


def _overlay(size: int, seen: Sequence[Seen], at: Tuple[float, float]) -> str:
    """Windows as SVG in pixels of the network's input; the largest first, so that the smaller ones lie above."""
    shapes = []
    for one in sorted(seen, key=lambda s: -s.side):
        colour = group_colour(one.group)
        shapes.append(_square(_inside(one.box, size), colour, ''))
        if one.half is not None:
            x, y = one.unit
            reach = one.half // 2
            square = x - reach, y - reach, x + reach + 1, y + reach + 1
            shapes.append(_square(_inside(square, size), colour, 'dashed'))
    shapes.append(f'<circle cx="{at[0] * size:.2f}" cy="{at[1] * size:.2f}" r="{size / 90:.2f}" class="point"/>')
    return f'<svg viewBox="0 0 {size} {size}" aria-hidden="true">{"".join(shapes)}</svg>'


def _inside(box: Box, size: int) -> Box:
    """The part of a box on the photo."""
    left, top, right, bottom = (min(max(v, 0), size) for v in box)
    return left, top, right, bottom


def _square(box: Box, colour: str, kind: str) -> str:
    left, top, right, bottom = box
    shape = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
    return f'<rect {shape} class="under"/><rect {shape} class="{kind}" stroke="{colour}"/>'


def numbers_table(named: Sequence[Tuple[str, Dict[str, Any]]]) -> str:
    """The numbers of the models side by side."""
    head = ''.join(f'<th scope="col">{html.escape(name)}</th>' for name, _ in named)
    columns = [rows(facts) for _, facts in named]
    lines = ''.join(
        f'<tr><th scope="row">{title}</th>{"".join(f"<td>{column[title]}</td>" for column in columns)}</tr>'
        for title in columns[0])
    threads = named[0][1]['threads']
    return (f'<table class="numbers"><caption>for one image of the model\'s own size; milliseconds are medians, '
            f'measured here on {threads} thread{"s" * (threads > 1)}</caption><thead><tr><td></td>{head}</tr></thead>'
            f'<tbody>{lines}</tbody></table>')
