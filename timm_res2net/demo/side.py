"""One of the two columns of the page: a model's answer and map, the inside of one of its blocks, as handlers.

Every handler takes what the visitor has chosen and returns what his page shows; nothing is kept between two calls but
the models, which nobody changes, so two visitors do not meet.
"""
import dataclasses
from typing import Any, List, Optional, Tuple

import gradio as gr

from ..weights.words import one_line
from .answer import answers, heat
from .block import describe, group_maps
from .diagram import describe_in_words, diagram
from .figures import SIDE, bar_style, depth_figure, group_figures, heading, map_figure, note, percent, windows_figure
from .photo import Photo
from .subject import Shelf, Subject
from .windows import windows

CLICK = """element.addEventListener('click', event => {
    const photo = event.target.closest('.photo');
    if (!photo) return;
    const box = photo.getBoundingClientRect();
    trigger('click', {across: (event.clientX - box.left) / box.width, down: (event.clientY - box.top) / box.height});
});"""
FOREIGN = '{} is no network of this package, so there are no groups to look into: choose a Res2Net.'


def kept(value: Any, choices: List[Any], default: Any) -> Any:
    """What was chosen, where it still can be."""
    return value if value in choices else default


def sizes(subject: Subject) -> List[int]:
    """Pixels that a network may be given to look inside: its own, and up to four times that within reason."""
    return [subject.size, *(n * subject.size for n in (2, 3, 4) if n * subject.size <= 512)]


def usual_size(subject: Subject) -> int:
    """The smallest at which the maps of a network for small images are pictures."""
    return next((n for n in sizes(subject) if n >= 96), subject.size)


def usual_block(subject: Subject) -> Optional[str]:
    """The last whose groups are added and see no more than the picture, where there is one."""
    good = (name for name in reversed(subject.blocks) if describe(subject, name).form == 'hierarchical'
            and max(describe(subject, name).sides) <= usual_size(subject))
    return next(good, subject.blocks[0] if subject.blocks else None)


@dataclasses.dataclass
class Side:
    """The components of a column, and what fills them."""
    shelf: Shelf
    number: int
    model: Any
    column: Any = None
    inside_column: Any = None
    note: Any = None
    bars: Any = None
    title: Any = None
    other: Any = None
    layer: Any = None
    map: Any = None
    block: Any = None
    size: Any = None
    channel: Any = None
    windows: Any = None
    groups: Any = None
    diagram: Any = None
    depth: Any = None

    def lay_out_answer(self) -> None:
        """The column of the first tab."""
        n = self.number
        with gr.Column(min_width=300, visible=n == 1) as self.column:
            self.note = gr.HTML(elem_id=f'note-{n}')
            with gr.Row():
                with gr.Column(min_width=280):
                    self.map = gr.HTML(elem_id=f'map-{n}')
                with gr.Column(min_width=280):
                    self.bars = gr.Radio(
                        [], label='The five best classes: choose one to see where it is', elem_id=f'bars-{n}',
                        elem_classes='bars')
                    self.other = gr.Dropdown([], label='Or any other class', elem_id=f'other-{n}')
                    self.layer = gr.Dropdown([], label='Layer of the map', elem_id=f'layer-{n}')

    def lay_out_inside(self) -> None:
        """The column of the second tab."""
        n = self.number
        with gr.Column(min_width=300, visible=n == 1) as self.inside_column:
            self.title = gr.HTML()
            with gr.Row():
                with gr.Column(min_width=280):
                    self.windows = gr.HTML(elem_id=f'windows-{n}', js_on_load=CLICK)
                with gr.Column(min_width=280):
                    with gr.Row():
                        self.block = gr.Dropdown([], label='Block', elem_id=f'block-{n}', min_width=120)
                        self.size = gr.Dropdown([], label='Pixels given to it', elem_id=f'size-{n}', min_width=120)
                    self.channel = gr.Slider(
                        0, 1, 0, step=1, label='Channel of each group (0: the mean of all)', elem_id=f'channel-{n}')
                    self.diagram = gr.HTML(elem_id=f'diagram-{n}')
            self.groups = gr.HTML(elem_id=f'groups-{n}')
            self.depth = gr.HTML(elem_id=f'depth-{n}')

    @property
    def answered(self) -> List[Any]:
        """What `answer` fills, in its order."""
        return [self.column, self.inside_column, self.note, self.title, self.bars, self.other, self.layer, self.map,
                self.block, self.size, self.channel]

    def answer(
            self,
            photo: Photo,
            name: Optional[str],
            layer: Optional[str],
            method: str,
            block: Optional[str],
            size: Optional[int],
    ) -> Tuple[Any, ...]:
        """The answer of a model to a photo, and what there is to choose of it."""
        there = gr.Column(visible=bool(name))
        if not name:
            return self._without(there, '', '')
        try:
            subject = self.shelf[name]
            size = kept(size, sizes(subject), usual_size(subject))
            photo.views(subject.config, [subject.size, SIDE, size])  # decoded once for all that follows
            found = answers(subject, photo)
            layers = subject.map_layers
            layer = kept(layer, layers, layers[0] if layers else None)
            drawn = self._map(photo, subject, found[0].number, layer, method)
            block = kept(block, subject.blocks, usual_block(subject))
            width = describe(subject, block).width if block else 1
        except Exception as error:  # whatever timm, the Hub or a file says, in one line
            return self._without(there, name, f'{name} cannot be shown: {one_line(error)}')
        choices = [(f'{percent(answer.probability)}  {answer.name}', answer.number) for answer in found]
        everything = sorted((title, i) for i, title in enumerate(subject.classes))
        return (
            there, there, heading(subject.name, subject.note) + bar_style(f'bars-{self.number}', found),
            heading(subject.name, subject.note), gr.Radio(choices, value=found[0].number),
            gr.Dropdown(everything, value=None), gr.Dropdown(layers, value=layer), drawn,
            gr.Dropdown(subject.blocks, value=block),
            gr.Dropdown(sizes(subject), value=size),
            gr.Slider(maximum=width, value=0))

    def _without(self, there: Any, name: str, text: str) -> Tuple[Any, ...]:
        """A column without a model, and why."""
        nothing = gr.Dropdown([], value=None)
        words = heading(name, text, wrong=True) if text else ''
        return (there, there, words, words, gr.Radio([], value=None), nothing, nothing, '', nothing, nothing,
                gr.Slider(value=0))

    def _map(self, photo: Photo, subject: Subject, index: int, layer: Optional[str], method: str) -> str:
        try:
            drawn = heat(subject, photo, index, layer, method)
        except (ImportError, ValueError) as error:
            return note(one_line(error), wrong=True)
        return map_figure(
            subject.name, photo.shown(subject.config, SIDE), photo.title, subject.classes[index], drawn)

    def map_again(
            self,
            photo: Photo,
            name: Optional[str],
            best: Optional[int],
            other: Optional[int],
            layer: Optional[str],
            method: str,
    ) -> str:
        """The map of the class, layer and method that are chosen."""
        index = best if best is not None else other
        if not name or index is None:
            return ''
        return self._map(photo, self.shelf[name], index, layer, method)

    def widest(self, name: Optional[str], block: Optional[str]) -> Any:
        """The slider of channels for another block."""
        return gr.Slider(maximum=describe(self.shelf[name], block).width if name and block else 1, value=0)

    def inside(
            self,
            photo: Photo,
            name: Optional[str],
            block: Optional[str],
            size: Optional[int],
            channel: int,
            across: float,
            down: float,
    ) -> Tuple[str, str, str]:
        """Windows, groups and diagram of a block."""
        if not name:
            return '', '', ''
        if not block or not size:
            return self._no_groups(name), '', ''
        subject, at = self.shelf[name], (across / 100, down / 100)
        seen = windows(subject, photo, size, at, [block])[block]
        maps = group_maps(subject, photo, block, size, channel - 1 if channel else None)
        shown = photo.shown(subject.config, SIDE)
        facts = describe(subject, block)
        return (
            windows_figure(shown, size, at, seen, block),
            group_figures(maps, seen, f'channel {channel}' if channel else 'mean of the channels'),
            f'<figure class="wide">{diagram(facts)}<figcaption>{describe_in_words(facts)}</figcaption></figure>')

    def _no_groups(self, name: str) -> str:
        try:
            return '' if self.shelf[name].blocks else note(FOREIGN.format(name), wrong=True)
        except Exception:  # which `answer` has told
            return ''

    def at_every_depth(
            self,
            photo: Photo,
            name: Optional[str],
            block: Optional[str],
            size: Optional[int],
            across: float,
            down: float,
    ) -> str:
        """The windows of every block."""
        if not name or not block or not size:
            return ''
        subject, at = self.shelf[name], (across / 100, down / 100)
        return depth_figure(
            photo.shown(subject.config, SIDE), size, at, windows(subject, photo, size, at), block)
