"""Write scikit-learn's 1,797 handwritten digits as a folder of images: `python scripts/write_digits.py FOLDER`.

A small real data set to try fine-tuning on: FOLDER/train and FOLDER/test (every fifth image) with one folder per class,
as timm's train.py reads it. PNG, grey, 32 x 32.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def write_digits(folder: Path) -> None:
    """Write the images; the folder must not exist yet."""
    from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)
    folder.mkdir(parents=True)
    for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / ('train' if i % 5 else 'test') / str(label) / f'{i:04d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.uint8(np.round(pixels.reshape(8, 8) * 255 / 16))
        Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC).save(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    args = parser.parse_args()
    try:
        write_digits(args.folder)
    except ImportError:
        print('the digits come with scikit-learn: pip install scikit-learn', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{args.folder}: 1437 images in train, 360 in test')
    return 0


if __name__ == '__main__':
    sys.exit(main())
