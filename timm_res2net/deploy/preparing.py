"""A model made ready for export: the graph that is written, what it is run on, and what it has to compute."""
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Dict, Optional

import torch
from torch import nn

from ..model.arguments import check_int
from ..model.data_cfg import class_names
from ..model.fold import copied, fold_norms
from ..version import __version__
from .preprocessing import Images, Preprocessed, data_config, has_photographs, made_pixels, normalise, read_pixels
from .writers import WRITERS


@dataclass(frozen=True)
class Job:
    """What is to be written, and how it is checked.

    Attributes:
        graph: The network as its file holds it: folded, channels last, on the CPU.
        inputs: (N, ...) Check images as the file takes them, to calibrate on too.
        expected: (N, classes) What the model itself computes from these images, float32.
        metadata: What travels in the file, as plain JSON.
        made_up: The images were made here, for want of photographs.
    """
    format: str
    precision: str
    graph: nn.Module
    inputs: torch.Tensor
    expected: torch.Tensor
    metadata: Dict[str, Any]
    made_up: bool


def prepare(
        model: Any,
        format: str,
        precision: str,
        batch_size: Optional[int],
        image_size: Optional[int],
        dynamic_size: bool,
        pixels_in: bool,
        images: Images,
        calibration: int,
) -> Job:
    """Arguments as of `export`, checked."""
    writer = WRITERS[format]
    config = data_config(model, image_size)
    made_up = images is None and precision != 'int8' and not has_photographs()  # to calibrate on, they must be real
    count = count_images(precision, calibration)
    pixels = made_pixels(config, count) if made_up else read_pixels(images, config, count)
    expected = _outputs(model, pixels, config)
    _check_outputs(model, expected)
    if precision == 'int8' and not tells_apart(expected):
        raise ValueError(
            f'The model answers all {len(expected)} images alike, and int8 is calibrated on them: give several that '
            'differ, such as the model will see.')
    graph: nn.Module = _inference_copy(model).to(memory_format=torch.channels_last)
    if precision == 'bf16' and not writer.casts:
        graph = Float32(graph, torch.bfloat16)
    if pixels_in:
        graph = Preprocessed(graph, config)
    b = writer.batch_size if batch_size is None else batch_size
    c, *size = config['input_size']
    h, w = (None, None) if dynamic_size else size
    return Job(
        format=format,
        precision=precision,
        graph=graph.eval(),
        inputs=pixels.permute(0, 2, 3, 1).contiguous() if pixels_in else normalise(pixels, config),
        expected=expected,
        metadata={
            'timm_res2net': __version__,
            'architecture': (getattr(model, 'pretrained_cfg', None) or {}).get('architecture'),
            'format': format,
            'precision': precision,
            'input': 'pixels' if pixels_in else 'normalised',
            'shape': [b, h, w, c] if pixels_in else [b, c, h, w],
            'data_config': config,
            'num_classes': int(model.num_classes or 0),
            'label_names': class_names(model),
        },
        made_up=made_up,
    )


def tells_apart(outputs: torch.Tensor) -> float:
    """Root mean square of what differs between the outputs (N, ...) of images; 0 where none does, beyond rounding."""
    apart = (outputs - outputs.mean(0)).square().mean().sqrt().item()
    return apart if apart > 1e-6 * outputs.abs().max().clamp(min=1e-12).item() else 0.


def count_images(precision: str, calibration: int) -> int:
    """How many images an export looks at, at most."""
    return max(calibration, 32) if precision == 'int8' else 32


def _outputs(model: nn.Module, pixels: torch.Tensor, config: Dict[str, Any]) -> torch.Tensor:
    """What the model computes where it is, in float32."""
    weight = next(model.parameters())
    plain = model if weight.dtype == torch.float32 else copied(model).float()
    outputs = []
    for p in pixels.split(8):
        try:
            y: Any = plain(normalise(p.to(weight.device), config))
        except Exception as error:
            reason = ' '.join(str(error).split())[:200]
            raise ValueError(
                f'The model itself fails for check images of shape {tuple(p.shape)}, {type(error).__name__}: '
                f'{reason}') from error
        if not isinstance(y, torch.Tensor) or not y.is_floating_point() or y.ndim < 2 or len(y) != len(p):
            what = f'{y.dtype} of shape {tuple(y.shape)}' if isinstance(y, torch.Tensor) else type(y).__name__
            raise TypeError(f'The model gives {what}, it must give one tensor of floats, (B, classes) say.')
        outputs.append(y.cpu().float())
    return torch.cat(outputs)


def _check_outputs(model: Any, outputs: torch.Tensor) -> None:
    """Refuse a model with which no file could agree, or of which its file would say wrong things."""
    broken = int((~outputs.isfinite()).flatten(1).any(1).sum())
    if broken:
        raise ValueError(
            f'The model itself gives NaN or inf for {broken} of {len(outputs)} check images: its weights are broken, '
            'or the images none of its kind.')
    if model.num_classes is not None:
        check_int('model.num_classes', model.num_classes, 0)
    if model.num_classes and outputs.shape[1:] != (model.num_classes,):
        raise ValueError(
            f'The model gives outputs of shape {(None, *outputs.shape[1:])} and has num_classes={model.num_classes}: '
            'set model.num_classes to what it gives, 0 for features, or change classifiers by reset_classifier().')


def _inference_copy(model: nn.Module) -> Any:
    """The model folded, or as it is if it has norms that do not fold, in float32 on the CPU."""
    model = copied(model).cpu().float().requires_grad_(False)  # before norms are folded, for precision
    with suppress(ValueError):  # after which it is as it was
        fold_norms(model)
    return model


class Float32(nn.Module):
    """A model of another dtype with float32 input and output."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model.to(dtype)
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x.to(self.dtype)).float()
