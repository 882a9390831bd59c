"""Weights that come with the package: where they are, what their classes are called, how they were made.

Beside each `weights/NAME.TAG.safetensors` lies a `NAME.TAG.json` with recipe, date, measured accuracy and sha256,
both written by `scripts/ship_weights.py`.
"""
import json
from pathlib import Path
from typing import Any, Dict

WEIGHTS = Path(__file__).resolve().parent / 'weights'

# CIFAR-100's classes in their usual, alphabetical order
CIFAR100_CLASSES = (
    'apple', 'aquarium_fish', 'baby', 'bear', 'beaver', 'bed', 'bee', 'beetle', 'bicycle', 'bottle', 'bowl', 'boy',
    'bridge', 'bus', 'butterfly', 'camel', 'can', 'castle', 'caterpillar', 'cattle', 'chair', 'chimpanzee', 'clock',
    'cloud', 'cockroach', 'couch', 'crab', 'crocodile', 'cup', 'dinosaur', 'dolphin', 'elephant', 'flatfish', 'forest',
    'fox', 'girl', 'hamster', 'house', 'kangaroo', 'keyboard', 'lamp', 'lawn_mower', 'leopard', 'lion', 'lizard',
    'lobster', 'man', 'maple_tree', 'motorcycle', 'mountain', 'mouse', 'mushroom', 'oak_tree', 'orange', 'orchid',
    'otter', 'palm_tree', 'pear', 'pickup_truck', 'pine_tree', 'plain', 'plate', 'poppy', 'porcupine', 'possum',
    'rabbit', 'raccoon', 'ray', 'road', 'rocket', 'rose', 'sea', 'seal', 'shark', 'shrew', 'skunk', 'skyscraper',
    'snail', 'snake', 'spider', 'squirrel', 'streetcar', 'sunflower', 'sweet_pepper', 'table', 'tank', 'telephone',
    'television', 'tiger', 'tractor', 'train', 'trout', 'tulip', 'turtle', 'wardrobe', 'whale', 'willow_tree', 'wolf',
    'woman', 'worm',
)


def weights_file(name: str) -> str:
    """Path of the shipped weights of a registered name with its tag, `NAME.TAG`."""
    return str(WEIGHTS / f'{name}.safetensors')


def provenance(name: str) -> Dict[str, Any]:
    """How the shipped weights of `NAME.TAG` were made: recipe, versions, date, top-1 and top-5 in percent, sha256.

    Raises:
        FileNotFoundError: No weights of that name ship with the package.
    """
    path = WEIGHTS / f'{name}.json'
    if not path.is_file():
        there = ', '.join(sorted(p.stem for p in WEIGHTS.glob('*.json')))
        raise FileNotFoundError(f'No weights named {name!r} ship with timm_res2net, there are: {there}.')
    return json.loads(path.read_text(encoding='utf-8'))
