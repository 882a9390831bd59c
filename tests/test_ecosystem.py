"""Other libraries take our models as they take timm's: the real ones, each doing its main job once (extra `ecosystem`).

Libraries are imported by the tests that need them, since collecting this file must not need the extra.
"""
import copy
import os
from collections import OrderedDict

import numpy as np
import pytest
import timm.data
import timm.optim
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import timm_res2net
from timm_res2net import save_folder

pytestmark = pytest.mark.ecosystem

TINY = 'test_res2net_custom'
NAMES = ['ant', 'bee', 'cow', 'dog', 'elk', 'fox', 'gnu']


def trained(name=TINY, **kwargs):
    """A model whose statistics are not those of a fresh one, in eval mode."""
    model = timm.create_model(name, **kwargs)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def photograph(size=200):
    from PIL import Image
    grid = np.indices((size, size)).sum(0) % 256
    return Image.fromarray(np.stack([grid, grid.T[::-1], 255 - grid], -1).astype('uint8'))


def preprocess(model, image):
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    return transform(image.convert('RGB'))[None]


def assert_learns(model, step, steps=4, lr=0.01):
    """A few steps on one batch lower its loss, and every parameter of the encoder takes part in the first.

    Args:
        model: What is trained.
        step: Returns its loss.
    """
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = step()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert min(losses[1:]) < losses[0], losses
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


# transformers

@pytest.fixture
def folder(tmp_path):
    """A folder as `save_folder` writes it, of a model built with arguments, and the model."""
    model = trained(scale=8, base_width=14, num_classes=7, attn_layer='se')
    return save_folder(model, tmp_path / 'saved', label_names=NAMES), model


def test_transformers_classifier(folder):
    from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
    path, model = folder
    wrapped = AutoModelForImageClassification.from_pretrained(path).eval()
    image = photograph()
    pixels = AutoImageProcessor.from_pretrained(path)(image, return_tensors='pt')
    expected = preprocess(model, image)
    torch.testing.assert_close(pixels['pixel_values'], expected)
    with torch.inference_mode():
        logits = wrapped(**pixels).logits
        assert torch.equal(logits, model(expected))
    assert wrapped.config.id2label == dict(enumerate(NAMES))
    best = pipeline('image-classification', str(path))(image)[0]
    assert best['label'] == NAMES[logits.argmax()]
    assert best['score'] == pytest.approx(logits.softmax(-1).max().item(), abs=1e-5)


def test_transformers_fine_tunes_and_saves_what_this_package_reads(folder, tmp_path):
    from transformers import AutoModelForImageClassification
    path, model = folder
    wrapped = AutoModelForImageClassification.from_pretrained(path, num_labels=3, ignore_mismatched_sizes=True)
    assert torch.equal(wrapped.timm_model.layer1[0].conv1.weight, model.layer1[0].conv1.weight)
    wrapped.gradient_checkpointing_enable()
    x, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    assert_learns(wrapped.train(), lambda: wrapped(pixel_values=x, labels=labels).loss)
    wrapped.eval().save_pretrained(tmp_path / 'tuned')
    again = timm_res2net.load_checkpoint(tmp_path / 'tuned').eval()
    with torch.inference_mode():
        assert torch.equal(again(x), wrapped(pixel_values=x).logits)


def test_transformers_features(folder):
    from transformers import AutoModel
    path, model = folder
    wrapped = AutoModel.from_pretrained(path).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        output = wrapped(pixel_values=x, output_hidden_states=True)
        assert torch.equal(output.last_hidden_state, model.forward_features(x))
        assert torch.equal(output.pooler_output, model.forward_head(model.forward_features(x), pre_logits=True))
        assert len(output.hidden_states) == 5


def test_transformers_backbone_in_a_segmentation_network():
    from transformers import TimmBackbone, TimmBackboneConfig, UperNetConfig, UperNetForSemanticSegmentation
    config = TimmBackboneConfig(backbone=TINY, out_indices=[1, 2, 3, 4])
    backbone = TimmBackbone(config).eval()
    alone = timm.create_model(TINY, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    alone.load_state_dict(backbone._backbone.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for got, want in zip(backbone(x).feature_maps, alone(x), strict=True):
            assert torch.equal(got, want)
    network = UperNetForSemanticSegmentation(UperNetConfig(
        backbone_config=config, num_labels=3, hidden_size=16, use_auxiliary_head=False, pool_scales=[1, 2]))
    labels = torch.randint(3, (2, 64, 64))
    assert network(pixel_values=x).logits.shape == (2, 3, 64, 64)
    assert_learns(network.train(), lambda: network(pixel_values=x, labels=labels).loss)


def test_transformers_from_the_hub(client):
    results = client('push+pull', file='ecosystem_client.py', HF_TOKEN='hf_alice')
    for scenario in ('push', 'pull'):
        assert 'error' not in results[scenario], results[scenario]['error']
    assert results['pull']['result'] == results['push']['result']


# segmentation

@pytest.mark.parametrize('name', [TINY, 'seres2net50_26w_4s_custom', 'dla60_res2net_custom'])
def test_segmentation_models_unet(name):
    import segmentation_models_pytorch as smp
    small = dict(layers=(1, 1, 1, 1)) if name.startswith('se') else {}
    network = smp.Unet(f'tu-{name}', encoder_weights=None, classes=3, decoder_channels=(32, 16, 16, 8, 8), **small)
    x, target = torch.randn(2, 3, 64, 96), torch.randint(3, (2, 64, 96))
    loss = smp.losses.DiceLoss('multiclass')
    assert network(x).shape == (2, 3, 64, 96)
    assert_learns(network.train(), lambda: loss(network(x), target), lr=0.1)


@pytest.mark.parametrize('output_stride', [8, 16])
def test_segmentation_models_deeplab(output_stride):
    import segmentation_models_pytorch as smp
    network = smp.DeepLabV3Plus(f'tu-{TINY}', encoder_weights=None, classes=3, encoder_output_stride=output_stride)
    x, target = torch.randn(2, 3, 64, 64), torch.randint(3, (2, 64, 64))
    assert network.encoder(x)[-1].shape[-1] == 64 // output_stride
    assert_learns(network.train(), lambda: nn.functional.cross_entropy(network(x), target))


@pytest.mark.parametrize('name, depth', [
    ('res2next29_6c_24w_4s_cifar_custom', 2), ('res2net23_32w_4s_cifar_custom', 3)])
def test_segmentation_models_with_maps_of_small_images(name, depth):
    import segmentation_models_pytorch as smp
    small = dict(encoder_weights=None, classes=3, layers=(1, 1, 1), channels=(8, 8, 8), base_width=16, cardinality=1)
    network = smp.Unet(f'tu-{name}', encoder_depth=depth, decoder_channels=(32, 16, 8)[:depth], **small)
    x, target = torch.randn(2, 3, 32, 48), torch.randint(3, (2, 32, 48))
    assert network(x).shape == (2, 3, 32, 48)
    assert_learns(network.train(), lambda: nn.functional.cross_entropy(network(x), target), lr=0.1)
    with pytest.raises(ValueError, match='out_indices=.* must be among 0 to 2: there are 3 maps'):
        smp.Unet(f'tu-{name}', **small)  # of depth 5


@pytest.mark.parametrize('encoder', [
    dict(encoder_name='tu-dla60_res2net_custom', channels=(8, 8, 16, 16, 32, 32), base_width=32),
    dict(encoder_name=f'tu-{TINY}', exact_dilation=True)], ids=lambda e: e['encoder_name'])
@pytest.mark.parametrize('output_stride', [8, 16])
def test_segmentation_models_dilate_exactly(encoder, output_stride):
    import segmentation_models_pytorch as smp
    network = smp.DeepLabV3Plus(**encoder, encoder_weights=None, classes=3, encoder_output_stride=output_stride)
    strided = smp.Unet(**encoder, encoder_weights=None, classes=3).double().eval()
    network.double().eval().encoder.load_state_dict(strided.encoder.state_dict())
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        step = 32 // output_stride
        torch.testing.assert_close(network.encoder(x)[-1][:, :, ::step, ::step], strided.encoder(x)[-1])
        assert network(x).shape == (1, 3, 64, 96)


# detection

class Pyramid(nn.Module):
    """A feature pyramid over `features_only`, as torchvision's detectors take it."""

    def __init__(self, name, out_channels=32, out_indices=(1, 2, 3, 4), **kwargs):
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
        super().__init__()
        self.body = timm.create_model(name, features_only=True, out_indices=out_indices, **kwargs)
        self.fpn = FeaturePyramidNetwork(self.body.feature_info.channels(), out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, x):
        return self.fpn(OrderedDict((str(i), feature) for i, feature in enumerate(self.body(x))))


@pytest.mark.parametrize('name, indices, strides', [
    ('dla60_res2net_custom', (2, 3, 4, 5), [4, 8, 16, 32]),
    ('res2next29_6c_24w_4s_cifar_custom', (0, 1, 2), [1, 2, 4]),
    ('res2net23_32w_4s_cifar_custom', (0, 1, 2), [2, 4, 8]),
])
def test_a_feature_pyramid_over_other_families(name, indices, strides):
    pyramid = Pyramid(name, out_indices=indices)
    x = torch.randn(1, 3, 64, 64)
    maps = list(pyramid(x).values())
    assert [64 // m.shape[-1] for m in maps[:-1]] == strides and {m.shape[1] for m in maps} == {32}
    sum(m.square().mean() for m in maps).backward()
    assert all(p.grad is not None for p in pyramid.parameters())
    if 'cifar' in name:
        with pytest.raises(ValueError, match='out_indices=.* must be among 0 to 2'):
            Pyramid(name)


@pytest.mark.parametrize('kind', ['FasterRCNN', 'RetinaNet'])
def test_torchvision_detectors(kind):
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    anchors = AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((0.5, 1., 2.),) * 5)
    anchors = dict(rpn_anchor_generator=anchors) if kind == 'FasterRCNN' else dict(anchor_generator=anchors)
    network = getattr(detection, kind)(Pyramid(TINY), num_classes=3, min_size=128, max_size=160, **anchors)
    images = [torch.rand(3, 128, 128), torch.rand(3, 120, 160)]
    targets = [{'boxes': torch.tensor([[20., 30., 80., 90.]]), 'labels': torch.tensor([1])},
               {'boxes': torch.tensor([[10., 10., 60., 100.], [80., 20., 150., 90.]]), 'labels': torch.tensor([2, 1])}]
    assert_learns(network.train(), lambda: sum(network(images, targets).values()))
    network.eval()
    if kind == 'RetinaNet':
        network.score_thresh = 0.
    with torch.inference_mode():
        found = network(images)
    assert len(found) == 2
    for detections, image in zip(found, images, strict=True):
        boxes = detections['boxes']
        assert len(boxes) == len(detections['scores']) == len(detections['labels']) > 0
        assert (boxes >= 0).all() and (boxes[:, 2] <= image.shape[2]).all() and (boxes[:, 3] <= image.shape[1]).all()


# training frameworks

def dataset():
    return torch.utils.data.TensorDataset(torch.randn(8, 3, 64, 64), torch.arange(8) % 2)


def test_lightning_and_torchmetrics(tmp_path):
    import lightning
    from torchmetrics.classification import MulticlassAccuracy

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = timm.create_model(TINY, num_classes=2)
            self.accuracy = MulticlassAccuracy(2, average='micro')

        def training_step(self, batch, _):
            output = self.network(batch[0])
            self.accuracy(output, batch[1])
            self.log('accuracy', self.accuracy, on_epoch=True, on_step=False)
            return nn.functional.cross_entropy(output, batch[1])

        def configure_optimizers(self):
            return timm.optim.create_optimizer_v2(self.network, 'adamw', lr=1e-3)

    trainer = lightning.Trainer(
        max_epochs=6, accelerator='cpu', devices=1, default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
        enable_model_summary=False)
    module = Classifier()
    trainer.fit(module, torch.utils.data.DataLoader(dataset(), batch_size=8))
    assert trainer.callback_metrics['accuracy'] > 0.75
    trainer.save_checkpoint(tmp_path / 'last.ckpt')
    again = Classifier.load_from_checkpoint(tmp_path / 'last.ckpt', weights_only=True)
    for a, b in zip(again.network.state_dict().values(), module.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_accelerate():
    from accelerate import Accelerator
    accelerator = Accelerator(cpu=True)
    model = timm.create_model(TINY, num_classes=2)
    optimizer = timm.optim.create_optimizer_v2(model, 'adamw', lr=1e-3)
    loader = torch.utils.data.DataLoader(dataset(), batch_size=8)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    losses = []
    for _ in range(4):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert isinstance(accelerator.unwrap_model(model), timm_res2net.Res2Net)


def shard_and_compare(rank, store):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        model = trained(num_classes=7)  # in eval mode the batch statistics play no part
        x, target = torch.randn(4, 3, 64, 64), torch.randn(4, 7)
        whole = copy.deepcopy(model)
        mesh = init_device_mesh('cpu', (2,))
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4, model):
            fully_shard(stage, mesh=mesh)
        optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (whole, model)]
        mine = slice(2 * rank, 2 * rank + 2)
        for _ in range(2):
            for m, part, optimizer in zip((whole, model), (slice(None), mine), optimizers, strict=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(m(x[part]), target[part]).backward()
                optimizer.step()
        for (name, got), want in zip(model.named_parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(got.full_tensor(), want, rtol=1e-3, atol=1e-5, msg=name)
    finally:
        dist.destroy_process_group()


def test_fully_sharded_data_parallel(tmp_path, monkeypatch):
    for interface in ('lo', 'lo0'):
        if os.path.exists(f'/sys/class/net/{interface}'):
            monkeypatch.setenv('GLOO_SOCKET_IFNAME', interface)
    mp.start_processes(shard_and_compare, args=(str(tmp_path / 'store'),), nprocs=2, start_method='spawn')


# torch and timm

@pytest.mark.parametrize('name, gmacs', [('res2net50_26w_4s_custom', 4.2), ('resnet50_custom', 4.2)])
def test_flop_counter_gives_the_papers_macs(name, gmacs):
    """Paper, table 1: 4.2 G for both networks."""
    from torch.utils.flop_counter import FlopCounterMode
    with torch.device('meta'):
        model = timm.create_model(name).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.03)


def test_layer_decay_grows_with_depth():
    model = timm.create_model(TINY)
    groups = timm.optim.param_groups_layer_decay(model, layer_decay=0.5)
    scale = {id(p): g['lr_scale'] for g in groups for p in g['params']}
    first, last = scale[id(next(model.conv1.parameters()))], scale[id(model.fc.weight)]
    stages = [scale[id(getattr(model, f'layer{i}')[0].conv1.weight)] for i in (1, 2, 3, 4)]
    assert len(scale) == len(list(model.parameters()))
    assert first <= stages[0] < stages[1] < stages[2] < stages[3] <= last == 1.


def test_graph_features_equal_hooked_ones():
    x = torch.randn(1, 3, 64, 64)
    plain = trained(features_only=True)
    graph = timm.create_model(TINY, features_only=True, feature_cls='fx').eval()
    graph.graph_module.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        got, want = graph(x), plain(x)
    assert len(got) == len(want) == 5
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
