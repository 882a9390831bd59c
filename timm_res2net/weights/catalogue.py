"""The table of weights: name.tag -> where they are, how good they are, whose they are. A row a set of weights.

The first row of a variant is its default. Accuracies are in percent of ImageNet's validation images, one crop of the
input's size, as published in timm's results (results/results-imagenet.csv of its repository) or by PaddleClas, or as
measured here for the weights that ship: beside each `shipped/NAME.TAG.safetensors` lies a `NAME.TAG.json` with recipe,
date, measured accuracy and sha256, both written by `scripts/ship_weights.py`.
"""
import fnmatch
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

SHIPPED = Path(__file__).resolve().parent / 'shipped'


@dataclass(frozen=True)
class Weights:
    """A row.

    Attributes:
        name: NAME.TAG, a registered variant and what its weights were trained on.
        hf_hub_id: Repository on the Hugging Face Hub, '' if they are not there.
        url: Address of the file, '' if they are not published as one.
        file: File in the package, '' if they do not ship.
        sha256: Of the file, '' where the publisher gives none.
        top1, top5: Accuracy in percent on the data set's validation images, None if not published.
        tolerance: Points by which a measurement here may differ from them. 0.01 where images were read and resized as
            timm does it; PaddleClas does it by OpenCV, and gives some numbers to one decimal.
        dataset: What they were trained and measured on.
        license: Its id on the Hub.
        source: Where weights and accuracy come from, in words.
        num_classes: Classes, None for as many as the variant has.
        data: Preprocessing where it differs from the variant's, as in timm's cfgs.
        label_names: Names of the classes, None for ImageNet's.
    """
    name: str
    hf_hub_id: str = ''
    url: str = ''
    file: str = ''
    sha256: str = ''
    top1: Optional[float] = None
    top5: Optional[float] = None
    tolerance: float = 0.01
    dataset: str = 'imagenet-1k'
    license: str = 'apache-2.0'
    source: str = ''
    num_classes: Optional[int] = None
    data: Dict[str, Any] = field(default_factory=dict)
    label_names: Optional[List[str]] = None

    @property
    def variant(self) -> str:
        """The registered variant."""
        return self.name.partition('.')[0]

    @property
    def where(self) -> str:
        """Where they are, in words."""
        return self.hf_hub_id or self.url or 'ships with the package'


def _timm(name: str, top1: float, top5: float, license: str = 'cc-by-nc-sa-4.0', **kwargs: Any) -> Weights:
    """Weights that timm has on the Hub under its own name; those of Res2Net are the authors', under their license."""
    return Weights(
        name, hf_hub_id=f'timm/{name.replace("_custom", "")}', top1=top1, top5=top5, license=license,
        **{'source': "the authors' repository, by way of timm", **kwargs})


def _paddleclas(name: str, file: str, top1: float, top5: float, source: str = 'PaddleClas') -> Weights:
    """Weights that PaddleClas publishes for its own form of the networks, under its license, without a sha256."""
    url = f'https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/{file}_pretrained.pdparams'
    return Weights(name, url=url, top1=top1, top5=top5, tolerance=0.3, source=source)


def provenance(name: str) -> Dict[str, Any]:
    """How the shipped weights of `NAME.TAG` were made: recipe, versions, date, top-1 and top-5 in percent, sha256.

    Raises:
        FileNotFoundError: No weights of that name ship with the package.
    """
    path = SHIPPED / f'{name}.json'
    if not path.is_file():
        there = ', '.join(sorted(p.stem for p in SHIPPED.glob('*.json')))
        raise FileNotFoundError(f'No weights named {name!r} ship with timm_res2net, there are: {there}.')
    return json.loads(path.read_text(encoding='utf-8'))


def _shipped(name: str, dataset: str) -> Weights:
    """Weights of this package, as their provenance describes them; class names lie beside them."""
    made = provenance(name)
    names = (SHIPPED / f'{dataset}_classes.txt').read_text(encoding='utf-8').split()
    return Weights(
        name, file=str(SHIPPED / f'{name}.safetensors'), sha256=made['sha256'], top1=made['top1'], top5=made['top5'],
        dataset=dataset, source='trained for timm-res2net, see the file beside them', label_names=names)


_SSLD = 'PaddleClas, trained by distillation (SSLD)'

CATALOGUE: Dict[str, Weights] = {weights.name: weights for weights in (
    _timm('res2net50_26w_4s_custom.in1k', 77.99, 93.86),
    _timm('res2net50_48w_2s_custom.in1k', 77.53, 93.56),
    _timm('res2net50_14w_8s_custom.in1k', 78.14, 93.85),
    _timm('res2net50_26w_6s_custom.in1k', 78.59, 94.12),
    _timm('res2net50_26w_8s_custom.in1k', 78.95, 94.28),
    _timm('res2net101_26w_4s_custom.in1k', 79.19, 94.47),
    _timm('res2net50d_custom.in1k', 80.28, 95.03),
    _timm('res2net101d_custom.in1k', 81.24, 95.35),
    _timm('res2next50_custom.in1k', 78.24, 93.90),
    _timm('dla60_res2net_custom.in1k', 78.48, 94.20),
    _timm('dla60_res2next_custom.in1k', 78.49, 94.14),
    _paddleclas('res2net50_26w_4s_paddle_custom.in1k', 'Res2Net50_26w_4s', 79.33, 94.57),
    _paddleclas('res2net50_14w_8s_paddle_custom.in1k', 'Res2Net50_14w_8s', 79.46, 94.70),
    _paddleclas('res2net50_vd_26w_4s_custom.ssld_in1k', 'Res2Net50_vd_26w_4s_ssld', 83.1, 96.6, _SSLD),
    _paddleclas('res2net50_vd_26w_4s_custom.in1k', 'Res2Net50_vd_26w_4s', 79.75, 94.91),
    _paddleclas('res2net101_vd_26w_4s_custom.ssld_in1k', 'Res2Net101_vd_26w_4s_ssld', 83.9, 97.1, _SSLD),
    _paddleclas('res2net101_vd_26w_4s_custom.in1k', 'Res2Net101_vd_26w_4s', 80.64, 95.22),
    _paddleclas('res2net200_vd_26w_4s_custom.ssld_in1k', 'Res2Net200_vd_26w_4s_ssld', 85.13, 97.42, _SSLD),
    _paddleclas('res2net200_vd_26w_4s_custom.in1k', 'Res2Net200_vd_26w_4s', 81.21, 95.71),
    _timm('resnet50_custom.a1_in1k', 80.38, 94.60, license='apache-2.0', source='timm, "ResNet strikes back"',
          data=dict(interpolation='bicubic', crop_pct=0.95)),
    _shipped('res2net23_32w_4s_cifar_custom.cifar100', 'cifar100'),
    _shipped('seres2net23_16w_8s_cifar_custom.cifar100', 'cifar100'),
)}


def list_pretrained(pattern: str = '*') -> List[Weights]:
    """All weights that `timm.create_model(NAME.TAG, pretrained=True)` loads, in the order of the table.

    Args:
        pattern: Names to list, as a glob ('*50*', '*.cifar100').
    """
    return [weights for name, weights in CATALOGUE.items() if fnmatch.fnmatchcase(name, pattern)]


def find_weights(name: str) -> Optional[Weights]:
    """The row of NAME.TAG, or the default of the variant NAME; None if there is none."""
    return next((row for row in CATALOGUE.values() if name in (row.name, row.variant)), None)
