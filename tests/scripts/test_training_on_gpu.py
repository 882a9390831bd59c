"""What a training on a GPU does to images, rates and averages, tried on the CPU: as Pillow, torchvision and timm do."""
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.random_erasing import RandomErasing
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch.nn import functional as F
from torchvision.transforms.functional import resized_crop

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 50_000  # CIFAR-100's


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')


def photographs(n=64):
    """Images as bytes (N, H, W, 3), smooth but for some noise, as photographs are."""
    smooth = F.interpolate(torch.rand(n, 3, 6, 6), size=(32, 32), mode='bicubic')
    return (255 * (smooth + 0.05 * torch.randn(n, 3, 32, 32))).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def test_a_resized_crop_is_pillows():
    """Within one level of 255: Pillow rounds after rows and again after columns."""
    from augmentation import crop_and_resize, random_box
    images, draw = photographs(), torch.Generator().manual_seed(0)
    box = random_box(len(images), (0.3, 1.0), (0.8, 1.25), (32, 32), draw)
    flip = torch.rand(len(images), generator=draw) < 0.5
    ours = crop_and_resize(images.permute(0, 3, 1, 2).float(), box, flip)
    assert 0 < flip.sum() < len(flip)
    for i, image in enumerate(images):
        theirs = resized_crop(Image.fromarray(image.numpy()), *(int(side[i]) for side in box), [32, 32])
        theirs = theirs.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip[i] else theirs
        assert (ours[i].permute(1, 2, 0) - torch.from_numpy(np.array(theirs)).float()).abs().max() <= 1, i


def test_a_padded_crop_is_exact():
    from augmentation import crop_and_resize
    x = photographs().permute(0, 3, 1, 2).float()
    move = torch.randint(-4, 5, (2, len(x)))
    whole = torch.full((len(x),), 32)
    ours = crop_and_resize(x, (*move, whole, whole), torch.zeros(len(x), dtype=torch.bool))
    padded = F.pad(x, (4, 4, 4, 4))
    for i, (down, right) in enumerate((move + 4).T.tolist()):
        assert torch.equal(ours[i], padded[i, :, down:down + 32, right:right + 32])


def test_random_boxes_keep_to_their_ranges():
    from augmentation import random_box
    area, ratio = (0.6, 1.0), (0.8, 1.25)
    top, left, height, width = random_box(20_000, area, ratio, (32, 32), torch.Generator().manual_seed(0))
    for first, size in ((top, height), (left, width)):
        assert first.min() == 0 and (first + size).max() == 32 and torch.equal(first, first.round())
    # sides are whole pixels: half of one either way
    assert ((height + 0.5) * (width + 0.5)).min() >= area[0] * 1024 and ((height - 0.5) * (width - 0.5)).max() <= 1024
    whole = (height == 32) & (width == 32)  # also what is taken where nothing fits
    assert ((width + 0.5) / (height - 0.5))[~whole].min() >= ratio[0]
    assert ((width - 0.5) / (height + 0.5))[~whole].max() <= ratio[1]
    assert 0.6 < (height * width / 1024).mean() < 1 and len(torch.unique(top)) > 5


def test_without_a_box_that_fits_the_whole_image_is_taken():
    from augmentation import random_box
    box = random_box(8, (1.5, 2.0), (1.0, 1.0), (32, 24), torch.Generator().manual_seed(0))
    assert [set(side.tolist()) for side in box] == [{0}, {0}, {32}, {24}]


def erased(x):
    """Top, left, height, width of the boxes (N, 4) of images of zeros; only of those that have one."""
    found = []
    for image in x[x.flatten(1).any(1)]:
        rows, columns = (image[0].any(dim).nonzero()[:, 0] for dim in (1, 0))
        box = rows[0], columns[0], rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
        assert image.count_nonzero() == 3 * box[2] * box[3]
        found.append(box)
    return torch.tensor(found).float()


def test_boxes_are_erased_as_timm_does():
    from augmentation import erase
    images = torch.zeros(8_000, 3, 32, 24)
    ours = erase(images, 0.5, torch.Generator().manual_seed(0))
    theirs = RandomErasing(0.5, mode='pixel', device='cpu')(images.clone())
    for x in (ours, theirs):
        assert abs(len(erased(x)) / len(x) - 0.5) < 0.03
    boxes = [erased(x) for x in (ours, theirs)]
    boxes = [torch.cat([box, box[:, 2:3] * box[:, 3:]], 1) for box in boxes]
    for moment in (1, 2):  # of top, left, height, width and area
        values = [box ** moment for box in boxes]
        error = sum(v.var(0) / len(v) for v in values).sqrt()
        assert ((values[0].mean(0) - values[1].mean(0)).abs() < 4 * error).all()
    assert [box.amin(0).tolist() for box in boxes][0][:2] == [0, 0]
    assert (boxes[0][:, :4].amax(0) <= torch.tensor([31, 23, 31, 23])).all()
    noise = ours[ours != 0]
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert torch.equal(erase(images + 1, 0.0, torch.Generator()), images + 1)


def test_weights_are_averaged_as_timm_does():
    from schedule import Recipe
    from train_on_gpu import average
    recipe = Recipe('cifar100_res2net23', IMAGES)
    v = recipe.values
    model, ours = (torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)) for _ in range(2))
    theirs = ModelEmaV3(model, v['model_ema_decay'], use_warmup=v['model_ema_warmup'])
    for step in range(5):
        model(torch.randn(2, 3, 4, 4))  # moves the statistics
        with torch.no_grad():
            for p in model.parameters():
                p += torch.randn_like(p)
        theirs.update(model, step + 1)  # as train.py counts
        average(ours, model, torch.tensor(recipe.pull(step)))
    for key, value in theirs.module.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)


@pytest.mark.parametrize('name', ['cifar100_evidence', 'cifar100_res2next29', 'cifar100_res2net23'])
def test_learning_rates_are_those_of_timms_schedulers(name):
    from schedule import Recipe
    recipe = Recipe(name, IMAGES)
    v = recipe.values
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], v['lr'])
    given = 'sched', 'warmup_epochs', 'warmup_lr', 'warmup_prefix', 'min_lr', 'decay_milestones', 'decay_rate'
    each_step = v.get('sched_on_updates', False)
    scheduler, epochs = create_scheduler_v2(
        optimizer, num_epochs=v['epochs'], step_on_epochs=not each_step, updates_per_epoch=recipe.steps_per_epoch,
        **{key: v[key] for key in given if key in v})
    assert (recipe.epochs, recipe.steps) == (epochs, epochs * (IMAGES // v['batch_size']))
    seen = set()
    for step in range(recipe.steps):
        if each_step:
            scheduler.step_update(step)
        elif step % recipe.steps_per_epoch == 0:
            scheduler.step(step // recipe.steps_per_epoch)
        theirs = optimizer.param_groups[0]['lr']
        seen.add(theirs)
        assert abs(recipe.learning_rate(step) - theirs) <= 1e-9, step
    assert len(seen) == (recipe.steps if each_step else 3)


def test_what_a_recipe_wants_beyond_is_refused(tmp_path, monkeypatch):
    import schedule
    with pytest.raises(ValueError, match=r'imagenet_res2net50_modern\.yaml: \w+: .* is not done here'):
        schedule.Recipe('imagenet_res2net50_modern', IMAGES)
    text = (schedule.RECIPES / 'cifar100_evidence.yaml').read_text()
    monkeypatch.setattr(schedule, 'RECIPES', tmp_path)
    for line, words in (('mixup: 0.2', 'mixup: 0.2'), ('opt: adamw', 'opt: adamw'), ('min_lr: 0.1', 'min_lr: 0.1'),
                        ('remode: const', 'remode: const')):
        (tmp_path / 'mine.yaml').write_text(f'{text}\n{line}\n')
        with pytest.raises(ValueError, match=f'^mine.yaml: {words} is not done here'):
            schedule.Recipe('mine', IMAGES)


def test_wrong_uses_are_refused_in_one_line(tmp_path, monkeypatch, capsys):
    import train_on_gpu
    (tmp_path / 'data/train').mkdir(parents=True)
    (tmp_path / 'data/test').mkdir()
    wrong = [
        (('none.npz', '--only', 'scale_4'), 'none.npz is not there'),
        (('none',), 'train is not there'),
        (('data', '--only', 'nothing'), '--only nothing: no run has it, there are: scale_1-seed0, '),
        (('data', '--only', '('), '--only ( is no regular expression'),
        (('data', '--epochs', '0'), '--epochs 0 must be at least 1'),
    ]
    if not torch.cuda.is_available():
        wrong.append((('data',), 'torch sees no GPU'))
    for (data, *options), words in wrong:
        monkeypatch.setattr('sys.argv', ['train_on_gpu.py', str(tmp_path / data), str(tmp_path / 'out'), *options])
        with pytest.raises(SystemExit, match='^2$'):
            train_on_gpu.main()
        assert words in capsys.readouterr().err.splitlines()[-1]
        assert not (tmp_path / 'out').exists()
