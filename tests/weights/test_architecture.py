"""The architecture is read off names and shapes: every variant, and networks that are none."""
import functools

import pytest
import timm
import torch

import timm_res2net
from timm_res2net.model.variants import FREE_FORM, VARIANTS
from timm_res2net.weights.architecture import read_architecture
from timm_res2net.weights.checkpoint import Checkpoint, CheckpointError
from timm_res2net.weights.layouts import rename
from timm_res2net.weights.matching import complete, fits, match, match_as, smallest_base_width


def recognise(state, **implies):
    return read_architecture({name: value.shape for name, value in state.items()}, implies)


@functools.lru_cache
def state_of(name, **kwargs):
    return timm.create_model(name, device='meta', **kwargs).state_dict()


@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_is_recognised_from_its_own_weights(name):
    state = state_of(name)
    found_name, found_args = match(recognise(state))
    assert found_args == {}
    cls, arguments = VARIANTS[name][:2]
    found_cls, found_arguments = VARIANTS[found_name][:2]
    assert found_cls is cls
    wanted, found = complete(cls, arguments), complete(cls, found_arguments)
    if wanted['first_block'] != 'paddle':
        assert wanted == found
    else:  # cannot be told from the weights alone ...
        assert {**wanted, 'first_block': 'parallel'} == found
        assert match(recognise(state, first_block='paddle')) == (name, {})  # ... but from PaddleClas's names
        assert match_as(recognise(state), name, {}) == {}  # and from the name that comes with them


def test_a_row_of_the_table_agrees_with_what_timm_builds():
    for name in ('res2net101_26w_4s_custom', 'seres2next29_8c_25w_4s_cifar_custom', 'dla60_res2next_custom'):
        cls, arguments = VARIANTS[name][:2]
        direct = cls(**arguments, device='meta').state_dict()
        assert {k: v.shape for k, v in direct.items()} == {k: v.shape for k, v in state_of(name).items()}


@pytest.mark.parametrize(('variant', 'arguments'), [
    ('res2net50_26w_4s_custom', dict(num_classes=7)),
    ('res2net50_26w_4s_custom', dict(in_chans=1, num_classes=0)),
    ('res2net50_26w_4s_custom', dict(global_pool='catavgmax')),
    (FREE_FORM, dict(layers=(1, 2, 1, 1), channels=(8, 16, 24, 32), scale=3, base_width=40)),
    (FREE_FORM, dict(layers=(1, 1, 1, 1), stem_type='deep_tiered', stem_width=24, replace_stem_pool=True)),
    (FREE_FORM, dict(layers=(1, 1, 1, 1), down_kernel_size=3, attn_layer='se', rd_ratio=0.25, attn_position='split')),
    (FREE_FORM, dict(layers=(1, 1, 1, 1), attn_layer='eca')),
    (FREE_FORM, dict(layers=(1, 1, 1, 1), first_block='parallel_conv', cardinality=4, base_width=8)),
    (FREE_FORM, dict(layers=(1, 1, 1, 1), norm_layer='groupnorm', channels=(64, 64, 64, 64), base_width=32)),
    (FREE_FORM, dict(depth=26, scale=1, base_width=64, avg_down=True, stem_type='deep')),
    (FREE_FORM, dict(layers=(1, 1, 1, 1), channels=(96, 192, 384, 768), base_width=18.67)),
    ('res2net23_32w_4s_cifar_custom', dict(layers=(1, 1, 1), channels=(8, 16, 24), stem_width=12, stem_stride=1)),
    ('dla60_res2net_custom', dict(channels=(8, 8, 64, 64, 128, 128), base_width=32, scale=3, num_classes=3)),
])
def test_other_networks_are_recognised_by_their_arguments(variant, arguments):
    state = state_of.__wrapped__(variant, **arguments)
    name, found = match(recognise(state))
    rebuilt = timm.create_model(name, device='meta', **found)
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {k: v.shape for k, v in state.items()}
    target = timm.create_model(variant, device='meta', **arguments)
    assert type(rebuilt) is type(target)
    assert [type(m) for m in rebuilt.modules()] == [type(m) for m in target.modules()]
    assert getattr(rebuilt.layer1[0], 'width', 0) == target.layer1[0].width if hasattr(target, 'layer1') else True


@pytest.mark.parametrize('arguments', [
    dict(attn_layer='se'), dict(scale=8, base_width=18), dict(layers=(2, 2, 2)),
    dict(scale=2, base_width=60, num_classes=7)])
def test_what_has_no_weights_stays_as_in_the_closest_variant(arguments):
    """The variant's stem has a stride of 2, the class's default is 1."""
    state = state_of.__wrapped__('res2net23_32w_4s_cifar_custom', **arguments)
    name, found = match(recognise(state))
    assert name == 'res2net23_32w_4s_cifar_custom' and found.keys() - {'rd_ratio'} == arguments.keys()
    rebuilt = timm.create_model(name, device='meta', **found)
    assert rebuilt.conv1.stride == timm.create_model(name, device='meta').conv1.stride == (2, 2)


def test_a_strangers_cifar_network_has_the_papers_stem(tmp_path):
    network = timm.create_model('res2next29_6c_24w_4s_cifar_custom', layers=(1, 1, 1), channels=(16, 24, 32))
    name, found = match(recognise(network.state_dict()))
    assert timm.create_model(name, device='meta', **found).conv1.stride == (1, 1)
    torch.save(network.state_dict(), tmp_path / 'bare.pth')
    assert 'stem_stride=1' in str(timm_res2net.inspect_checkpoint(tmp_path / 'bare.pth'))


def test_base_width_is_the_variants_or_the_smallest():
    state = timm.create_model(FREE_FORM, layers=(1, 1, 1, 1), base_width=26.2, device='meta').state_dict()
    found = recognise(state)
    assert fits(found, 26.2) and not fits(found, 26) and not fits(found, 26.25)
    assert smallest_base_width(found) == 26.125  # 512 planes resolve eighths: [26.125, 26.25)
    assert match(found)[1]['base_width'] == 26.125
    state = timm.create_model(FREE_FORM, layers=(1, 1, 1, 1), base_width=26.1, device='meta').state_dict()
    assert match(recognise(state))[1] == dict(layers=(1, 1, 1, 1))  # a variant's 26 gives the same network


def test_widths_of_no_base_width_are_an_error():
    state = dict(state_of(FREE_FORM))
    for name in [k for k in state if k.startswith('layer2.0.convs') and k.endswith('weight')]:
        state[name] = torch.empty(50, 50, 3, 3, device='meta')
    with pytest.raises(CheckpointError, match='any base_width'):
        match(recognise(state))


def test_what_a_file_says_of_itself_is_taken_unless_its_weights_contradict():
    found = recognise(state_of(FREE_FORM))
    said = dict(act_layer='silu', checkpoint_path='/etc/passwd', pretrained=True)
    assert match_as(found, 'res2net50_26w_4s_custom', said) == dict(act_layer='silu')
    for name, given in (('res2net50_26w_8s_custom', {}), ('resnet50_custom', {}),
                        ('res2net50_26w_4s_custom', dict(scale=8)), ('dla60_res2net_custom', {})):
        assert match_as(found, name, given) is None
    paddle = recognise(state_of(FREE_FORM), first_block='paddle')
    assert match_as(paddle, 'res2net50_26w_4s_custom', {}) is None
    assert match(paddle) == ('res2net50_26w_4s_paddle_custom', {})


@pytest.mark.parametrize('name', [
    'res2net50_26w_4s', 'res2net50_48w_2s', 'res2net50_14w_8s', 'res2net50_26w_6s', 'res2net50_26w_8s',
    'res2net101_26w_4s', 'res2next50', 'res2net50d', 'res2net101d', 'dla60_res2net', 'dla60_res2next', 'resnet50'])
def test_timms_own_networks(name):
    state = timm.create_model(name, device='meta').state_dict()
    assert match(recognise(rename(Checkpoint('', state)).state)) == (f'{name}_custom', {})


def test_public_names():
    for name in ('CheckpointError', 'inspect_checkpoint', 'load_checkpoint', 'save_as_timm', 'save_folder', 'to_timm'):
        assert name in timm_res2net.__all__


def test_at_scale_1_no_form_of_the_first_block_contradicts_the_weights():
    """One group is convolved in every form, so that a folder's other arguments are not dropped for it."""
    arguments = dict(scale=1, base_width=64, layers=(1, 1, 1, 1), first_block='parallel_conv', stride_position='conv1')
    state = state_of.__wrapped__(FREE_FORM, **arguments)
    assert match_as(recognise(state), FREE_FORM, arguments) == arguments
