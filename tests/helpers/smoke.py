"""What a new user does first, with the package and what it requires alone: run by .ci/run on the installed wheel."""
import sys
import tempfile
from pathlib import Path

import timm
import timm.data
import torch
from PIL import Image

import timm_res2net

CHECKOUT = Path(__file__).resolve().parents[2]


def main():
    where = Path(timm_res2net.__file__).resolve()
    assert CHECKOUT not in where.parents, f'{where} is the checkout, not the installed package'
    assert timm.create_model('res2net50_26w_4s_custom', num_classes=10)(torch.zeros(2, 3, 64, 64)).shape == (2, 10)

    model = timm.create_model('res2net23_32w_4s_cifar_custom', pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    x = transform(Image.new('RGB', (48, 48), (40, 90, 200)))[None]
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        y = model(x)
        timm_res2net.save_folder(model, f'{folder}/saved')
        again = timm.create_model(f'local-dir:{folder}/saved', pretrained=True).eval()
        assert torch.equal(again(x), y)
        fast = timm_res2net.deploy.prepack(model)
        torch.testing.assert_close(fast(x), y, rtol=1e-3, atol=1e-3)
    print(f'timm-res2net {timm_res2net.__version__}: blue is a {model.pretrained_cfg["label_names"][y.argmax()]}')


if __name__ == '__main__':
    sys.exit(main())
