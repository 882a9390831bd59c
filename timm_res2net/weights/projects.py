"""The projects that `save_as` writes for: the networks that their code has, and how their files are made.

A project's file tells depth and widths, never the form of a block: its code has one. What another network would be
there than here is refused before anything is written.
"""
import pickle
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Tuple

import torch

from ..model.dla import Res2NetDla
from ..model.networks import LAYERS, Res2Net
from .layouts import detectron2, holocron, mindcv, mmdetection, mmpretrain, official, paddleclas, paddledetection
from .layouts.layout import State
from .mindspore import dump_mindspore


@dataclass(frozen=True)
class Need:
    """What an argument must be.

    Attributes:
        holds: Whether a value is that.
        words: The same, for the message.
    """
    holds: Callable[[Any], bool]
    words: str


def only(*values: Any) -> Need:
    """One of these."""
    return Need(lambda value: value in values, ' or '.join(map(repr, values)))


def depth(*names: int) -> Need:
    """The blocks of one of these networks."""
    return Need(lambda value: value in [LAYERS[n] for n in names], f'those of depth {", ".join(map(str, names))}')


Form = Dict[str, Need]  # argument -> what it must be
_MORE_THAN_1 = Need(lambda value: value > 1, 'more than 1')
_WHOLE = Need(lambda value: float(value).is_integer(), 'a whole number')
_SOME = Need(lambda value: value > 0, 'at least 1')
_COMMON: Form = dict(
    attn_layer=only(None), stride_position=only('split'), global_pool=only('avg'), output_stride=only(32))
_RESNET: Form = dict(
    _COMMON, channels=only((64, 128, 256, 512)), act_layer=only('relu'), norm_layer=only('batchnorm2d'),
    aa_layer=only(None), replace_stem_pool=only(False), down_kernel_size=only(1))
_PLAIN_STEM: Form = dict(stem_type=only(''))
_DEEP_STEM: Form = dict(stem_type=only('deep'), stem_width=only(32))
_V1: Form = dict(_PLAIN_STEM, avg_down=only(False))
_V1B: Form = dict(_DEEP_STEM, avg_down=only(True))
_AUTHORS: Form = dict(_RESNET, first_block=only('parallel'), num_classes=_SOME)
_OPENMMLAB: Form = dict(_RESNET, layers=depth(50, 101, 152), scale=_MORE_THAN_1, cardinality=only(1))
_PADDLE: Form = dict(_RESNET, first_block=only('paddle'), in_chans=only(3), scale=_MORE_THAN_1, base_width=_WHOLE)
_DLA: Form = dict(
    _COMMON, first_block=only('parallel'), in_chans=only(3), num_classes=_SOME, shortcut_root=only(False),
    levels=only((1, 1, 1, 2, 3, 1)), channels=only((16, 32, 128, 256, 512, 1024)))


def _bare(state: State, said: Dict[str, Any]) -> State:
    return state


def _openmmlab_file(state: State, said: Dict[str, Any]) -> Dict[str, Any]:
    """Beside what theirs hold it says what names do not tell, in the words of timm's checkpoints."""
    return {'meta': {}, 'state_dict': state, **said}


def _detectron2_file(state: State, said: Dict[str, Any]) -> Dict[str, Any]:
    """Matched by the ends of names, so that it goes into any detector."""
    return {'model': state, 'matching_heuristics': True}


def _save_pdparams(state: State, file: BinaryIO) -> None:
    """As paddle.save does: arrays, and a table of Paddle's internal names, which makes them tensors again."""
    odd = next((name for name, value in state.items() if value.dtype == torch.bfloat16), None)
    if odd is not None:
        raise ValueError(f'{odd} is of type bfloat16, which numpy and so .pdparams have not: save model.float().')
    arrays: Dict[str, Any] = {name: value.numpy() for name, value in state.items()}
    pickle.dump({**arrays, 'StructuredToParameterName@@': {name: name for name in arrays}}, file, protocol=4)


def _save_ckpt(state: State, file: BinaryIO) -> None:
    file.write(dump_mindspore(state))


@dataclass(frozen=True)
class Project:
    """What a project's file needs, and how it is made.

    Attributes:
        forms: Class of the network -> the forms that the project's code has.
        from_ours: Renames our weights.
        wrap: Puts them, and what names the variant and its arguments, into what the project's files hold.
        save: Writes that.
        suffix: Of its files.
        drops_head: Its networks are backbones: a classifier is left out.
    """
    forms: Mapping[type, Tuple[Form, ...]]
    from_ours: Callable[[State], State]
    wrap: Callable[[State, Dict[str, Any]], Any] = _bare
    save: Callable[[Any, BinaryIO], None] = torch.save
    suffix: str = '.pth'
    drops_head: bool = False

    def faults(self, kind: type, arguments: Mapping[str, Any]) -> List[str]:
        """What keeps a network from being the nearest one that the project has, in words."""
        found = []
        for form in self.forms.get(kind, ()):
            needs = {name: need for name, need in form.items() if name != 'first_block' or arguments['scale'] > 1}
            if self.drops_head:
                needs.pop('global_pool')
            found.append([f'{name}={arguments[name]!r} must be {need.words}' for name, need in needs.items()
                          if not need.holds(arguments[name])])
        return min(found, key=len, default=[f'it has no {kind.__name__}'])


PROJECTS: Dict[str, Project] = {
    'official': Project({
        Res2Net: (dict(_AUTHORS, **_V1, in_chans=only(3)),
                  dict(_AUTHORS, **_V1B, in_chans=only(3), cardinality=only(1))),
        Res2NetDla: (_DLA,),
    }, official.from_ours),
    'mmpretrain': Project({
        Res2Net: (dict(_OPENMMLAB, **_PLAIN_STEM, first_block=only('parallel')),
                  dict(_OPENMMLAB, **_DEEP_STEM, first_block=only('parallel'))),
    }, mmpretrain.from_ours, _openmmlab_file),
    'mmdetection': Project({
        Res2Net: (dict(_OPENMMLAB, **_V1B, first_block=only('strided_pool')),),
    }, mmdetection.from_ours, _openmmlab_file, drops_head=True),
    'detectron2': Project({
        Res2Net: ({**_RESNET, **_V1B, 'layers': depth(50, 101, 152), 'base_width': _WHOLE,
                   'first_block': only('strided_pool'), 'stride_position': only('conv1')},),
    }, detectron2.from_ours, _detectron2_file, drops_head=True),
    'PaddleClas': Project({
        Res2Net: (dict(_PADDLE, **_V1, cardinality=only(1), num_classes=_SOME, layers=depth(50, 101, 152)),
                  dict(_PADDLE, **_V1B, cardinality=only(1), num_classes=_SOME, layers=depth(50, 101, 152, 200))),
    }, paddleclas.from_ours, save=_save_pdparams, suffix='.pdparams'),
    'PaddleDetection': Project({
        Res2Net: (dict(_PADDLE, **_PLAIN_STEM, avg_down=only(False), layers=depth(50, 101, 152, 200)),
                  dict(_PADDLE, **_DEEP_STEM, avg_down=only(False), layers=depth(50, 101, 152, 200))),
    }, paddledetection.from_ours, save=_save_pdparams, suffix='.pdparams', drops_head=True),
    'Holocron': Project({
        Res2Net: (dict(_AUTHORS, **_PLAIN_STEM), dict(_AUTHORS, **_DEEP_STEM)),
    }, holocron.from_ours),
    'mindcv': Project({
        Res2Net: (dict(_AUTHORS, **_V1, cardinality=only(1)), dict(_AUTHORS, **_V1B, cardinality=only(1))),
    }, mindcv.from_ours, save=_save_ckpt, suffix='.ckpt'),
}
