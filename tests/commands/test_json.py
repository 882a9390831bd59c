"""`--json` of every command that has it: one JSON value alone on stdout, with all that the text says."""
import argparse
import json
import math
import re
import sys
from importlib import import_module

import pytest
import timm
import torch
from PIL import Image
from run_command import here

import timm_res2net
from timm_res2net import commands
from timm_res2net.model.variants import VARIANTS
from timm_res2net.weights.catalogue import CATALOGUE

USES = {
    'list': ['*50d*'],
    'inspect': ['model.pth'],
    'classify': ['data/test/a', '--model', 'local-dir:model', '--topk', '2'],
    'evaluate': ['data', '--model', 'json_mine.noise', '--workers', '0', '--import', 'own_variant_of_the_test'],
    'gradcam': ['data/test/a', '--models', 'local-dir:model', '--class', 'b'],
    'receptive-field': [
        'test_res2net_custom', 'local-dir:model', '--effective', '--images', 'data', '--image-size', '64'],
    'export': [
        'local-dir:model', 'model.pt2', '--format', 'torch', '--images', 'data', '--image-size', '64', '--overwrite'],
    'recipes': [],
    'docs': [],
}
ELSEWHERE = {'benchmark'}  # its times are never the same twice: tests/commands/test_benchmark.py, of one run
LABELS = {'top-1', 'top-5'}  # words of the text with a number in them that is none of what was measured
OWN = '''
from timm_res2net import Res2Net, Variant, Weights, register_variant
arguments = dict(
    layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8, num_classes=3)
register_variant('json_mine', Variant(Res2Net, arguments, 'mine', dict(input_size=(3, 160, 160))), [Weights(
    'json_mine.noise', file='model/model.safetensors', top1=12.34, top5=56.78, tolerance=0.3, dataset='noise')])
'''


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with what the uses name."""
    place = tmp_path_factory.mktemp('place')
    torch.manual_seed(0)
    model = timm.create_model('test_res2net_custom', num_classes=3)
    timm_res2net.save_folder(model, place / 'model', label_names=['a', 'b', 'c'])
    args = dict(model='test_res2net_custom', num_classes=3)
    torch.save(dict(state_dict=model.state_dict(), arch='test_res2net_custom', args=args), place / 'model.pth')
    for i, label in enumerate('abc'):
        (place / 'data/test' / label).mkdir(parents=True)
        Image.effect_noise((80, 70), 40 + 20 * i).convert('RGB').save(place / f'data/test/{label}/{i}.png')
    (place / 'own_variant_of_the_test.py').write_text(OWN)
    before = list(sys.path)
    yield place
    sys.path[:] = before
    sys.modules.pop('own_variant_of_the_test', None)  # not there if the test that imports it was not selected
    VARIANTS.pop('json_mine', None)
    CATALOGUE.pop('json_mine.noise', None)


def leaves(value):
    """The numbers and the texts of a JSON value, keys among them."""
    numbers, texts = [], []
    for part in value.items() if isinstance(value, dict) else value if isinstance(value, list) else ():
        for one in part if isinstance(value, dict) else (part,):
            more = leaves(one)
            numbers += more[0]
            texts += more[1]
    if isinstance(value, str):
        texts.append(value)
        numbers += [float(value)] if re.fullmatch(r'\d+(\.\d+)?', value) else []  # keys that count
    elif isinstance(value, (int, float)):
        numbers.append(float(value))
    return numbers, texts


def unsaid(text, value):
    """Words of a text, and numbers to the digits that it shows, that a JSON value has not."""
    numbers, texts = leaves(value)
    words = {word.strip('.,;:()') for said in texts for word in re.split(r'[\s=]+', said)}

    def is_there(word):
        if word in words:
            return True
        if not re.fullmatch(r'\d[\d,]*(\.\d+)?(e[+-]\d+)?%?', word):
            return False
        digits = word.rstrip('%').replace(',', '')
        mantissa, _, exponent = digits.partition('e')
        half = 0.5 * 10 ** (int(exponent or 0) - len(mantissa.partition('.')[2]))
        scales = (100,) if word.endswith('%') else (1, 1e-6)
        return any(math.isclose(number * scale, float(digits), rel_tol=1e-9, abs_tol=1.000001 * half)
                   for number in numbers for scale in scales)

    found = (word.strip('.,;:()|') for word in re.split(r'[\s=]+', text))
    return [word for word in found if re.search(r'[\d_]', word) and word not in LABELS and not is_there(word)]


def has_json(name):
    parser = argparse.ArgumentParser()
    import_module(f'timm_res2net.commands.{name.replace("-", "_")}').add_arguments(parser)
    return '--json' in parser.format_help()


def test_there_is_a_use_of_every_command_that_has_it():
    assert {name for name in commands.COMMANDS if has_json(name)} == {*USES, *ELSEWHERE}


@pytest.mark.parametrize('name', USES)
def test_json_is_alone_and_says_what_the_text_says(name, place, monkeypatch, capfd):
    if name == 'gradcam':
        pytest.importorskip('pytorch_grad_cam')
    monkeypatch.chdir(place)
    text, answer = here(name, *USES[name], cwd=place), here(name, *USES[name], '--json', cwd=place)
    assert text.returncode == answer.returncode == (name == 'evaluate'), answer.stderr  # which is not as published
    assert capfd.readouterr().out == ''  # by what is below Python
    value = json.loads(answer.stdout)
    said = re.sub(r', \d+ s;', ';', text.stdout)  # how long an export took
    assert unsaid(said, value) == []
    assert unsaid(said, {})  # which it could have found


def test_the_reader_of_texts_sees_what_is_missing():
    value = {'name': 'a_b', 'count': 25699120, 'share': 0.1234, 'error': 1.26e-05, 'words': ['5 of x_y.']}
    assert unsaid('a_b: 25.7 M, 25,699,120, 12.3%, 1.3e-05 of x_y, 5', value) == []
    for wrong in ('a_c', '25.8', '25,699,121', '12.4%', '1.4e-05', 'x_z', '6'):
        assert unsaid(f'a_b {wrong}', value) == [wrong]
