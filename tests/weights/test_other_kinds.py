"""Networks that are called Res2Net and are others: refused by their own name, from the names in public code."""
import pytest
import timm
import torch
from literal_networks import Foreign

from timm_res2net import CheckpointError, load_checkpoint

DEEP = dict(stem='deep', stem_width=16, avg_down=True)


def refused(state, tmp_path):
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth: it is ') as caught:
        load_checkpoint(tmp_path / 'other.pth')
    return str(caught.value)


@pytest.mark.parametrize(('style', 'name'), [
    ('mmdetection', 'backbone.layer3.0.convs.1.conv_offset.weight'),
    ('mmpretrain', 'backbone.layer4.0.convs.0.conv_offset.bias'),
    ('detectron2', 'backbone.bottom_up.res4.0.conv2_offset.weight'),
    ('paddledetection', 'backbone.res5.blocks.0.branch2b.0.conv_offset.weight'),
    ('official', 'layer3.1.offset_conv.weight'),
])
def test_deformable(style, name, tmp_path):
    """All of a Res2Net's names are there; loaded without their offsets it would be another network."""
    state = {**Foreign(style, **(DEEP if style != 'paddledetection' else {})).weights, name: torch.zeros(18, 4, 3, 3)}
    assert 'deformable' in refused(state, tmp_path)


def test_deformable_heads_are_none_of_its_business(tmp_path):
    state = {**Foreign('mmdetection', **DEEP).weights, 'neck.x.weight': torch.zeros(1),
             'bbox_head.reg.conv_offset.weight': torch.zeros(18, 4, 3, 3)}
    torch.save(state, tmp_path / 'det.pth')
    assert load_checkpoint(tmp_path / 'det.pth').first_block == 'strided_pool'


@pytest.mark.parametrize(('names', 'kind'), [
    (['layer1.0.shortcut.0.weight', 'layer1.0.shortcut.1.weight', 'seg_1.weight'], 'wespeaker'),
    (['layer3.0.fuse_models.0.local_att.0.weight', 'fuse_mode12.local_att.0.weight', 'seg_1.weight'], 'ERes2Net'),
    (['layer1.0.gates.0.fc.0.weight'], 'gated'),
    (['layer2.0.context_block1.conv_mask.weight'], 'plugins'),
])
def test_with_more_parts(names, kind, tmp_path):
    state = {**Foreign('official').weights, **{name: torch.zeros(4, 4, 1, 1) for name in names}}
    assert kind in refused(state, tmp_path)


def test_a_resnet_with_a_shortcut_is_no_speaker_network(tmp_path):
    state = {k.replace('downsample', 'shortcut'): v for k, v in timm.create_model('resnet26').state_dict().items()}
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'layer2\.0\.downsample\.0\.weight is missing'):
        load_checkpoint(tmp_path / 'other.pth')


@pytest.mark.parametrize('names', [
    ['embedding_model.blocks.1.res2net_block.blocks.0.conv.conv.weight', 'embedding_model.fc.conv.weight'],
    ['layer2.se_res2block.0.conv.weight', 'layer2.se_res2block.1.convs.0.weight', 'linear.weight'],
])
def test_ecapa(names, tmp_path):
    assert 'ECAPA-TDNN' in refused({name: torch.zeros(4, 4, 3) for name in names}, tmp_path)


@pytest.mark.parametrize(('dimensions', 'kind'), [(1, '1-D Res2Net'), (3, '3-D Res2Net')])
def test_of_other_dimensions(dimensions, kind, tmp_path):
    state = {k: v if v.ndim < 4 else torch.zeros(*v.shape[:2], *v.shape[3:] * dimensions)
             for k, v in Foreign('official').weights.items()}
    assert kind in refused(state, tmp_path)


def test_channel_attention_is_no_sequence(tmp_path):
    """ECA has a 1-D convolution of its own."""
    import timm
    model = timm.create_model('test_res2net_custom', attn_layer='eca')
    torch.save(model.state_dict(), tmp_path / 'eca.pth')
    assert load_checkpoint(tmp_path / 'eca.pth').checkpoint_info.model_args['attn_layer'] == 'eca'
