"""The page in a real browser: what a person sees of all that may happen, and that nothing leaves the machine."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
from demo_page import QUIET, Visit, find_browser, served
from PIL import Image
from run_command import here
from skimage import data
from timm.models import save_for_hf

from timm_res2net import save_folder

pytestmark = pytest.mark.demo
PICTURE = Path(__file__).resolve().parents[2] / 'images/demo.png'
SHIPPED = 'seres2net23_16w_8s_cifar_custom'


@pytest.fixture(scope='module')
def browser():
    if find_browser() is None:
        pytest.fail('there is no chromium: apt-get install chromium')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find_browser(), args=QUIET)


@pytest.fixture(scope='module')
def server():
    """One page for all visitors of this file; what it asks of the network is counted at the end."""
    with served() as server:
        yield server
        assert server.network.read_text() == ''
        assert 'Traceback' not in server.output.read_text()


@pytest.fixture
def visit(browser, server):
    """A visitor, who sees no error of the page's own and whose browser asks nobody else."""
    visit = Visit(browser, server.url)
    yield visit
    assert visit.complaints == []
    assert len(visit.requests) > 20 and visit.elsewhere() == []
    visit.context.close()


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """A cat as it comes from cameras and scanners, and two files that are no pictures."""
    folder = tmp_path_factory.mktemp('pictures')
    cat = Image.fromarray(data.chelsea())
    cat.save(folder / 'cat.png')
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    cat.rotate(90, expand=True).save(folder / 'turned.jpg', exif=exif, quality=95)
    grey = np.asarray(cat.convert('L')).astype(np.uint16) * 257
    Image.fromarray(grey).save(folder / 'sixteen.png')
    cat.resize((7752, 5160)).save(folder / 'large.jpg', quality=90)  # 40 megapixels
    (folder / 'fake.png').write_text('hello')
    (folder / 'text.txt').write_text('hello')
    return folder


def said(path, model=SHIPPED):
    """The bars that `timm-res2net classify` has for a picture."""
    answer = json.loads(here('classify', path, '--model', model, '--json').stdout)['results'][0]
    return [f'{p["probability"]:.1%} {p["class"]}' for p in answer['predictions']]


def test_the_first_photo_and_the_numbers(visit):
    assert visit.bars() == [f'{p["probability"]:.1%} {p["class"]}' for p in json.loads(
        here('classify', '--json').stdout)['results'][0]['predictions']]
    assert 'rocket' in visit.text('#state') and 'rocket' in visit.alt('#map-1')
    visit.tab('Numbers')
    visit.until("document.querySelector('#numbers table')")
    listed, = json.loads(here('list', SHIPPED, '--json').stdout)
    seen = json.loads(here('receptive-field', SHIPPED, '--json').stdout)[SHIPPED]['layers'][-1]
    table = visit.text('#numbers')
    for number in (f'{listed["parameters"]:,}', f'{listed["gmacs"]:.2f} G', f'{seen["largest"]} pixels'):
        assert number in table, number


@pytest.mark.parametrize('name', ['cat.png', 'turned.jpg', 'sixteen.png'])
def test_a_file_that_is_uploaded(visit, pictures, name):
    visit.upload(pictures / name)
    visit.until("name => document.querySelector('#map-1 img').alt.startsWith(name)", name)
    assert visit.bars() == said(pictures / name)


def test_a_photograph_of_forty_megapixels(visit, server, pictures):
    before = server.memory()
    visit.upload(pictures / 'large.jpg')
    visit.until("document.querySelector('#map-1 img').alt.startsWith('large.jpg')")
    assert visit.bars() == said(pictures / 'large.jpg')
    visit.settled()
    assert server.memory() - before < 1000


def test_a_file_that_is_no_image(visit, pictures):
    before = visit.bars()
    visit.upload(pictures / 'fake.png')
    assert visit.text('#state') == (
        'fake.png cannot be read: it is no image, or of a kind that is not read. Still shown: rocket')
    visit.settled()
    assert visit.bars() == before
    visit.page.locator('#upload input[type=file]').first.set_input_files(pictures / 'text.txt')
    visit.page.get_by_text('Invalid file type: text.txt. Only image/* allowed.').wait_for()
    assert visit.bars() == before


def test_bundled_photos_by_mouse_and_by_keyboard(visit):
    visit.page.get_by_role('button', name='coffee').click()
    visit.until("document.querySelector('#map-1 img').alt.startsWith('coffee')")
    assert 'coffee' in visit.text('#state')
    visit.page.get_by_role('button', name='astronaut').focus()
    visit.page.keyboard.press('Enter')
    visit.until("document.querySelector('#map-1 img').alt.startsWith('astronaut')")


def test_another_class_by_its_bar_by_keyboard_and_by_name(visit):
    visit.page.locator('#bars-1 label').nth(1).click()
    second = visit.bars()[1].split(maxsplit=1)[1]
    visit.until("name => document.querySelector('#map-1 img').alt.includes(`of ${name} by`)", second)
    visit.page.keyboard.press('Tab')  # gradio's options are a stop each
    visit.page.keyboard.press('Space')
    third = visit.bars()[2].split(maxsplit=1)[1]
    visit.until("name => document.querySelector('#map-1 img').alt.includes(`of ${name} by`)", third)
    visit.choose('#other-1', 'camel')
    visit.until("document.querySelector('#map-1 img').alt.includes('of camel by')")
    assert visit.page.locator('#bars-1 input:checked').count() == 0


def test_another_layer_and_another_method(visit):
    def shown():
        return visit.page.locator('#map-1 img').get_attribute('src')
    first = shown()
    visit.choose('#layer-1', 'layer1.0')
    visit.until("old => document.querySelector('#map-1 img').src != old", first)
    second = shown()
    visit.page.get_by_label('eigencam').check()
    visit.until("old => document.querySelector('#map-1 img').src != old", second)
    assert len({first, second, shown()}) == 3


def test_a_click_on_a_pixel(visit):
    """... draws the windows of every group and depth around it, as large as `receptive-field` says."""
    visit.tab('Inside')
    visit.until("document.querySelector('#windows-1 .photo img') && document.querySelector('#depth-1 li')")
    visit.settled()
    box = visit.page.locator('#windows-1 .photo').bounding_box()
    visit.page.locator('#windows-1 .photo').click(position={'x': box['width'] * 0.25, 'y': box['height'] * 0.8})
    visit.until("document.querySelector('#windows-1 img').alt.includes('25% across and 80% down')")
    layers = json.loads(here('receptive-field', SHIPPED, '--json').stdout)[SHIPPED]['layers']
    sides = {layer['name']: [g['largest'] for g in layer['groups'][-1:] + layer['groups'][:-1]]
             for layer in layers if layer['groups']}
    block = visit.page.locator('#block-1 input').input_value()
    assert all(f'y{i} {side} pixels' in visit.alt('#windows-1') for i, side in enumerate(sides[block], 1))
    for i, side in enumerate(sides[block], 1):
        assert f'{side} x {side} pixels' in visit.page.locator('#groups-1 li').nth(i - 1).inner_text()
    visit.settled()
    assert visit.page.locator('#depth-1 h4').all_inner_texts() == list(sides)
    for shown, expected in zip(visit.page.locator('#depth-1 li p').all_inner_texts(), sides.values(), strict=True):
        assert shown.startswith(f'sees {", ".join(map(str, expected))}')
    assert visit.page.locator('#windows-1 rect.dashed').count() >= 1


def test_another_block_size_channel_and_pixel(visit):
    visit.tab('Inside')
    visit.until("document.querySelector('#depth-1 li')")
    visit.settled()
    visit.choose('#block-1', 'layer1.1')
    visit.until("document.querySelector('#windows-1 img').alt.includes('in block layer1.1')")
    visit.until("document.querySelector('#diagram-1 svg').getAttribute('aria-label').startsWith('Block layer1.1')")
    visit.choose('#size-1', '64')
    visit.until("document.querySelector('#windows-1 img').alt.endsWith('of 64.')")
    number = visit.page.locator('#channel-1 input[type=number]')
    number.fill('3')
    number.press('Enter')
    visit.until("document.querySelector('#groups-1 img').alt.includes('channel 3')")
    slider = visit.page.locator('#across input[type=range]')
    slider.focus()
    visit.page.keyboard.press('ArrowRight')
    visit.until("document.querySelector('#windows-1 img').alt.includes('51% across')")


def test_a_second_model_beside_the_first(visit, tmp_path):
    """A file of one's own, of other classes; both answer for themselves, and their numbers stand side by side."""
    model = timm.create_model(SHIPPED, num_classes=3)
    save_folder(model, tmp_path / 'mine')
    visit.choose('#model-2', str(tmp_path / 'mine'))
    visit.until("document.querySelector('#map-2 img')")
    photo = tmp_path / 'rocket.png'
    Image.fromarray(data.rocket()).save(photo)
    assert visit.bars(2) == said(photo, tmp_path / 'mine') and visit.bars(1) == said(photo)
    visit.settled()
    visit.tab('Inside')
    visit.until("document.querySelector('#windows-2 img') && document.querySelector('#depth-2 li')")
    visit.tab('Numbers')
    visit.until("document.querySelectorAll('#numbers th[scope=col]').length == 2")
    assert f'{sum(p.numel() for p in model.parameters()):,}' in visit.text('#numbers')


def test_a_model_that_does_not_exist_and_one_without_groups(visit, tmp_path):
    visit.choose('#model-2', 'nonsense')
    visit.until("document.querySelector('#note-2 [role=alert]')")
    assert 'nonsense cannot be shown: nonsense is no model that timm knows, and no file' in visit.text('#note-2')
    visit.settled()
    visit.choose('#model-2', 'test_res2net_custom')
    visit.until("document.querySelector('#map-2 img')")
    assert 'test_res2net_custom has no trained weights: they are random' in visit.text('#note-2')
    save_for_hf(timm.create_model('resnet18', num_classes=3), tmp_path / 'resnet18', safe_serialization=True)
    visit.settled()
    visit.choose('#model-2', f'local-dir:{tmp_path / "resnet18"}')
    visit.tab('Inside')
    visit.until("document.querySelector('#windows-2').innerText.includes('no network of this package')")


def test_two_visitors_do_not_meet(browser, server, pictures):
    a, b = (Visit(browser, server.url) for _ in range(2))
    a.page.get_by_role('button', name='coffee').click()
    b.upload(pictures / 'cat.png')
    a.until("document.querySelector('#map-1 img').alt.startsWith('coffee')")
    b.until("document.querySelector('#map-1 img').alt.startsWith('cat.png')")
    for visit in (a, b):
        visit.settled()
    assert b.bars() == said(pictures / 'cat.png') and a.bars() != b.bars()
    a.page.locator('#bars-1 label').nth(1).click()
    a.until("document.querySelector('#map-1 img').alt.startsWith('coffee')")
    assert a.alt('#map-1').startswith('coffee') and b.alt('#map-1').startswith('cat.png')
    assert a.complaints == b.complaints == [] and a.elsewhere() == b.elsewhere() == []


UNNAMED = """() => [...document.querySelectorAll('input, button, select, textarea, [role=slider], svg[role=img]')]
    .filter(e => e.offsetParent && e.type != 'file')
    .filter(e => !(e.labels && [...e.labels].some(l => l.innerText.trim())) && !e.getAttribute('aria-label')
        && !e.getAttribute('aria-labelledby') && !e.title && !e.innerText?.trim()).map(e => e.outerHTML)"""
FAINT = """() => {
    const numbers = c => c.match(/[\\d.]+/g).map(Number);
    const light = c => { const [r, g, b] = numbers(c).map(v => v / 255).map(
        v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
        if ((numbers(c)[3] ?? 1) > 0.9) return c; } return 'rgb(255, 255, 255)'; };
    const shown = e => e.offsetParent && [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim());
    return [...document.querySelectorAll('h1, h3, h4, p, label, span, td, th, figcaption, button, caption')]
        .filter(shown).map(e => {
            const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), e.innerText, e.className]; })
        .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_light_and_dark_wide_and_narrow(browser, server, scheme, width):
    """Everything has a name, every picture words, every text contrast, and nothing is wider than the page."""
    visit = Visit(browser, server.url, width, scheme=scheme)
    for tab in ('Answer', 'Inside', 'Numbers'):
        visit.tab(tab)
        visit.settled()
        assert visit.page.evaluate(UNNAMED) == [], tab
        assert visit.page.evaluate("[...document.images].filter(i => !i.hasAttribute('alt')).length") == 0, tab
        assert visit.page.evaluate(FAINT) == [], tab
        assert visit.page.evaluate('document.documentElement.scrollWidth') <= width, tab
    assert visit.complaints == [] and visit.elsewhere() == []


def test_the_picture_in_the_readme(browser, server, tmp_path):
    """It is of the page as it is: the same size. `DEMO_PICTURE=images/demo.png` takes it anew."""
    visit = Visit(browser, server.url)
    visit.page.get_by_role('button', name='motorcycle').click()
    visit.until("document.querySelector('#map-1 img').alt.startsWith('stereo_motorcycle')")
    visit.tab('Inside')
    visit.settled()
    path = Path(os.environ.get('DEMO_PICTURE', tmp_path / 'demo.png'))
    box = visit.page.locator('[role=tabpanel]:visible').bounding_box()
    clip = {'x': box['x'] - 20, 'y': box['y'], 'width': box['width'] + 40, 'height': box['height'] + 20}
    visit.page.screenshot(path=path, full_page=True, clip=clip)
    with Image.open(path) as taken:
        small = taken.convert('RGB').quantize(200, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    with Image.open(PICTURE) as shown:
        assert shown.width == small.width and abs(shown.height - small.height) < 60


def test_the_server_stopped_in_between(browser, pictures):
    with served() as server:
        visit = Visit(browser, server.url)
        visit.upload(pictures / 'cat.png')
        visit.settled()
        assert visit.complaints == []
        assert server.stop() == 130 and server.files() == []
        visit.page.get_by_role('button', name='coffee').click()
        visit.page.get_by_text('Connection to the server was lost').wait_for()
        assert 'cat.png' in visit.alt('#map-1')  # what was there is there
        assert server.output.read_text().splitlines()[-1] == 'stopped'


def test_nothing_that_was_uploaded_is_kept(visit, server, pictures):
    visit.upload(pictures / 'cat.png')
    visit.settled()
    for _ in range(150):
        left = [p.name for p in server.files() if p.suffix in ('.png', '.jpg', '.webp', '.jpeg')]
        if not left:
            break
        visit.page.wait_for_timeout(1000)
    assert left == []
