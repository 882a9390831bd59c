"""The page, of gradio's components: layout, and who fills what when."""
import functools
import html
import os
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # before it is imported: nothing of a visit leaves this machine
import gradio as gr  # noqa: E402

from ..insight.activation_maps import METHODS  # noqa: E402
from ..weights.words import one_line  # noqa: E402
from .figures import note, numbers_table, photo_buttons  # noqa: E402
from .numbers import numbers  # noqa: E402
from .photo import BUNDLED, Photo  # noqa: E402
from .side import Side  # noqa: E402
from .subject import Shelf  # noqa: E402

STYLE = Path(__file__).with_name('page.css')
CLEARED = (30, 60)  # every so many seconds, visitors' files of more than so many are deleted
LARGEST = '200mb'  # of a file that is uploaded
TITLE = 'Look inside a Res2Net'
INTRODUCTION = (
    f'# {TITLE}\nA Res2Net block splits its channels into groups and convolves each together with the one before, so '
    'that one block sees small and large windows at once. Give it a photo: what it answers, where it looks, and what '
    'each group of each block sees.')
FORGOTTEN = 'forgotten at the latest an hour after this page is closed'  # as gradio does
KEPT = {True: f'It does not leave this machine, and is {FORGOTTEN}.', False: f'It is {FORGOTTEN}.'}  # by `free`

CHOOSE = """element.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (button) trigger('click', {name: button.value});
});"""


def as_it_came(payload: Any) -> Optional[Tuple[str, str]]:
    """A file that was uploaded: where it is, and its name on the visitor's machine."""
    return payload and (payload.path, payload.orig_name or Path(payload.path).name)


def theme() -> gr.themes.Base:
    """gradio's plain one, in the fonts of the visitor's machine."""
    return gr.themes.Default(
        primary_hue='blue', neutral_hue='zinc', font=['system-ui', 'sans-serif'],
        font_mono=['ui-monospace', 'monospace'],
    ).set(  # contrasts of 4.5 and more
        link_text_color='*primary_700', link_text_color_dark='*primary_400',
        body_text_color_subdued='*neutral_600', body_text_color_subdued_dark='*neutral_300',
        block_label_text_color='*neutral_700', block_title_text_color='*neutral_800',
        block_info_text_color='*neutral_600', block_info_text_color_dark='*neutral_300')


def build(shelf: Shelf, names: Sequence[str], shown: Sequence[str], free: bool) -> gr.Blocks:
    """The page.

    Args:
        shelf: Where models come from.
        names: Those to choose from.
        shown: The one or two that are shown first.
        free: Whether a visitor may name others: files of this machine, and what is on the Hub.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CLEARED) as page:
        photo = gr.State(Photo(BUNDLED[0]))
        gr.Markdown(f'{INTRODUCTION} {KEPT[free]}')
        with gr.Row(elem_id='given'):
            with gr.Column(min_width=300):
                upload = gr.Image(
                    label='A photo: drop, paste or take one', sources=['upload', 'clipboard', 'webcam'], height=190,
                    image_mode=None, buttons=[], elem_id='upload')
                upload.preprocess = as_it_came  # `read_image` reads more, and says what it cannot
                state = gr.HTML(note(_shown(BUNDLED[0])), elem_id='state')
            with gr.Column(min_width=300):
                gallery = gr.HTML(photo_buttons([
                    (name, Photo(name).shown_whole(112)) for name in BUNDLED]), js_on_load=CHOOSE, elem_id='gallery')
        with gr.Row():
            sides = [Side(shelf, n, _choice(n, names, shown, free)) for n in (1, 2)]
        with gr.Tab('Answer'):
            with gr.Row():
                for side in sides:
                    side.lay_out_answer()
            method = gr.Radio(
                list(METHODS), value='gradcam', label='Method of the map', elem_id='method',
                info='scorecam runs the network once a channel, which takes minutes in a large one')
        with gr.Tab('Inside'):
            gr.Markdown('Click on the photo, or move the pixel here:')
            with gr.Row():
                point = [gr.Slider(0, 100, 50, step=1, label=f'{where}, percent', elem_id=where.lower())
                         for where in ('Across', 'Down')]
            with gr.Row():
                for side in sides:
                    side.lay_out_inside()
        with gr.Tab('Numbers'):
            table = gr.HTML(elem_id='numbers')
        _connect(page, sides, photo, upload, state, gallery, method, point, table)
    return page


def _choice(number: int, names: Sequence[str], shown: Sequence[str], free: bool) -> gr.Dropdown:
    """Where a model is chosen."""
    words = 'a name, hf-hub:USER/REPO, a folder or a checkpoint file' if free else 'one of these'
    first = number == 1
    return gr.Dropdown(
        [*([] if first else [('none', '')]), *names], value=shown[number - 1] if len(shown) >= number else '',
        allow_custom_value=free, label='Model' if first else 'Compare with', info=words, min_width=300,
        elem_id=f'model-{number}')


def _shown(title: str) -> str:
    return f'shown: {title.split("_")[-1]}'


def told(handler: Any) -> Any:
    """A handler whose unforeseen errors are a sentence on the page; gradio would print a traceback and say "Error"."""
    @functools.wraps(handler)
    def safe(*args: Any) -> Any:
        try:
            return handler(*args)
        except Exception as error:
            raise gr.Error(html.escape(one_line(error)), print_exception=False) from error
    return safe


def take(uploaded: Optional[Tuple[str, str]], before: Photo) -> Tuple[Photo, str, None]:
    """A visitor's file: the photo, what is said of it, and the place for it empty again."""
    if uploaded is None:
        return before, note(_shown(before.title)), None
    path, title = uploaded
    try:
        photo = Photo.read(Path(path), title)
    except ValueError as error:
        return before, note(f'{one_line(error)}. Still {_shown(before.title)}', wrong=True), None
    return photo, note(_shown(title)), None


def pick(event: gr.EventData) -> Tuple[Photo, str]:
    """A bundled photo."""
    name = BUNDLED[BUNDLED.index(event.name)]
    return Photo(name), note(_shown(name))


def clicked(event: gr.EventData) -> Tuple[int, int]:
    """The pixel that was clicked, in percent."""
    across, down = (min(max(round(100 * v), 0), 100) for v in (event.across, event.down))
    return across, down


def compare(shelf: Shelf, *names: Optional[str]) -> str:
    """The numbers of the models that can be shown."""
    found = []
    for name in filter(None, names):
        try:
            found.append((name, numbers(shelf[name])))
        except Exception as error:
            return note(f'{name} cannot be shown: {one_line(error)}', wrong=True)
    return numbers_table(found) if found else ''


def _connect(
        page: gr.Blocks,
        sides: List[Side],
        photo: gr.State,
        upload: gr.Image,
        state: gr.HTML,
        gallery: gr.HTML,
        method: gr.Radio,
        point: List[gr.Slider],
        table: gr.HTML,
) -> None:
    """Who fills what when; the answer comes first, the slower pictures after it."""
    private = dict(api_visibility='private')
    numbered = dict(fn=told(lambda *names: compare(sides[0].shelf, *names)), inputs=[side.model for side in sides],
                    outputs=table, **private)
    answers, insides, depths = [], [], []
    for side in sides:
        at = [photo, side.model, side.block, side.size]
        answers.append(dict(
            fn=told(side.answer), inputs=[photo, side.model, side.layer, method, side.block, side.size],
            outputs=side.answered, **private))
        insides.append(dict(
            fn=told(side.inside), inputs=[*at, side.channel, *point],
            outputs=[side.windows, side.groups, side.diagram], **private))
        depths.append(dict(
            fn=told(side.at_every_depth), inputs=[*at, *point], outputs=side.depth, show_progress='minimal', **private))
        draw = dict(
            fn=told(side.map_again), inputs=[photo, side.model, side.bars, side.other, side.layer, method],
            outputs=side.map, **private)
        side.bars.input(lambda: None, outputs=side.other, **private).then(**draw)
        side.other.input(lambda: None, outputs=side.bars, **private).then(**draw)
        gr.on([side.layer.input, method.input], **draw)
        _then(side.model.input(**answers[-1]), insides[-1], depths[-1], numbered)
        widest = dict(fn=told(side.widest), inputs=[side.model, side.block], outputs=side.channel, **private)
        _then(side.block.input(**widest), insides[-1], depths[-1])
        _then(side.size.input(**insides[-1]), depths[-1])
        side.channel.input(**insides[-1], trigger_mode='always_last')
        _then(side.windows.click(clicked, outputs=point, **private), *insides, *depths)
    _then(gr.on([p.input for p in point], lambda: None, trigger_mode='always_last', **private), *insides, *depths)
    everything = [*answers, *insides, *depths]
    _then(upload.input(take, [upload, photo], [photo, state, upload], **private), *everything)
    _then(gallery.click(pick, outputs=[photo, state], **private), *everything)
    _then(page.load(lambda: None, **private), *everything, numbered)


def _then(event: Any, *steps: Any) -> None:
    """One after the other."""
    for step in steps:
        event = event.then(**step)
