"""A block argument has one path: what is declared reaches all who need it.

They are the constructors, their checks, the command line, the page, saved models and the recognition of weights. An
argument that is declared and not sampled here fails too.
"""
import argparse
import dataclasses
from pathlib import Path

import families
import pytest
import timm
import torch
from timm.utils import ParseKwargs

import timm_res2net
from timm_res2net.model.block_arguments import BlockArguments
from timm_res2net.weights.architecture import read_architecture
from timm_res2net.weights.matching import complete, match

FIELDS = {f.name: f for f in dataclasses.fields(BlockArguments)}
SAMPLES = {  # argument: a value that is not the default, with what it needs
    'scale': dict(scale=3),
    'base_width': dict(base_width=48),
    'cardinality': dict(cardinality=2),
    'first_block': dict(first_block='parallel_conv'),
    'stride_position': dict(stride_position='conv1'),
    'attn_layer': dict(attn_layer='eca'),
    'rd_ratio': dict(attn_layer='se', rd_ratio=0.5),
    'attn_position': dict(attn_layer='eca', attn_position='split'),
}
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
BASES = ('plain', 'cifar', 'dla')
EACH = pytest.mark.parametrize('name', FIELDS)
IN_EACH = pytest.mark.parametrize('family', BASES)


def outputs(model):
    """The model's answer under weights that no zeroed norm hides."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.2, 0.3, generator=generator)
    with torch.no_grad():
        return model.eval()(IMAGE)


def test_every_argument_has_a_sample_and_words():
    assert SAMPLES.keys() == FIELDS.keys()
    for name, field in FIELDS.items():
        assert SAMPLES[name][name] != field.default and field.metadata['meaning'].endswith('.')


@EACH
@IN_EACH
def test_networks_take_it_and_it_matters(name, family):
    sample = SAMPLES[name]
    model = families.make(family, **sample)
    without = families.make(family, **{k: v for k, v in sample.items() if k != name})
    a, b = outputs(model), outputs(without)
    assert a.shape == b.shape and not torch.allclose(a, b)


@pytest.mark.parametrize('name', [name for name, field in FIELDS.items() if field.metadata['choices']])
def test_every_choice_computes_something_of_its_own(name):
    """... and weights tell it where they tell the argument at all, or are those of another choice to the last name."""
    needs = {k: v for k, v in SAMPLES[name].items() if k != name}
    needs.update(layers=(2, 2, 1, 1), channels=(24, 16, 24, 32))  # with a projection in stage 1: a first block
    seen = []
    for choice in FIELDS[name].metadata['choices']:
        more = {'stride_position': 'conv1'} if choice == 'hierarchical' else {}
        model = families.make('plain', **needs, **more, **{name: choice})
        answer = outputs(model)
        assert not [other for other, its in seen if torch.allclose(its, answer)], choice
        seen.append((choice, answer))
        variant, arguments = match(read_architecture({k: v.shape for k, v in model.state_dict().items()}))
        rebuilt = timm.create_model(variant, device='meta', **arguments)
        assert rebuilt.state_dict().keys() == model.state_dict().keys(), choice


@EACH
@IN_EACH
def test_networks_check_it(name, family):
    with pytest.raises((TypeError, ValueError), match=rf'\b{name}='):
        families.make(family, **{**SAMPLES[name], name: object()})


@EACH
def test_blocks_take_it_and_check_it(name):
    x = torch.rand(1, 64, 8, 8)
    for cls, planes in ((timm_res2net.Res2NetBottleneck, 16), (timm_res2net.Res2NetDlaBottleneck, 64)):
        base = {'base_width': 32, **SAMPLES[name]}
        assert cls(64, planes, **base)(x).shape == x.shape
        with pytest.raises((TypeError, ValueError), match=rf'\b{name}='):
            cls(64, planes, **{**base, name: object()})


@EACH
def test_the_command_line_passes_it(name):
    parser = argparse.ArgumentParser()
    parser.add_argument('--model-kwargs', nargs='*', action=ParseKwargs)  # as timm's scripts have it
    kwargs = parser.parse_args(['--model-kwargs', *(f'{k}={v}' for k, v in SAMPLES[name].items())]).model_kwargs
    assert torch.equal(outputs(families.make('plain', **kwargs)), outputs(families.make('plain', **SAMPLES[name])))


@EACH
def test_the_page_of_arguments_has_it(name):
    page = (Path(timm_res2net.__file__).parent / 'docs/variants.md').read_text(encoding='utf-8')
    rows = [line for line in page.splitlines() if line.startswith(f'| `{name}` |')]
    assert len(rows) == 1 and FIELDS[name].metadata['meaning'] in rows[0], 'python scripts/page_tables.py --write'


@EACH
@IN_EACH
def test_a_saved_model_comes_back_with_it(name, family, tmp_path):
    model = families.make(family, **SAMPLES[name])
    expected = outputs(model)
    timm_res2net.save_folder(model, tmp_path / 'saved')
    again = timm_res2net.load_checkpoint(tmp_path / 'saved').eval()
    assert again.model_args[name] == SAMPLES[name][name]
    assert torch.equal(outputs(again), expected)


@EACH
@IN_EACH
def test_folded_and_prepacked_models_have_it(name, family):
    """`deploy.packing` computes a block in a way of its own."""
    model = families.make(family, **SAMPLES[name])
    expected = outputs(model)
    with torch.no_grad():
        for fast in (timm_res2net.deploy.fold(model), timm_res2net.deploy.prepack(model)):
            assert (fast(IMAGE) - expected).abs().max() < 1e-4 * expected.abs().max()


@EACH
@IN_EACH
def test_bare_weights_tell_it_or_it_is_declared_that_they_do_not(name, family):
    model = families.make(family, **SAMPLES[name])
    found = read_architecture({k: v.shape for k, v in model.state_dict().items()})
    variant, arguments = match(found)
    rebuilt = timm.create_model(variant, device='meta', **arguments)
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    read = complete(type(model), {**timm_res2net.model.variants.VARIANTS[variant].arguments, **arguments})[name]
    if FIELDS[name].metadata['in_weights']:
        assert read == SAMPLES[name][name], 'declared in_weights, and weights.architecture does not read it so'
    else:
        assert read == FIELDS[name].default
