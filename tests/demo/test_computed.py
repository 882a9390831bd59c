"""What the page shows of a model: equal to what the commands say, for every form of block that there is."""
import json
import re
import socket
import threading
import xml.etree.ElementTree as ElementTree

import pytest
import timm
import torch
from run_command import here
from timm.data import create_transform

from timm_res2net import save_folder
from timm_res2net.commands.demo import choices, load
from timm_res2net.demo.answer import answers, heat
from timm_res2net.demo.block import describe, group_maps
from timm_res2net.demo.diagram import describe_in_words, diagram
from timm_res2net.demo.figures import (
    depth_figure,
    group_figures,
    heading,
    map_figure,
    numbers_table,
    photo_buttons,
    windows_figure,
)
from timm_res2net.demo.numbers import numbers, rows
from timm_res2net.demo.photo import BUNDLED, Photo
from timm_res2net.demo.serving import serve
from timm_res2net.demo.subject import Shelf, Subject
from timm_res2net.demo.windows import windows
from timm_res2net.deploy.preprocessing import data_config, normalise
from timm_res2net.insight import class_activation_maps, effective_receptive_field, side_of_share, split_blocks

SHIPPED = 'seres2net23_16w_8s_cifar_custom'
FORMS = {  # name: arguments, and what the first two blocks are
    'test_res2net_custom': ({}, ('parallel', 'hierarchical')),
    'res2net50_custom_paddle': ({'first_block': 'paddle'}, ('hierarchical', 'hierarchical')),
    'res2net_parallel_conv': ({'first_block': 'parallel_conv'}, ('parallel_conv', 'hierarchical')),
    'res2net_conv1': ({'stride_position': 'conv1'}, ('hierarchical', 'hierarchical')),
    'res2net_unpooled': ({'first_block': 'strided_pool'}, ('unpooled', 'hierarchical')),
    'res2net_plain': ({'scale': 1, 'base_width': 64}, ('plain', 'plain')),
    'res2net_se': ({'attn_layer': 'se', 'attn_position': 'split', 'cardinality': 2}, ('parallel', 'hierarchical')),
}


@pytest.fixture(scope='module')
def shipped():
    return Shelf(load)[SHIPPED]


@pytest.fixture(scope='module')
def photo():
    return Photo(BUNDLED[0])


def with_arguments(**arguments):
    model = timm.create_model('res2net_custom', layers=(2, 2, 1, 1), num_classes=4, **arguments).eval()
    return Subject('mine', model, list('abcd'))


def test_answers_are_those_of_classify(shipped):
    said = json.loads(here('classify', '--json').stdout)['results']
    assert [result['image'] for result in said] == list(BUNDLED)
    for result in said:
        found = answers(shipped, Photo(result['image']))
        assert [(a.number, a.name) for a in found] == [(p['index'], p['class']) for p in result['predictions']]
        assert [a.probability for a in found] == pytest.approx([p['probability'] for p in result['predictions']])


def test_the_map_is_that_of_the_library(shipped, photo):
    x = create_transform(**data_config(shipped.model))(photo.image())[None]
    for layer, method in ((None, 'gradcam'), ('layer2.1', 'layercam')):
        expected = class_activation_maps(shipped.model, x, [7], layer, method)[0]
        torch.testing.assert_close(heat(shipped, photo, 7, layer, method), expected, rtol=1e-3, atol=1e-3)


def test_numbers_are_those_of_list_and_receptive_field(shipped):
    facts = numbers(shipped, 0.05)
    listed, = json.loads(here('list', SHIPPED, '--json').stdout)
    assert facts['parameters'] == listed['parameters'] and round(facts['macs'] / 1e9, 2) == listed['gmacs']
    assert list(rows(facts).values())[:2] == [f'{listed["parameters"]:,}', f'{listed["gmacs"]:.2f} G']
    seen = json.loads(here('receptive-field', SHIPPED, '--json').stdout)[SHIPPED]['layers'][-1]
    assert (facts['receptive_field'], facts['smallest']) == (seen['largest'], seen['smallest'])
    assert facts['eager'] > 0 and facts['prepacked'] > 0
    assert numbers(shipped) is facts


def test_numbers_of_a_model_that_is_not_ours():
    facts = numbers(Subject('resnet18', timm.create_model('resnet18', num_classes=3).eval(), list('abc')), 0.05)
    assert facts['prepacked'] is None and list(rows(facts).values())[-3:] == ['-', '-', '-']
    assert facts['parameters'] == sum(p.numel() for p in timm.create_model('resnet18', num_classes=3).parameters())


def test_windows_are_those_of_receptive_field(shipped, photo):
    layers = json.loads(here('receptive-field', SHIPPED, '--json').stdout)[SHIPPED]['layers']
    found = windows(shipped, photo, 64, (0.5, 0.5))
    assert list(found) == [layer['name'] for layer in layers if layer['groups']] == shipped.blocks
    for layer in layers:
        sides = [g['largest'] for g in layer['groups'][-1:] + layer['groups'][:-1]]
        assert [seen.side for seen in found.get(layer['name'], [])] == sides
        if sides:
            assert list(describe(shipped, layer['name']).sides) == sides


def test_effective_windows_are_those_of_the_library(shipped, photo):
    x = normalise(photo.views(shipped.config, [64])[0], shipped.config)
    for i, seen in enumerate(windows(shipped, photo, 64, (0.51, 0.51), ['layer2.1'])['layer2.1'][1:]):
        field = effective_receptive_field(shipped.model, x, f'layer2.1.acts.{i}')
        torch.testing.assert_close(seen.gradient, field)
        assert (seen.half, seen.most) == (side_of_share(field, 0.5), side_of_share(field, 0.9))


@pytest.mark.parametrize('at', [(0, 0), (0.3, 0.8), (1, 1)])
def test_windows_lie_around_the_pixel(shipped, photo, at):
    """The unit is the nearest one, and what moves it lies inside its window, but for what comes through attention."""
    plain = Shelf(load)['res2net23_32w_4s_cifar_custom']
    for subject, (name, found) in ((s, item) for s in (plain, shipped) for item in windows(s, photo, 64, at).items()):
        jump = subject.layer(name).field.jump
        for seen in found:
            last = (64 - 1) // jump * jump
            assert all(abs(u - min(63 * v, last)) <= jump / 2 for u, v in zip(seen.unit, at, strict=True))
            left, top, right, bottom = seen.box
            outside = seen.gradient.clone()
            outside[max(top, 0):bottom, max(left, 0):right] = 0
            assert outside.sum().item() == pytest.approx(seen.outside, abs=1e-5)
            assert subject is shipped and name != 'layer1.0' or not outside.any()
            assert (seen.half is None) == (not seen.gradient.any())
            assert seen.half is None or seen.half <= seen.most
        if name == 'layer1.1':
            words = windows_figure(photo.shown(subject.config, 96), 64, at, found, name)
            attends = max(seen.outside for seen in found) > 0.01
            assert (subject is shipped) == attends == ('channel attention' in words)


@pytest.mark.parametrize('form', FORMS)
def test_facts_and_diagram_of_every_form(form):
    arguments, expected = FORMS[form]
    subject = with_arguments(**arguments)
    assert tuple(describe(subject, name).form for name in subject.blocks[:2]) == expected
    for name, module in split_blocks(subject.model).items():
        block = describe(subject, name)
        assert (block.width, block.scale, block.inputs, block.outputs) == (
            module.width, module.scale, module.conv1.in_channels, module.conv3.out_channels)
        assert block.stride == (2 if name in ('layer2.0', 'layer3.0', 'layer4.0') else 1)
        assert block.strided == ('' if block.stride == 1 else arguments.get('stride_position', 'split'))
        assert block.attention == ('SEModule' if 'attn_layer' in arguments else '')
        svg = ElementTree.fromstring(diagram(block))
        assert svg.get('aria-label') == describe_in_words(block)
        text = ' '.join(svg.itertext())
        assert f'{block.inputs} → {block.scale * block.width}' in text
        assert all(f': {side} px' in text for side in block.sides)
        added = max(block.scale - 2, 0) if block.form == 'hierarchical' else 0
        assert len(svg.findall('circle')) == added + 1  # and the shortcut's
        assert text.count('3 x 3') == (block.scale - (block.form in ('hierarchical', 'unpooled')))
        assert ('c = 2' in text) == (block.cardinality == 2)


def test_dla_has_its_blocks_too(photo):
    model = timm.create_model('dla60_res2net_custom', num_classes=4).eval()
    subject = Subject('dla', model, list('abcd'))
    assert {describe(subject, name).stride for name in subject.blocks} == {1, 2}
    seen = windows(subject, photo, 64, (0.5, 0.5), subject.blocks[:1])[subject.blocks[0]]
    assert [s.group for s in seen] == [1, 2, 3, 4]


def test_groups_of_a_block_are_means_or_channels(shipped, photo):
    means = group_maps(shipped, photo, 'layer2.1', 64)
    channels = [group_maps(shipped, photo, 'layer2.1', 64, c) for c in range(shipped.model.layer2[1].width)]
    for i, mean in enumerate(means):
        assert mean.shape == (16, 16)
        torch.testing.assert_close(mean, torch.stack([c[i] for c in channels]).mean(0))


def parsed(text):
    """HTML whose elements are all closed but for images and breaks."""
    return ElementTree.fromstring('<div>' + re.sub(r'<(img|br)([^>]*)>', r'<\1\2/>', text) + '</div>')


def test_figures_are_sound_and_have_words(shipped, photo):
    shown, at = photo.shown(shipped.config, 96), (0.5, 0.25)
    found = windows(shipped, photo, 64, at)
    seen = found['layer2.1']
    figures = [
        map_figure('<m>', shown, 'a & b', '<rocket>', heat(shipped, photo, 1)),
        map_figure('m', shown, 'p', 'rocket', torch.zeros(8, 8)),
        group_figures(group_maps(shipped, photo, 'layer2.1', 64), seen, 'mean'),
        windows_figure(shown, 64, at, seen, 'layer2.1'), depth_figure(shown, 64, at, found, 'layer2.1'),
        numbers_table([('<m>', numbers(shipped, 0.05))] * 2), heading('<m>', 'a & b', wrong=True)]
    for figure in figures:
        images = list(parsed(figure).iter('img'))
        assert all(len(image.get('alt')) > 20 for image in images)
        assert '<m>' not in figure and 'http' not in figure
    assert '&lt;rocket&gt;' in figures[0] and 'nothing in it speaks for rocket' in figures[1]
    assert [len(list(parsed(f).iter('rect'))) for f in figures[3:4]] == [
        2 * (len(seen) + sum(one.half is not None for one in seen))]
    for one in seen:
        assert f'{one.side} x {one.side}' in figures[2]
        assert ('off here' if one.half is None else f'half of it within {one.half}') in figures[2]
    buttons = parsed(photo_buttons([('a_motorcycle', photo.shown_whole(20))]))
    assert [b.get('value') for b in buttons.iter('button')] == ['a_motorcycle']


def test_a_place_is_told_in_words(photo, shipped):
    corner = torch.zeros(9, 9)
    corner[8, 0] = 1
    words = map_figure('m', photo.shown(shipped.config, 32), 'p', 'c', corner)
    assert 'hottest at the lower left' in words


def test_the_shelf_keeps_a_few_and_loads_each_once(tmp_path):
    loaded = []

    def loading(name):
        loaded.append(name)
        return timm.create_model('test_res2net_custom', num_classes=2).eval(), ['a', 'b'], ''
    shelf = Shelf(loading, keep=2)
    threads = [threading.Thread(target=shelf.__getitem__, args=('a',)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ['a'] and shelf['a'] is shelf['a']
    for name in ('b', 'c', 'a'):
        shelf[name]
    assert loaded == ['a', 'b', 'c', 'a'] and list(shelf.held) == ['c', 'a']


def test_what_the_page_cannot_show_is_told(tmp_path):
    shelf = Shelf(load)
    with pytest.raises(Exception, match='nonsense is no model that timm knows, and no file'):
        shelf['nonsense']
    for arguments, says in (({'num_classes': 0}, 'has no classifier'), ({'in_chans': 5}, '5 channels')):
        folder = tmp_path / says.replace(' ', '-')
        save_folder(timm.create_model('test_res2net_custom', **arguments), folder)
        with pytest.raises(ValueError, match=says):
            shelf[str(folder)]
    assert shelf.loading == {} and not shelf.held


def test_random_weights_are_told_and_names_are_offered():
    assert load('test_res2net_custom')[2].startswith('test_res2net_custom has no trained weights')
    assert load(SHIPPED)[2] == ''
    assert choices(['mine'], free=False) == ['mine', SHIPPED]
    assert 'resnet50_custom.a1_in1k' in choices(['mine'], free=True)


def test_where_nobody_can_listen():
    shelf = Shelf(lambda name: pytest.fail('a model was loaded'))
    with socket.create_server(('127.0.0.1', 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(ValueError, match=f'port={port} cannot be listened on .*: choose another port'):
            serve(shelf, [], [], free=False, port=port)
    for host in ('203.0.113.1', 'nowhere.invalid'):
        with pytest.raises(ValueError, match=f'host={host} is no address of this machine'):
            serve(shelf, [], [], free=False, host=host, port=port)
