"""What test_ecosystem.py does with a Hub, in a process of its own: see hub_client.py."""
import sys

from hub_client import main, make

NAMES = [f'class {i}' for i in range(7)]


def image():
    import numpy as np
    from PIL import Image
    return Image.fromarray(np.arange(64 * 64 * 3, dtype='uint32').astype('uint8').reshape(64, 64, 3))


def push():
    """Our way: push, and classify with plain timm."""
    import timm
    import torch

    from timm_res2net import push_to_hub
    model = make(1, scale=8, base_width=14, num_classes=7)
    push_to_hub(model, 'alice/pipeline', label_names=NAMES)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        best = model(transform(image())[None]).softmax(-1).max(-1)
    return [NAMES[best.indices.item()], round(best.values.item(), 4)]


def pull():
    """transformers' way: one call on the repository's name."""
    from transformers import pipeline
    best = pipeline('image-classification', 'alice/pipeline')(image())[0]
    return [best['label'], round(best['score'], 4)]


if __name__ == '__main__':
    sys.exit(main(globals()))
