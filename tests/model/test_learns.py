"""A small network learns scikit-learn's handwritten digits through the public API."""
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

import timm_res2net  # noqa: F401  registers the variants


@pytest.fixture(scope='module')
def digits():
    """8 x 8 images in -1 .. 1, of which every fifth is held out."""
    images, labels = pytest.importorskip('sklearn.datasets').load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    labels = torch.tensor(labels)
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def train(model, images, labels, epochs, batch=64):
    optimizer = create_optimizer_v2(model, 'adamw', lr=4e-3, weight_decay=0.02)
    scheduler, _ = create_scheduler_v2(optimizer, 'cosine', num_epochs=epochs, warmup_epochs=1, warmup_lr=4e-4)
    model.train()
    for epoch in range(epochs):
        scheduler.step(epoch)
        for index in torch.randperm(len(images)).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(model(images[index]), labels[index]).backward()
            optimizer.step()


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


@pytest.mark.parametrize('args', [
    dict(),
    pytest.param(dict(attn_layer='se', rd_ratio=1 / 4, stride_position='conv1'), marks=pytest.mark.slow),
], ids=['plain', 'se-conv1'])
def test_digits(digits, args):
    images, labels, held_out, truth = digits
    model = timm.create_model(
        'res2net23_32w_4s_cifar_custom', num_classes=10, in_chans=1, stem_stride=1, stem_width=16,
        layers=(1, 1, 1), channels=(16, 24, 32), base_width=32, **args)
    assert accuracy(model, held_out, truth) < 0.3
    train(model, images, labels, epochs=16)
    assert accuracy(model, held_out, truth) >= 0.97
