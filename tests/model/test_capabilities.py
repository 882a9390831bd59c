"""What timm, torch and torchvision do to a model works on a representative of every family."""
import copy
import os

import families
import literal
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3, freeze, unfreeze
from torch import nn

FAMILIES = pytest.mark.parametrize('family', families.FAMILIES)
SIZE = 64


def make(family, **kwargs):
    return literal.randomize_norms(families.make(family, **kwargs)).eval()


def images(batch=2, channels=3, height=SIZE, width=SIZE):
    return torch.randn(batch, channels, height, width)


@FAMILIES
def test_compiles_without_a_graph_break(family, fresh_dynamo):
    model = make(family)
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend='eager')(x), model(x))


@pytest.mark.parametrize('family', ['se', 'cifar'])
def test_trains_compiled(family, fresh_dynamo):
    model = make(family).train()
    x = images()
    model(x).square().mean().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    torch.compile(model, fullgraph=True, backend='aot_eager')(x).square().mean().backward()
    for p, gradient in zip(model.parameters(), expected, strict=True):
        scale = gradient.abs().max()
        torch.testing.assert_close(p.grad / scale, gradient / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@FAMILIES
def test_inductor(family, fresh_dynamo):
    model = make(family)
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), model(x), rtol=1e-3, atol=1e-4)


@FAMILIES
def test_scripts(family):
    model = make(family)
    scripted = torch.jit.script(model)
    with torch.no_grad():
        for x in (images(), images(1, 3, 96, 64)):
            torch.testing.assert_close(scripted(x), model(x))


@FAMILIES
def test_exports_with_dynamic_batch_and_size(family):
    model = make(family)
    dynamic = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(model, (images(2, 3, 64, 96),), dynamic_shapes=(dynamic,))
    with torch.no_grad():
        for x in (images(2, 3, 64, 96), images(5, 3, 96, 160), images(3, 3, 128, 64)):
            torch.testing.assert_close(program.module()(x), model(x))


@FAMILIES
def test_traces(family):
    model = make(family)
    with torch.no_grad():
        for x in (images(), images(1, 3, 96, 64)):
            torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


@FAMILIES
def test_torchvision_feature_extractor(family):
    extraction = pytest.importorskip('torchvision.models.feature_extraction')
    model = make(family)
    node = {'dla': 'level3', 'dla_next': 'level3'}.get(family, 'layer2')
    last = [n for n in extraction.get_graph_node_names(model)[1] if n.startswith(f'{node}.')][-1]
    extractor = extraction.create_feature_extractor(model, {last: 'map'})
    reference = dict(model.named_modules())[node]
    seen = []
    reference.register_forward_hook(lambda module, args, output: seen.append(output))
    x = images()
    with torch.no_grad():
        model(x)
        torch.testing.assert_close(extractor(x)['map'], seen[0])


@FAMILIES
def test_features_only(family):
    model = make(family, features_only=True)
    reductions = {True: [1, 2, 4]}.get(family == 'cifar_next', [2, 4, 8, 16, 32])
    if family == 'cifar':  # a stem of stride 2
        reductions = [2, 4, 8]
    assert model.feature_info.reduction() == reductions
    with torch.no_grad():
        maps = model(images(2, 3, 64, 96))
    assert [m.shape[1] for m in maps] == model.feature_info.channels()
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // r, 96 // r) for r in reductions]
    some = make(family, features_only=True, out_indices=(1, 2))
    assert some.feature_info.reduction() == [
        r for i, r in enumerate([1, *reductions] if 'dla' in family else reductions) if i in (1, 2)]


@pytest.mark.parametrize('family', ['plain', 'cifar', 'dla'])
def test_which_maps_features_only_gives(family):
    count = len(families.make(family, device='meta').feature_info)
    x = torch.empty(1, 3, SIZE, SIZE, device='meta')

    def reductions(indices):
        model = families.make(family, device='meta', features_only=True, out_indices=indices)
        found = model.feature_info.reduction()
        assert [(SIZE // r, c) for r, c in zip(found, model.feature_info.channels(), strict=True)] == [
            (m.shape[-1], m.shape[1]) for m in model(x)]
        return found

    every = reductions(range(count))
    assert len(every) == count and every == sorted(every)
    assert reductions([1, -1]) == [every[1], every[-1]]
    assert reductions(2) == reductions((-2, -1)) == every[-2:]
    assert reductions([0]) == every[:1]
    for indices in ((0, count), (-count - 1,), 0, count + 1, [], -1):
        with pytest.raises(ValueError, match=r'out_indices.* must be'):
            reductions(indices)
    for indices in ((1, 0), (-1, 0), (1, 1), (1, 1 - count)):
        with pytest.raises(ValueError, match='must ascend: maps come from the finest to the coarsest'):
            reductions(indices)
    for indices in ('1', (1.5,), (True,)):
        with pytest.raises(TypeError, match='out_indices'):
            reductions(indices)


@pytest.mark.parametrize('output_stride', [8, 16])
@pytest.mark.parametrize('family', [*families.RESNETS, *families.DLAS])
def test_output_stride(family, output_stride):
    model = make(family, features_only=True, output_stride=output_stride)
    expected = [min(r, output_stride) for r in (2, 4, 8, 16, 32)]
    assert model.feature_info.reduction() == expected
    with torch.no_grad():
        assert [m.shape[-1] for m in model(images())] == [SIZE // r for r in expected]
    plain, dilated = make(family), make(family, output_stride=output_stride)
    dilated.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert not torch.allclose(plain(images()), dilated(images()))


@pytest.mark.parametrize('channels', [1, 5])
@FAMILIES
def test_input_channels(family, channels):
    model = make(family, in_chans=channels)
    assert model(images(2, channels)).shape == (2, 7)


@FAMILIES
def test_pooled_and_unpooled_features(family):
    x = images()
    model = make(family, num_classes=0)
    y = model(x)
    assert y.shape == (2, model.num_features)
    unpooled = make(family, num_classes=0, global_pool='')
    unpooled.load_state_dict(model.state_dict())
    torch.testing.assert_close(unpooled(x).mean((2, 3)), y)


@FAMILIES
def test_meta_device(family):
    model = families.make(family, device='meta')
    assert model(torch.empty(2, 3, 64, 64, device='meta')).shape == (2, 7)
    if family == 'blur':
        return  # timm does not save the filter of its blur: it has to be built on a real device
    real = families.make(family)
    model.load_state_dict(real.state_dict(), assign=True)
    x = images()
    assert torch.equal(model.eval()(x), real.eval()(x))


@FAMILIES
def test_bfloat16(family):
    model = make(family)
    x = images(4)
    with torch.no_grad():
        expected = model(x)
        y = copy.deepcopy(model).to(torch.bfloat16)(x.bfloat16())
        assert y.dtype == torch.bfloat16
        assert nn.functional.cosine_similarity(y.float().flatten(), expected.flatten(), dim=0) > 0.98
        with torch.autocast('cpu', torch.bfloat16):
            y = model(x)
        assert nn.functional.cosine_similarity(y.float().flatten(), expected.flatten(), dim=0) > 0.98


@FAMILIES
def test_channels_last(family):
    model = make(family)
    x = images()
    with torch.no_grad():
        expected = model.forward_features(x)
        y = model.to(memory_format=torch.channels_last).forward_features(x.to(memory_format=torch.channels_last))
    if isinstance(y, list):
        y, expected = y[-1], expected[-1]
    torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3)
    assert y.is_contiguous(memory_format=torch.channels_last)


@FAMILIES
def test_gradient_checkpointing_gives_the_same_gradients(family):
    model = make(family).train()
    x = images()
    gradients = []
    for enable in (False, True):
        model.zero_grad()
        model.set_grad_checkpointing(enable)
        model(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('family', ['plain', 'cifar', 'dla'])
def test_gradient_checkpointing_keeps_less(family):
    model = make(family).train()
    kept = []

    def pack(tensor):
        kept[-1] += tensor.numel()
        return tensor

    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(images())
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize('family', ['plain', 'cifar', 'dla'])
def test_statistics_under_gradient_checkpointing(family):
    """They move twice, as the page on training says, which also says what to do: a smaller momentum."""
    statistics = []
    for checkpointing, corrected in ((False, False), (True, False), (True, True)):
        torch.manual_seed(0)
        model = make(family).train()
        model.set_grad_checkpointing(checkpointing)
        blocks = [m for name, m in model.named_modules() if hasattr(m, 'conv_norm_acts')]
        if family != 'dla':
            blocks = [m for name, m in model.named_children() if name.startswith('layer')]
        for norm in (m for block in blocks for m in block.modules() if isinstance(m, nn.BatchNorm2d) and corrected):
            norm.momentum = 1 - (1 - norm.momentum) ** 0.5
        model(images()).sum().backward()
        statistics.append({k: v for k, v in model.state_dict().items() if '.running_' in k})
    once, twice, right = statistics
    moved = sum(not torch.allclose(once[k], twice[k]) for k in once)
    assert moved >= (0.8 if family == 'dla' else 1) * len(once) - 6  # stem, projections and roots are not checkpointed
    for key in once:
        torch.testing.assert_close(right[key], once[key])


@FAMILIES
def test_sync_batchnorm(family):
    model = make(family)
    x = images()
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    with torch.no_grad():
        expected = model(x)
        for convert in (nn.SyncBatchNorm.convert_sync_batchnorm, convert_sync_batchnorm):
            converted = convert(copy.deepcopy(model)).eval()
            assert sum(isinstance(m, nn.SyncBatchNorm) for m in converted.modules()) == norms
            assert torch.equal(converted(x), expected)


@FAMILIES
def test_freeze(family):
    model = make(family)
    stage = 'level2' if 'dla' in family else 'layer1'
    x = images()
    expected = model(x)
    freeze(model, [stage])
    assert all(p.requires_grad != name.startswith(f'{stage}.') for name, p in model.named_parameters())
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()(x).sum().backward()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and not any(k.startswith(f'{stage}.') for k in changed)
    unfreeze(model, [stage])
    assert all(p.requires_grad for p in model.parameters())


@FAMILIES
def test_moving_average(family):
    model = make(family)
    ema = ModelEmaV3(model, decay=0.75)
    start = {k: v.clone() for k, v in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.)
    ema.update(model)
    for name, p in ema.module.named_parameters():
        torch.testing.assert_close(p, start[name] + 0.25)
    assert ema.module(images()).shape == (2, 7)


@FAMILIES
def test_weight_decay_groups_cover_every_parameter(family):
    from timm.optim import create_optimizer_v2
    model = make(family)
    for args in (dict(weight_decay=0.05), dict(weight_decay=0.05, layer_decay=0.7)):
        optimizer = create_optimizer_v2(model, 'sgd', lr=0.1, **args)
        assert sum(len(g['params']) for g in optimizer.param_groups) == len(list(model.parameters()))


def gradients(model, x, target):
    nn.functional.mse_loss(model(x), target).backward()
    return [p.grad.clone() for p in model.parameters()]


def train_on_one_half(rank, store):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    try:
        for family in families.FAMILIES:
            torch.manual_seed(0)
            model = make(family)  # in eval mode the batch statistics play no part: the mean of halves is the whole
            x, target = images(4), torch.randn(4, 7)
            expected = gradients(copy.deepcopy(model), x, target)
            parallel = nn.parallel.DistributedDataParallel(model)
            mine = slice(2 * rank, 2 * rank + 2)
            for got, want in zip(gradients(parallel, x[mine], target[mine]), expected, strict=True):
                scale = want.abs().max()
                torch.testing.assert_close(got / scale, want / scale, rtol=1e-3, atol=1e-3)
            y = parallel.train()(x[mine])  # and with batch statistics it runs
            y.sum().backward()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_distributed_data_parallel(tmp_path, monkeypatch):
    for interface in ('lo', 'lo0'):
        if os.path.exists(f'/sys/class/net/{interface}'):
            monkeypatch.setenv('GLOO_SOCKET_IFNAME', interface)
    mp.start_processes(train_on_one_half, args=(str(tmp_path / 'store'),), nprocs=2, start_method='spawn')
