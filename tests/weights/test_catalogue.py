"""The weights in the package: what their provenance says is so, and they see what is in real photographs."""
import hashlib
import json
from pathlib import Path

import pytest
import safetensors
import timm
import torch
from PIL import Image
from run_command import here
from timm.data import create_transform, resolve_data_config

import timm_res2net  # noqa: F401  registers the variants
from timm_res2net.deploy.preprocessing import data_config, normalise, read_pixels
from timm_res2net.insight import class_activation_maps, heat_inside
from timm_res2net.weights.catalogue import CATALOGUE, SHIPPED, find_weights, provenance

ROOT = Path(__file__).resolve().parents[2]
NAMES = {'seres2net23_16w_8s_cifar_custom.cifar100': 76, 'res2net23_32w_4s_cifar_custom.cifar100': 74}  # README's
CIFAR100_CLASSES = CATALOGUE[next(iter(NAMES))].label_names


@pytest.fixture(scope='module', params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope='module')
def model(name):
    return timm.create_model(name, pretrained=True).eval()


def test_every_file_has_its_provenance_and_the_other_way_round():
    assert {p.stem for p in SHIPPED.glob('*.safetensors')} == {p.stem for p in SHIPPED.glob('*.json')} == set(NAMES)
    with pytest.raises(FileNotFoundError, match='other.*res2net23'):
        provenance('other')


def test_the_file_is_that_of_the_provenance(name):
    facts, file = provenance(name), SHIPPED / f'{name}.safetensors'
    assert hashlib.sha256(file.read_bytes()).hexdigest() == facts['sha256']
    assert file.stat().st_size == facts['bytes'] <= 8e6


def test_rows_are_found_by_name_and_by_variant():
    for name, row in CATALOGUE.items():
        assert find_weights(name) is row
        default = timm.get_pretrained_cfg(row.variant)
        assert find_weights(row.variant).name == f'{row.variant}.{default.tag}'
    assert find_weights('res2net50_18w_4s_custom') is find_weights('res2net50_26w_4s_custom.in22k') is None


def test_small_and_good(name, model):
    """The promise of the README, 2 M parameters or less; the accuracy is measured by evaluate.py."""
    facts = provenance(name)
    assert sum(p.numel() for p in model.parameters()) == facts['parameters'] <= 2e6
    assert facts['top1'] >= NAMES[name]
    assert f'| {facts["top1"]:.2f} | {facts["top5"]:.2f} |' in (ROOT / 'README.md').read_text(encoding='utf-8')


def test_the_provenance_names_a_recipe_of_this_repository(name):
    facts = provenance(name)
    assert (ROOT / facts['recipe']).is_file()
    assert len(facts['recipe_commit']) == 40


def test_registered_as_pretrained(name, model):
    assert name in timm.list_pretrained('*_custom.*')
    assert timm.create_model(name.split('.')[0], pretrained=True).pretrained_cfg['tag'] == 'cifar100'
    assert model.pretrained_cfg['label_names'] == CIFAR100_CLASSES
    with safetensors.safe_open(SHIPPED / f'{name}.safetensors', 'pt') as file:
        assert torch.equal(file.get_tensor('fc.weight'), model.fc.weight)


def photograph(name):
    from skimage import data
    return Image.fromarray(getattr(data, name)()).convert('RGB')


def predictions(model, *images):
    transform = create_transform(**resolve_data_config({}, model=model))
    with torch.inference_mode():
        top = model(torch.stack([transform(i) for i in images])).topk(5)[1]
    return [[CIFAR100_CLASSES[i] for i in row] for row in top.tolist()]


def test_photographs(model):
    """Bundled photographs whose subject is a class of CIFAR-100."""
    pytest.importorskip('skimage')
    rocket, cup = predictions(model, photograph('rocket'), photograph('coffee'))
    assert rocket[0] == 'rocket'
    assert 'cup' in cup


def test_a_mirrored_photograph_says_the_same(model):
    pytest.importorskip('skimage')
    image = photograph('rocket')
    assert predictions(model, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))[0][0] == 'rocket'


@pytest.mark.parametrize('photo, labels, box, times', [  # labels, times: of either network, in the order of NAMES
    ('rocket', ('rocket', 'rocket'), (.40, .25, .62, .95), (1.4, 2)),
    ('stereo_motorcycle', ('motorcycle', 'motorcycle'), (.02, .15, 1, .9), (1.1, 1.2)),
    ('coffee', ('cup', 'cup'), (.18, .08, .75, .75), (1.1, 1.1)),
    ('astronaut', ('boy', 'woman'), (.3, 0, .7, .45), (2, 2))])  # 'boy' is its answer
def test_the_heat_sits_on_the_object(photo, labels, box, times, name, model):
    """The share of an activation map inside a box drawn by hand, against chance, the box's share of the image."""
    data = pytest.importorskip('skimage').data
    pytest.importorskip('pytorch_grad_cam')
    image = getattr(data, photo)()
    image = Image.fromarray(image[0] if isinstance(image, tuple) else image)
    config = data_config(model)
    x = normalise(read_pixels([image], config, 1), config)
    network = list(NAMES).index(name)
    index = CIFAR100_CLASSES.index(labels[network])
    inside, chance = heat_inside(class_activation_maps(model, x, [index])[0], box)
    assert inside > times[network] * chance
    untrained = timm.create_model(name, num_classes=100).eval()
    other, _ = heat_inside(class_activation_maps(untrained, x, [index])[0], box)
    assert inside > other


def test_features_transfer_to_digits(name):
    """A linear classifier on the frozen features beats one on the same network untrained, by far."""
    sklearn = pytest.importorskip('sklearn')
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[:900] / 8 - 1
    images = torch.nn.functional.interpolate(images, size=32, mode='bicubic').expand(-1, 3, -1, -1)
    accuracy = {}
    for pretrained in (True, False):
        network = timm.create_model(name, pretrained=pretrained, num_classes=0).eval()
        with torch.inference_mode():
            features = torch.cat([network(x) for x in images.split(100)]).numpy()
        features = (features - features[:200].mean(0)) / (features[:200].std(0) + 1e-6)
        classifier = LogisticRegression(max_iter=300).fit(features[:200], labels[:200])
        accuracy[pretrained] = classifier.score(features[200:], labels[200:900])
    assert sklearn and accuracy[True] >= accuracy[False] + 0.2


def test_another_number_of_classes_and_channels(name, model):
    other = timm.create_model(name, pretrained=True, num_classes=10, in_chans=1)
    assert torch.equal(other.layer3[0].conv1.weight, model.layer3[0].conv1.weight)
    assert other.fc.out_features == 10 and other.conv1.in_channels == 1


def test_a_saved_model_keeps_its_labels_and_forgets_where_the_weights_lay(model, tmp_path):
    timm_res2net.save_folder(model, tmp_path / 'out')
    config = json.loads((tmp_path / 'out' / 'config.json').read_text())
    assert config['label_names'] == list(CIFAR100_CLASSES)
    assert str(SHIPPED) not in json.dumps(config)
    x = torch.rand(2, 3, 32, 32)
    again = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True).eval()
    with torch.inference_mode():
        assert torch.equal(again(x), model(x))


def test_classify_without_arguments():
    pytest.importorskip('skimage')
    done = here('classify', '--json')
    assert done.returncode == 0, done.stderr
    results = {r['image']: r['predictions'] for r in json.loads(done.stdout)['results']}
    assert results['rocket'][0]['class'] == 'rocket'
