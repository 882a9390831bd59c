"""Back into other projects: their names, literal networks in them, exact round trips, refusals, modes of files."""
import os
import pickle
import stat

import literal
import pytest
import timm
import torch
from literal_networks import Foreign, OfficialDla

import timm_res2net
from timm_res2net import deploy, load_checkpoint, save_as
from timm_res2net.weights.layouts.layout import STRIDED
from timm_res2net.weights.mindspore import load_mindspore
from timm_res2net.weights.save_as import LAYOUTS

V1B = dict(stem_type='deep', stem_width=32, avg_down=True)
DEEP = dict(stem_type='deep', stem_width=32)
SUFFIX = {'PaddleClas': '.pdparams', 'PaddleDetection': '.pdparams', 'mindcv': '.ckpt'}
STYLES = {'PaddleClas': 'paddle', 'PaddleDetection': 'paddledetection', 'Holocron': 'holocron'}
UNPOOLED = dict(first_block='strided_pool')
CASES = [
    ('official', {}), ('official', V1B), ('official', dict(cardinality=2)),
    ('mmpretrain', {}), ('mmpretrain', V1B), ('mmpretrain', dict(DEEP, num_classes=0)),
    ('mmdetection', dict(V1B, **UNPOOLED)), ('mmdetection', dict(V1B, **UNPOOLED, num_classes=0, in_chans=1)),
    ('detectron2', dict(V1B, **UNPOOLED, stride_position='conv1', cardinality=2)),
    ('PaddleClas', dict(first_block='paddle')), ('PaddleClas', dict(V1B, first_block='paddle', depth=101)),
    ('PaddleDetection', dict(first_block='paddle', cardinality=2)),
    ('PaddleDetection', dict(DEEP, first_block='paddle')),
    ('Holocron', dict(avg_down=True)), ('Holocron', V1B),
    ('mindcv', {}), ('mindcv', V1B),
]


def small(**arguments):
    """Projects fix planes, and some the depth, not the widths inside."""
    arguments = {'depth': 26, 'scale': 3, 'base_width': 4, 'num_classes': 3, **arguments}
    return literal.randomize_norms(timm.create_model('res2net_custom', zero_init_last=False, **arguments)).eval()


def saved(model, folder, layout, **kwargs):
    return save_as(model, folder / f'weights{SUFFIX.get(layout, ".pth")}', layout, **kwargs)


def content(path):
    """What a reader that is not ours finds in the file: name -> tensor."""
    if path.suffix == '.pdparams':
        arrays = pickle.loads(path.read_bytes())
        names = arrays.pop('StructuredToParameterName@@')  # by which paddle.load knows its own files
        assert names.keys() == arrays.keys()
        return {k: torch.from_numpy(v) for k, v in arrays.items()}
    state = load_mindspore(path) if path.suffix == '.ckpt' else torch.load(path, weights_only=True)
    return state.get('state_dict', state.get('model', state))


def theirs(layout, model, arguments):
    """The project's network in `literal_networks`."""
    stem = dict(stem='deep', stem_width=32) if model.arguments.stem_type else {}
    return Foreign(
        STYLES.get(layout, layout), layers=model.arguments.layers, planes=(64, 128, 256, 512),
        base_width=model.arguments.base_width, scale=model.arguments.scale, groups=model.arguments.cardinality,
        avg_down=model.arguments.avg_down, classes=model.num_classes, in_chans=model.in_chans, **stem)


@pytest.mark.parametrize(('layout', 'arguments'), CASES, ids=str)
def test_files_are_the_projects_and_come_back_as_they_were(layout, arguments, tmp_path):
    depth = {} if layout in ('official', 'Holocron', 'mindcv') else {'depth': 50}
    model = small(**{**depth, **arguments})
    path = saved(model, tmp_path, layout)
    weights, network = content(path), theirs(layout, model, arguments)
    detector = {'mmdetection': 'backbone.', 'detectron2': 'backbone.bottom_up.', 'PaddleDetection': 'backbone.'}
    weights = {detector.get(layout, '') + k: v for k, v in weights.items()}  # its files are named as bare backbones
    heads = () if model.num_classes else ('head.fc.weight', 'head.fc.bias')
    assert {k: v.shape for k, v in weights.items() if not k.endswith('.num_batches_tracked')} == {
        k: v.shape for k, v in network.weights.items() if k not in heads}
    network.weights.update(weights)
    x = torch.randn(1, model.in_chans, 65, 64)
    again = load_checkpoint(path).eval()
    with torch.no_grad():
        maps = model.forward_intermediates(x)[1][1:]
        for ours, other in zip(maps, network.maps(x), strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5 * other.abs().max().item())
        for ours, other in zip(maps, again.forward_intermediates(x)[1][1:], strict=True):
            assert torch.equal(ours, other)
    state, back = model.state_dict(), again.state_dict()
    assert all(torch.equal(state[k], back[k]) for k in back)
    assert set(state) - set(back) == ({'fc.weight', 'fc.bias'} if layout in detector and model.num_classes else set())
    strided = [STRIDED] if layout == 'detectron2' else []  # as a bare backbone of mmdetection has nothing of a detector
    assert again.first_block == model.first_block and again.checkpoint_info.assumed == strided or layout == 'official'


def test_every_layout_has_a_case():
    assert {layout for layout, _ in CASES} | {'timm'} == set(LAYOUTS)


def test_official_dla_has_the_projections_that_it_never_uses(tmp_path):
    model = literal.randomize_norms(timm.create_model('dla60_res2next_custom', num_classes=3)).eval()
    path = saved(model, tmp_path, 'official')
    weights = content(path)
    added = weights.keys() - model.state_dict().keys()
    assert {k.split('.project.')[0] for k in added} == {'level3', 'level4', 'level4.tree1'}
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(OfficialDla(weights, 4, 8)(x), model(x), rtol=1e-4, atol=1e-5)
    again = load_checkpoint(path).state_dict()
    assert all(torch.equal(again[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize('suffix', ['.safetensors', pytest.param('.pth', marks=pytest.mark.slow)])
def test_timm(suffix, tmp_path):
    model = literal.randomize_norms(small(depth=26, scale=1, base_width=64)).eval()
    path = save_as(model, tmp_path / f'resnet26{suffix}', 'timm')
    plain = timm.create_model('resnet26', num_classes=3, checkpoint_path=str(path)).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(x), model(x))
    with pytest.raises(ValueError, match='timm has no such network'):
        save_as(small(), tmp_path / f'x{suffix}', 'timm')


@pytest.mark.parametrize(('layout', 'arguments', 'message'), [
    ('official', dict(first_block='paddle'), "first_block='paddle' must be 'parallel'"),
    ('official', dict(DEEP), "stem_type='deep' must be ''"),
    ('official', dict(V1B, cardinality=2), 'cardinality=2 must be 1'),
    ('official', dict(num_classes=0), 'num_classes=0 must be at least 1'),
    ('mmpretrain', dict(cardinality=2), 'cardinality=2 must be 1'),
    ('mmpretrain', dict(scale=1), 'scale=1 must be more than 1'),
    ('mmpretrain', dict(depth=26), r'layers=\(2, 2, 2, 2\) must be those of depth 50, 101, 152'),
    ('mmdetection', V1B, "first_block='parallel' must be 'strided_pool'"),
    ('mmdetection', UNPOOLED, "stem_type='' must be 'deep'"),
    ('detectron2', dict(V1B, **UNPOOLED), "stride_position='split' must be 'conv1'"),
    ('detectron2', dict(V1B, **UNPOOLED, stride_position='conv1', base_width=4.5), 'base_width=4.5 must be a whole'),
    ('PaddleClas', {}, "first_block='parallel' must be 'paddle'"),
    ('PaddleClas', dict(first_block='paddle', in_chans=1), 'in_chans=1 must be 3'),
    ('PaddleDetection', dict(V1B, first_block='paddle'), 'avg_down=True must be False'),
    ('mmpretrain', dict(act_layer='silu'), "act_layer='silu' must be 'relu'"),
    ('mmpretrain', dict(act_layer=torch.nn.SiLU), "act_layer='silu' must be 'relu'"),
    ('mmpretrain', dict(attn_layer='se'), "attn_layer='se' must be None"),
    ('mmpretrain', dict(aa_layer='avg'), "aa_layer='avg' must be None"),
    ('mmpretrain', dict(norm_layer='groupnorm1'), "norm_layer='groupnorm1' must be 'batchnorm2d'"),
    ('mmpretrain', dict(output_stride=16), 'output_stride=16 must be 32'),
    ('mmpretrain', dict(global_pool='max'), "global_pool='max' must be 'avg'"),
    ('mmpretrain', dict(channels=(32, 64, 128, 256), base_width=8), r'channels=\(32, 64, 128, 256\) must be'),
])
def test_other_networks_are_refused_with_what_differs(layout, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=f'{layout} has no such network.*{message}'):
        saved(small(**arguments), tmp_path, layout)
    assert not list(tmp_path.iterdir())


def test_other_classes_and_changed_models(tmp_path):
    with pytest.raises(ValueError, match='it has no Res2NetCifar'):
        saved(timm.create_model('res2net23_32w_4s_cifar_custom'), tmp_path, 'official')
    with pytest.raises(ValueError, match='it has no Res2NetDla'):
        saved(timm.create_model('dla60_res2next_custom'), tmp_path, 'mmpretrain')
    with pytest.raises(TypeError, match='FeatureListNet is not a network of timm_res2net'):
        saved(small(features_only=True), tmp_path, 'official')
    with pytest.raises(ValueError, match='changed after it was built'):
        saved(deploy.fold(small()), tmp_path, 'official')
    with pytest.raises(ValueError, match='meta device'):
        saved(timm.create_model('res2net50_26w_4s_custom', device='meta'), tmp_path, 'official')
    assert not list(tmp_path.iterdir())


def test_a_new_head(tmp_path):
    model = small()
    model.reset_classifier(7)
    path = saved(model, tmp_path, 'official')
    assert load_checkpoint(path).num_classes == 7


def test_paths(tmp_path):
    model = small()
    with pytest.raises(ValueError, match="layout='paddle' is not known, choose one of 'timm', 'official'"):
        save_as(model, tmp_path / 'x.pth', 'paddle')
    with pytest.raises(ValueError, match=r'must end in \.pth, as files of official do'):
        save_as(model, tmp_path / 'x.pdparams', 'official')
    path = saved(model, tmp_path, 'official')
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match='exists already'):
        saved(small(), tmp_path, 'official')
    assert path.read_bytes() == before
    assert saved(small(), tmp_path, 'official', overwrite=True) == path and path.read_bytes() != before
    assert [p.name for p in tmp_path.iterdir()] == ['weights.pth']


def test_a_file_that_cannot_be_written_is_not_there(tmp_path):
    model = small(depth=50, first_block='paddle')
    path = saved(model, tmp_path, 'PaddleClas')
    before = path.read_bytes()
    with pytest.raises(ValueError, match='bfloat16'):
        saved(model.bfloat16(), tmp_path, 'PaddleClas', overwrite=True)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name == 'nt', reason='no modes of files')
@pytest.mark.parametrize('mask', [0o022, 0o077])
def test_files_are_readable_as_the_umask_says(mask, tmp_path):
    model = timm.create_model('test_res2net_custom', scale=1, base_width=64)
    old = os.umask(mask)
    try:
        timm_res2net.save_folder(model, tmp_path / 'folder')
        save_as(small(), tmp_path / 'file.pth', 'official')
        (tmp_path / 'plain').write_text('')
    finally:
        os.umask(old)
    files = [*(tmp_path / 'folder').iterdir(), tmp_path / 'file.pth']
    assert len(files) == 3
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {stat.S_IMODE((tmp_path / 'plain').stat().st_mode)}
