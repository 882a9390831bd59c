"""A model as a file for one engine: prepared, written, run in that engine, compared with the model, kept if it agrees.

The formats are in `writers.py`.
"""
import errno
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

import torch
from torch import nn

from ..model.arguments import check_bool, check_choice, check_int, check_path
from ..model.fold import check_inference, check_weights
from ..model.scratch import scratch
from ..model.wrappers import unwrapped
from .guest import interruptible, quiet, settings_of_export
from .loaders import load
from .placing import Taken, check_free, disk_is_full, keep
from .preparing import Job, prepare, tells_apart
from .preprocessing import Images
from .writers import FORMATS, WRITERS

PRECISIONS = {'fp32': 1e-4, 'bf16': 5e-2, 'int8': 2e-1}  # largest error allowed, relative to the largest output
NOISE = 0.5  # allowed, see Report: int8 has up to 0.1 on trained weights and photographs


class ExportError(RuntimeError):
    """An export that does not compute what the model computes, or that the engine or the disk cannot take."""


@dataclass
class Report:
    """What `export` wrote and saw.

    Attributes:
        error: Largest absolute difference to the model's outputs over the check images, relative to the largest output.
        noise: Root mean square of the difference, relative to that of what tells the images' outputs apart. 1 is that
            of an output that does not depend on the image. None for a single image, or for images that are all alike.
        top1_agreement: Share of check images with the model's top-1 class, None without a classifier.
        images: Number of check images.
        made_up: They were made here, since none were given and scikit-image is not installed.
        bytes: Size of the file or files.
        seconds: Time to export and check.
    """
    path: str
    format: str
    precision: str
    error: float
    noise: Optional[float]
    top1_agreement: Optional[float]
    images: int
    made_up: bool
    bytes: int
    seconds: float

    def __str__(self) -> str:
        agreement = '' if self.top1_agreement is None else f', top-1 agreement {self.top1_agreement:.1%}'
        return (
            f'{self.path}: {self.format} {self.precision}, {self.bytes / 1e6:.1f} MB, {self.seconds:.0f} s; on '
            f'{self.images} images{" made up here (scikit-image is not installed)" if self.made_up else ""} error '
            f'{self.error:.1e} of the largest output{agreement}')


def export(
        model: nn.Module,
        path: Union[str, Path],
        format: Optional[str] = None,
        precision: str = 'fp32',
        *,
        batch_size: Optional[int] = None,
        image_size: Optional[int] = None,
        dynamic_size: bool = False,
        pixels_in: bool = False,
        images: Images = None,
        calibration: int = 128,
        threads: Optional[int] = None,
        overwrite: bool = False,
        progress: Callable[[str], object] = lambda line: None,
) -> Report:
    """Export a model for CPU inference, run the file in its engine on real images and compare with the model.

    Preprocessing and label names travel in the file; `load(path)` gives them back with a callable. What the process has
    set for gradients, autocast, inference mode, the default dtype and determinism makes no difference, and stays.

    Args:
        model: One of this package in eval mode, possibly compiled; it is not changed.
        path: File to write, with the suffix that `FORMATS` gives the format; OpenVINO adds a `.bin`.
        format: One of `FORMATS`; None for what the suffix says, of `.pt2` 'aotinductor'.
        precision: 'fp32', 'bf16' or 'int8' (weights and activations, calibrated on `images`).
        batch_size: Fixed batch size. None is any for 'torch', 'onnx' and 'openvino', and 1 for 'aotinductor', whose
            code for one shape is faster than for any; `load` serves batches of every size in all cases.
        image_size: Height and width, the model's own by default.
        dynamic_size: Any height and width, not with 'aotinductor'. A file of 'torch' refuses the smallest, of which
            maps of one pixel are left, and says where it begins.
        pixels_in: The graph takes uint8 RGB pixels (B, H, W, C) and normalises them itself.
        images: Folder of images, list of them or uint8 tensor (N, C, H, W), to calibrate on and to check with; None
            for the photographs bundled with scikit-image, without which all but int8 is checked on made-up ones.
        calibration: Most images to calibrate on.
        threads: Of 'aotinductor', with how many a call will run, since weights are laid out for their number; None for
            as many as torch has here. For `load(path, workers=N)` that is the share of one of N.
        overwrite: Replace a file that exists.
        progress: Is told in a few words what is being done.

    Raises:
        ExportError: The file did not agree with the model, or engine or disk failed; the disk is as it was.
        FileExistsError: `path` exists, and `overwrite` is not set or it is a folder.
        ImportError: The engine or the quantizer is not installed.
        TypeError, ValueError: An argument is wrong, named in the message.
    """
    start = time.time()
    model, path = unwrapped(model), check_path('path', path)
    format = format_of(path) if format is None else format
    check_target(path, format, precision, batch_size, image_size, dynamic_size, calibration, overwrite, threads)
    pixels_in = check_bool('pixels_in', pixels_in)
    _check_model(model)
    with quiet, settings_of_export(
            next(model.parameters()).device.type, threads or torch.get_num_threads()):
        with interruptible():
            progress('running the model')
            job = prepare(
                model, format, precision, batch_size, image_size, dynamic_size, pixels_in, images, calibration)
        try:
            with scratch(path) as folder:
                new = folder / path.name
                with interruptible():
                    progress(f'writing {format} {precision}')
                    WRITERS[format].write(job.graph, new, job.inputs[:calibration], job.metadata)
                    progress('running the file')
                    agreement = _compare(job, load(new)(job.inputs))
                size = keep(WRITERS[format].files(new), WRITERS[format].files(path), overwrite)
        except (ImportError, ExportError, Taken):
            raise
        except Exception as error:
            raise ExportError(f'{format} {precision}: {_reason(error, path).rstrip(".")}. No file is left.') from error
    return Report(
        str(path), format, precision, **agreement, made_up=job.made_up, bytes=size, seconds=time.time() - start)


def format_of(path: Path) -> str:
    """The format that a suffix stands for.

    Raises:
        ValueError: It stands for none.
    """
    for format, suffix in FORMATS.items():
        if suffix == path.suffix:
            return format
    raise ValueError(f"path={str(path)!r} must end in one of {', '.join(dict.fromkeys(FORMATS.values()))}.")


def _reason(error: Exception, path: Path) -> str:
    """The error in one line, with what to do about it."""
    if isinstance(error, OSError) and error.strerror and error.errno != errno.ENOSPC:
        return f'{error.filename or path}: {error.strerror}: choose another folder.'
    ours, temporary = path.absolute().parent, Path(tempfile.gettempdir())
    if disk_is_full(ours):
        return f'the disk of {ours} is full: free some space, or choose another folder.'
    if disk_is_full(temporary) or 'No space left' in str(error):
        return (
            f'the disk of {ours} or that of {temporary}, where engines work, is full: free some space, choose another '
            'folder, or name one with room in TMPDIR.')
    if 'data-dependent' in str(error):
        return 'the way through the model depends on the numbers of its input, a file holds one: take out the branch.'
    said = re.split(r'\n *Output:\n', str(error))[-1]  # by a compiler, after its command
    return f'{type(error).__name__}: {" ".join(said.split())[:300]}'


def check_target(
        path: Path,
        format: str,
        precision: str,
        batch_size: Optional[int] = None,
        image_size: Optional[int] = None,
        dynamic_size: bool = False,
        calibration: int = 128,
        overwrite: bool = False,
        threads: Optional[int] = None,
) -> None:
    """Refuse at once what `export` could not do with any model, with its errors."""
    check_choice('format', format, tuple(FORMATS))
    check_choice('precision', precision, tuple(PRECISIONS))
    check_int('calibration', calibration)
    check_bool('dynamic_size', dynamic_size)
    check_bool('overwrite', overwrite)
    if path.suffix != FORMATS[format]:
        raise ValueError(f"path={str(path)!r} must end in {FORMATS[format]!r} for format={format!r}.")
    for argument in (f'precision={precision!r}', f'dynamic_size={bool(dynamic_size)}'):
        if argument in WRITERS[format].refuses:
            raise ValueError(f'{argument}: {WRITERS[format].refuses[argument]}')
    if threads is not None:
        check_int('threads', threads)
        if not WRITERS[format].compiles:
            raise ValueError(f"threads={threads}: only 'aotinductor' has code for a number of threads, leave it out.")
    _check_path(path, format, overwrite)
    if batch_size is not None:
        check_int('batch_size', batch_size)
    if image_size is not None:
        check_int('image_size', image_size)
    with quiet:
        WRITERS[format].check_installed(precision)


def _check_path(path: Path, format: str, overwrite: bool) -> None:
    first = path.parts[0]
    if first.startswith('~') and len(path.parts) > 1 and not Path(first).exists():
        raise ValueError(f'path={str(path)!r} has a {first} that only a shell expands: use Path(...).expanduser().')
    for file in WRITERS[format].files(path):
        try:
            folder = file.is_dir()
        except OSError as error:  # too long, say
            raise ValueError(f'path={str(path)[:99]!r}..: {error.strerror}, choose another path.') from error
        if folder:
            raise FileExistsError(f'{file} is a folder; choose another path.')
        check_free(file, overwrite)


def _check_model(model: nn.Module) -> None:
    check_inference(model)
    check_weights(model.state_dict())
    if not hasattr(model, 'num_classes') or next(model.parameters(), None) is None:
        inside = isinstance(getattr(model, 'module', None), nn.Module)  # of an average of weights, say
        raise TypeError(
            f'{type(model).__name__} is no network of timm_res2net or timm with one output (features_only=True gives '
            f'several): export {"its module" if inside else "the whole model"}.')


def _compare(job: Job, outputs: torch.Tensor) -> Dict[str, Any]:
    """How well the outputs of a file agree with the model's, see `Report`.

    Raises:
        ExportError: Too badly.
    """
    expected = job.expected
    difference, largest = outputs - expected, expected.abs().max().clamp(min=1e-12)
    error = (difference.abs().max() / largest).item()
    apart = tells_apart(expected)
    noise = difference.square().mean().sqrt().item() / apart if apart else None
    same = (outputs.argmax(1) == expected.argmax(1)).float().mean().item() if job.metadata['num_classes'] else None
    if not (error <= PRECISIONS[job.precision] and (noise or 0) <= NOISE):
        raise ExportError(
            f'{job.format} {job.precision} differs from the model by {error:.1e} of its largest output, allowed is '
            f'{PRECISIONS[job.precision]:.0e}, and by {noise or 0:.2f} of what tells the outputs of the images apart, '
            f'allowed is {NOISE} (images that are all alike, or weights that were not trained?); top-1 agreement '
            f'{same}. No file is left.')
    return {'error': error, 'noise': noise, 'top1_agreement': same, 'images': len(expected)}
