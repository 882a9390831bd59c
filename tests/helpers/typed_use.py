"""The public API as a type checker sees it; read by mypy in test_typing.py, never run."""
from pathlib import Path
from typing import Dict, List, Optional

import timm
import torch
from typing_extensions import assert_type

import timm_res2net
from timm_res2net import deploy, insight

model = timm.create_model('res2net50_26w_4s_custom')
assert_type(timm_res2net.load_checkpoint('weights.pth', variant='res2net50_26w_4s_custom', scale=8), torch.nn.Module)
assert_type(timm_res2net.inspect_checkpoint(Path('weights.pth')), timm_res2net.CheckpointInfo)
assert_type(timm_res2net.inspect_checkpoint('weights.pth').num_parameters, int)
assert_type(timm_res2net.to_timm(model), Dict[str, torch.Tensor])
assert_type(timm_res2net.timm_architecture(model), Optional[str])
assert_type(timm_res2net.save_folder(model, 'folder', label_names=['cat', 'dog']), Path)
assert_type(timm_res2net.from_hub('USER/NAME', revision='main', num_classes=10), torch.nn.Module)
assert_type(timm_res2net.push_to_hub(model, 'USER/NAME', private=True).commit_url, str)
assert_type(deploy.prepack(model, torch.bfloat16), torch.nn.Module)
assert_type(deploy.fold(model), torch.nn.Module)
assert_type(deploy.load('model.pt2')(torch.zeros(1, 3, 224, 224)), torch.Tensor)
assert_type(insight.receptive_fields(model), List[insight.Layer])
assert_type(insight.class_activation_maps(model, torch.zeros(1, 3, 224, 224)), torch.Tensor)
assert_type(timm_res2net.Res2Net(layers=[3, 4, 6, 3], attn_layer='se', device='meta'), timm_res2net.Res2Net)
timm_res2net.Res2NetCifar(channels=(16, 32, 64), act_layer=torch.nn.SiLU, dtype=torch.bfloat16)
timm_res2net.Res2NetDla(levels=(1, 1, 1, 1, 1, 1), base_width=14.5)

# mistakes that a type checker must find: each of these lines is an error
timm_res2net.load_checkpoint(3)  # error
timm_res2net.push_to_hub(model)  # error
timm_res2net.push_to_hub(model, 'USER/NAME', licence='mit')  # error
timm_res2net.from_hub('USER/NAME', revision=3)  # error
timm_res2net.save_folder('model', 'folder')  # error
timm_res2net.Res2Net.Arguments(scale='4')  # error
timm_res2net.Res2Net(scale='4')  # error
timm_res2net.Res2Net(scal=4)  # error
timm_res2net.Res2NetCifar(depth=50)  # error
timm_res2net.Res2NetDla(levels=3)  # error
timm_res2net.HierarchicalSplit()  # error
deploy.prepack('model')  # error
