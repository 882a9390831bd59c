"""Where timm has the same network, ours is the same to the touch: children, parameters, starting values, optimizers."""
import copy

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from torch import nn

import timm_res2net

NAMES = [
    'res2net50_26w_4s', 'res2net50_48w_2s', 'res2net50_14w_8s', 'res2net50_26w_6s', 'res2net50_26w_8s',
    'res2net101_26w_4s', 'res2net50d', 'res2net101d', 'res2next50', 'dla60_res2net', 'dla60_res2next', 'resnet50']
RESNETS = ['res2net50_26w_4s', 'res2net50d', 'resnet50']


def pair(name, **kwargs):
    """timm's model and ours, from the same seed."""
    models = []
    for full_name in (name, f'{name}_custom'):
        torch.manual_seed(0)
        models.append(timm.create_model(full_name, **kwargs))
    return models


@pytest.mark.parametrize('name', NAMES)
def test_children_and_parameters_are_in_timms_order(name):
    theirs, ours = pair(name, device='meta')
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    named = timm_res2net.to_timm(ours)
    parameters = {n for n, _ in theirs.named_parameters()}
    assert [(n, v.shape) for n, v in named.items() if n in parameters] == [
        (n, p.shape) for n, p in theirs.named_parameters()]


@pytest.mark.parametrize('name', RESNETS)
def test_what_people_do_with_the_children_of_a_resnet(name):
    theirs, ours = (model.eval() for model in pair(name))
    x = torch.randn(1, 3, 64, 64)
    assert isinstance(list(ours.children())[0], type(list(theirs.children())[0]))  # the stem
    with torch.no_grad():
        for end in (5, -2):  # stem and first stage; all but the head
            cut = [nn.Sequential(*list(model.children())[:end]) for model in (theirs, ours)]
            assert torch.equal(cut[0](x), cut[1](x))
    for model in (theirs, ours):
        for child in list(model.children())[:5]:
            child.requires_grad_(False)
    frozen = [sum(not p.requires_grad for p in model.parameters()) for model in (theirs, ours)]
    assert frozen[0] == frozen[1] > 0


@pytest.mark.parametrize('name', ['res2net50_26w_4s', 'res2next50', 'dla60_res2net', 'resnet50'])
def test_the_same_seed_gives_the_same_start(name):
    theirs, ours = pair(name)
    named = timm_res2net.to_timm(ours)
    assert all(torch.equal(named[n], v) for n, v in theirs.state_dict().items())


@pytest.mark.parametrize('name', ['res2net50_26w_4s', 'dla60_res2next', 'resnet50'])
def test_an_optimizer_of_timms_model_goes_on_with_ours(name):
    """States are kept by position: one in another order would move weights by another's moments."""
    theirs, ours = pair(name, num_classes=3)
    x, y = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])

    def optimizer(model):
        return create_optimizer_v2(model, opt='adamw', lr=1e-2, weight_decay=0.05)

    def step(model, optimizer):
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    first = optimizer(theirs)
    for _ in range(2):
        step(theirs, first)
    ours.load_state_dict(timm_res2net.weights.checkpoint_filter_fn(theirs.state_dict(), ours))
    second = optimizer(ours)
    second.load_state_dict(copy.deepcopy(first.state_dict()))  # torch would share its tensors
    for model, its in ((theirs, first), (ours, second)):
        step(model, its)
    named = timm_res2net.to_timm(ours)
    for n, value in theirs.state_dict().items():
        torch.testing.assert_close(named[n], value, rtol=1e-5, atol=1e-6)
