"""`timm-res2net evaluate`."""
import functools
import json
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from run_command import BOTH_WAYS, command, here
from timm.data import create_dataset, create_loader, create_transform, resolve_data_config
from training_checkpoint import trained

import timm_res2net
from timm_res2net import deploy
from timm_res2net.commands.evaluate import calibration_error
from timm_res2net.commands.evaluate import evaluate as measure
from timm_res2net.model.variants import VARIANTS
from timm_res2net.weights.catalogue import CATALOGUE

evaluate = functools.partial(here, 'evaluate')


def test_evaluate_says_what_data_it_needs(tmp_path):
    weights, _ = timm_res2net.list_pretrained('*.cifar100')
    classes = weights.label_names
    model = timm.create_model('test_res2net_custom', num_classes=100)
    model.pretrained_cfg['label_names'] = classes
    timm_res2net.save_folder(model, tmp_path / 'model')
    name = f'local-dir:{tmp_path / "model"}'
    done = evaluate(tmp_path, '--model', name)
    assert done.returncode == 2 and 'there is no folder' in done.stderr
    for folder in [*classes[:-1], 'wrong']:
        (tmp_path / 'test' / folder).mkdir(parents=True)
    image = Image.new('RGB', (8, 8))
    image.save(tmp_path / 'test' / 'apple' / 'a.png')
    done = evaluate(tmp_path, '--model', name)  # timm numbers the folders that hold images
    assert done.returncode == 2 and '1 folders of images' in done.stderr
    for folder in (tmp_path / 'test').iterdir():
        image.save(folder / 'a.png')
    done = evaluate(tmp_path, '--model', name)
    assert done.returncode == 2 and "'worm'" in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_evaluate_measures(tmp_path):
    """One picture for each of twenty classes, of a model, of its folder and of two exported files."""
    model = timm.create_model('test_res2net_custom', num_classes=20).eval()
    timm_res2net.save_folder(model, tmp_path / 'model')
    transform = create_transform(**resolve_data_config({}, model=model))
    generator = torch.Generator().manual_seed(0)
    right = torch.zeros(2)
    for i in range(20):
        (tmp_path / 'test' / f'{i:02d}').mkdir(parents=True)
        pixels = (torch.rand(160, 160, 3, generator=generator) * 255).byte()
        image = Image.fromarray(pixels.numpy())
        image.save(tmp_path / 'test' / f'{i:02d}' / 'image.png')
        with torch.inference_mode():
            top = model(transform(image)[None])[0].topk(5)[1].tolist()
        right += torch.tensor([top[0] == i, i in top])
    assert right[1] > 0
    images = torch.zeros(2, 3, 160, 160, dtype=torch.uint8)
    deploy.export(model, tmp_path / 'model.pt2', 'torch', images=images)
    deploy.export(model, tmp_path / 'pixels.pt2', 'torch', images=images, pixels_in=True)
    for name in (f'local-dir:{tmp_path / "model"}', tmp_path / 'model.pt2', tmp_path / 'pixels.pt2'):
        done = evaluate(tmp_path, '--model', name, '--json')
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer['top1'], answer['top5'], answer['images']) == (*(5 * right).tolist(), 20)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return timm.create_model('test_res2net_custom', num_classes=3).eval()


@pytest.fixture
def data(tmp_path):
    """Four noisy pictures for each of three classes."""
    generator = np.random.default_rng(0)
    for label in 'abc':
        (tmp_path / 'data/test' / label).mkdir(parents=True)
        for i in range(4):
            coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            coarse.resize((60, 50)).save(tmp_path / f'data/test/{label}/{i}.png')
    return tmp_path / 'data'


def test_it_is_what_timms_own_loader_gives(model, data):
    """For PNG of 8 bits, which timm reads as they are."""
    config = resolve_data_config({}, model=model)
    loader = create_loader(
        create_dataset('', root=str(data), split='test'), batch_size=5, use_prefetcher=False, num_workers=0,
        persistent_workers=False, **config)
    with torch.inference_mode():
        sure, right = map(torch.cat, zip(*((model(x).softmax(1).amax(1), model(x).argmax(1) == y) for x, y in loader)))
    top1 = right.double().mean().item()
    assert sure.min() > 5 / 15 and sure.max() <= 6 / 15  # one bin: three classes, and a network that knows nothing
    result = measure(model, data, workers=0)
    error = pytest.approx(100 * abs(top1 - sure.double().mean().item()), abs=1e-3)
    assert result == {
        'top1': round(100 * top1, 4), 'top5': 100, 'calibration_error': error, 'images': 12, 'failures': []}


@pytest.mark.parametrize('confidence, right, error', [
    ([0.8] * 10, [1] * 6 + [0] * 4, 0.2),                        # says 0.8, is right in 0.6
    ([0.8] * 5 + [0.4] * 5, [1] * 4 + [0] + [1] * 2 + [0] * 3, 0),  # both as they say
    ([0.9, 0.9, 0.5, 0.5], [0, 0, 1, 1], 0.7),                   # too sure and not sure enough do not cancel
    ([0.61, 0.65], [0, 1], 0.13),                                # but do within a bin, 0.6 to 0.667
    ([1 / 15, 1.0], [0, 1], 1 / 30),                             # the ends belong to the bins below them
    ([float('nan'), 0.5], [0, 1], None)])
def test_calibration_error(confidence, right, error):
    found = calibration_error(torch.tensor(confidence, dtype=torch.float64), torch.tensor(right))
    assert found == (error if error is None else pytest.approx(error, abs=1e-9))


def test_pictures_are_read_as_classify_reads_them(model, data, tmp_path):
    """Of 16 bits, and turned by EXIF: the answers are those for the upright picture of 8 bits."""
    expected = measure(model, data, workers=0)
    exif = Image.Exif()
    exif[0x0112] = 8
    for path in (data / 'test').rglob('*.png'):
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_270).save(path, exif=exif)
    assert measure(model, data, workers=0) == expected
    grey = timm.create_model('test_res2net_custom', num_classes=3, in_chans=1).eval()
    answers = []
    for deep in (False, True):
        for path in (data / 'test').rglob('*.png'):
            with Image.open(path) as image:
                levels = np.asarray(image.convert('L')) if not deep else np.asarray(image).astype(np.uint16) * 257
                Image.fromarray(levels).save(path)
        answers.append(measure(grey, data, workers=0))
    assert answers[0] == answers[1]


@pytest.mark.parametrize('workers', [0, 2])
def test_unreadable_images_are_named_and_left_out(workers, model, data, tmp_path):
    timm_res2net.save_folder(model, tmp_path / 'model')
    whole = measure(model, data, workers=0)
    for name in ('a/x.png', 'c/y.jpg'):
        (data / 'test' / name).write_bytes(b'no picture')
    done = evaluate(data, '--model', f'local-dir:{tmp_path}/model', '--batch-size', 3, '--workers', workers, '--json')
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer['top1'], answer['images']) == (whole['top1'], 12)
    assert [f['image'][-7:] for f in answer['failures']] == ['a/x.png', 'c/y.jpg']
    assert 'a/x.png cannot be read' in done.stderr and 'c/y.jpg cannot be read' in done.stderr
    assert '2 images could not be read' in done.stderr
    for path in (data / 'test').rglob('*.*'):
        path.write_bytes(b'no picture')
    done = evaluate(data, '--model', f'local-dir:{tmp_path}/model')
    assert done.returncode == 2 and 'none of its 14 images' in done.stderr and not done.stdout


OWN = """
from timm_res2net import Variant, Weights, Res2Net, register_variant
arguments = dict(
    layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8, num_classes=3)
register_variant('evaluate_mine', Variant(Res2Net, arguments, 'mine', dict(input_size=(3, 160, 160))), [
    Weights('evaluate_mine.noise', file='model/model.safetensors', top1=TOP1, top5=100., tolerance=WITHIN,
            dataset='noise')])
"""


@pytest.fixture
def forgotten(monkeypatch):
    """What --import registers goes again."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    yield
    VARIANTS.pop('evaluate_mine', None)
    CATALOGUE.pop('evaluate_mine.noise', None)
    sys.modules.pop('evaluate_mine_of_the_test', None)


@BOTH_WAYS
@pytest.mark.parametrize('name, off, within, words', [
    ('evaluate_mine.noise', 0.2, 0.3, 'the same'), ('evaluate_mine', 0.02, 0.01, 'NOT the same')])
def test_what_was_published_is_said_beside(name, off, within, words, run, model, data, tmp_path, forgotten):
    """Of NAME.TAG and of NAME, whose default it is; another accuracy is exit code 1."""
    timm_res2net.save_folder(model, tmp_path / 'model')
    result = measure(model, data, workers=0)
    text = OWN.replace('TOP1', str(result['top1'] + off)).replace('WITHIN', str(within))
    (tmp_path / 'evaluate_mine_of_the_test.py').write_text(text)
    done = run('evaluate', 'data', '--model', name, '--workers', 0, '--import', 'evaluate_mine_of_the_test',
               cwd=tmp_path)
    assert done.returncode == (off > within) and not done.stderr, done.stderr
    measured, published = done.stdout.splitlines()
    assert measured == (f'{name}: top-1 {result["top1"]:.2f}, top-5 100.00, expected calibration error '
                        f'{result["calibration_error"]:.2f}, of 12 images')
    assert published == (f'evaluate_mine.noise as published, on noise: top-1 {result["top1"] + off:.2f}, top-5 100.00: '
                         f'{words} (within {within} points)')


def test_a_training_that_numbered_its_classes_by_a_file(model, data, tmp_path):
    """Not in the order of folders: by --class-map, found where train.py ran, and without it refused."""
    names = tmp_path / 'names.txt'
    names.write_text('a\nb\nc\n')
    last = trained(tmp_path / 'output/mapped', model, 'test_res2net_custom', num_classes=3, class_map='map.txt',
                   output='output', experiment='mapped')
    done = evaluate(data, '--model', last)
    assert done.returncode == 2 and 'which were numbered by --class-map map.txt' in done.stderr and not done.stdout
    assert evaluate(data, '--model', last, '--class-names', names).returncode == 0
    (tmp_path / 'map.txt').write_text('c\na\nb\n')
    done = evaluate(data, '--model', last, '--json')
    assert done.returncode == 0 and f'class names are those of {tmp_path}/map.txt' in done.stderr, done.stderr
    rolled = timm.create_model('test_res2net_custom', num_classes=3).eval()
    rolled.load_state_dict(model.state_dict())
    for v in rolled.fc.parameters():
        v.data = v.data[[1, 2, 0]]
    assert json.loads(done.stdout)['top1'] == measure(rolled, data)['top1']


def test_refused_at_the_start(data, tmp_path):
    (tmp_path / 'm.onnx').touch()
    for args, words in (
            (['--batch-size', 0], '--batch-size 0'), (['--workers', -1], '--workers -1'),
            (['--device', 'nonsense'], '--device nonsense'), (['--split', 'val'], 'there is no folder'),
            (['--model', tmp_path / 'm.onnx', '--device', 'cuda'], 'exported files run on the CPU'),
            (['--model', 'nowhere.pth'], 'no such file'), (['--class-names', 'nowhere.txt'], 'nowhere.txt')):
        done = evaluate(data, *args)
        assert done.returncode == 2 and words in done.stderr and not done.stdout and done.stderr.count('\n') == 1


def test_class_names_say_the_order(model, data, tmp_path):
    timm_res2net.save_folder(model, tmp_path / 'model')
    (tmp_path / 'names.txt').write_text('a\nc\nb\n')
    done = evaluate(data, '--model', f'local-dir:{tmp_path}/model', '--class-names', tmp_path / 'names.txt')
    assert done.returncode == 0 and 'numbered by the names of the classes' in done.stderr, done.stderr
    with pytest.MonkeyPatch.context() as patch:  # the classifier in the order of the folders has the same accuracy
        patch.chdir(tmp_path)
        named = measure(timm.create_model('local-dir:model', pretrained=True).eval(), data)
        permuted = timm.create_model('local-dir:model', pretrained=True).eval()
        for v in permuted.fc.parameters():
            v.data = v.data[[0, 2, 1]]
        permuted.pretrained_cfg['label_names'] = ['a', 'c', 'b']
        assert measure(permuted, data)['top1'] == named['top1']
    (tmp_path / 'names.txt').write_text('a\nb\nd\n')
    done = evaluate(data, '--model', f'local-dir:{tmp_path}/model', '--class-names', tmp_path / 'names.txt')
    assert done.returncode == 2 and "the folder 'c' is where the model has the class 'd'" in done.stderr
    (tmp_path / 'names.txt').write_text('a\nb\nc\n')
    done = command(
        'evaluate', 'data', '--model', 'local-dir:model', '--class-names', 'names.txt', '--json', cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)['images'] == 12, done.stderr
