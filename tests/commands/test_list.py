"""`timm-res2net list`: what there is, by glob, license and size."""
import json
from functools import partial

import timm
from run_command import command, here

from timm_res2net import list_pretrained
from timm_res2net.commands.list import aligned, costs
from timm_res2net.insight import cost
from timm_res2net.model.variants import VARIANTS

list_ = partial(here, 'list')


def found(*args):
    done = list_(*args, '--json')
    assert (done.returncode, done.stderr) == (0, '')
    return json.loads(done.stdout)


def test_everything():
    answer = found()
    assert [v['variant'] for v in answer] == list(VARIANTS)
    assert [w['name'] for v in answer for w in v['weights']] == [
        w.name for name in VARIANTS for w in list_pretrained(f'{name}.*')]
    row = next(v for v in answer if v['variant'] == 'res2net50_26w_4s_custom')
    (weights,) = row.pop('weights')
    assert row == {'variant': 'res2net50_26w_4s_custom', 'words': VARIANTS['res2net50_26w_4s_custom'].words,
                   'parameters': 25699120, 'gmacs': 4.26, 'input_size': [3, 224, 224]}
    assert (weights['top1'], weights['dataset'], weights['license'], weights['where']) == (
        77.99, 'imagenet-1k', 'cc-by-nc-sa-4.0', 'timm/res2net50_26w_4s.in1k')


def test_choices():
    assert {v['variant'] for v in found('*se*29*')} == {n for n in VARIANTS if n.startswith('se') and '29' in n}
    assert {v['variant'] for v in found('*.cifar100')} == {
        'res2net23_32w_4s_cifar_custom', 'seres2net23_16w_8s_cifar_custom'}
    assert {v['variant'] for v in found('--pretrained')} == {w.variant for w in list_pretrained()}
    assert {w['license'] for v in found('--license', 'apache*') for w in v['weights']} == {'apache-2.0'}
    small = found('--max-parameters', '20')
    assert small and all(v['parameters'] <= 20e6 for v in small)
    assert {v['variant'] for v in small} == {n for n, (parameters, _) in costs().items() if parameters <= 20e6}


def test_the_table_of_costs_is_that_of_the_models():
    """All of them: tests/scripts/test_page_tables.py."""
    assert set(costs()) == set(timm.list_models(module='res2net_custom'))
    for name in ('test_res2net_custom', 'res2net23_32w_4s_cifar_custom'):
        parameters, macs = cost(name)
        assert costs()[name] == (parameters, round(macs / 1e9, 2))


def test_columns_are_aligned():
    done = list_('*cifar*')
    variants, weights = done.stdout.split('\n\n')
    lines = variants.splitlines()
    assert lines[0].split() == ['variant', 'parameters', 'GMACs', 'input', 'what', 'it', 'is']
    at = lines[0].index('what')
    assert all(line[at - 2:at] == '  ' and line[at] != ' ' for line in lines)
    assert weights.splitlines()[1].split()[:3] == ['res2net23_32w_4s_cifar_custom.cifar100', '74.40', '93.15']
    assert done.stderr == 'variants: 11, weights: 2\n'
    assert aligned([('a', 'bb'), ('aaa', 'b')], '<>') == 'a    bb\naaa   b'


def test_nothing_is_said():
    done = list_('*nonsense*')
    assert done.returncode == 1 and done.stdout == '' and 'nothing like this: *nonsense*' in done.stderr


def test_a_variant_of_ones_own(tmp_path):
    (tmp_path / 'mine.py').write_text(
        "from timm_res2net import Res2Net, Variant, register_variant\n"
        "register_variant('list_mine', Variant(Res2Net, dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), scale=2,\n"
        "    base_width=32, stem_type='deep', stem_width=8), 'Mine', dict(input_size=(3, 256, 256))))\n")
    done = command('list', 'list_mine', '--import', 'mine', '--json', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row['words'] == 'Mine' and row['input_size'] == [3, 256, 256]
    assert 0 < row['parameters'] < 1e6 and row['gmacs'] > 0 and row['weights'] == []
