"""The page's tables of what int8 converts, counted in the graph that is compiled; and who does it, in the code."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from deploying import need

import timm_res2net
from timm_res2net.deploy.workers import environment
from timm_res2net.deploy.writers import _quantized, write_aotinductor
from timm_res2net.model.fold import fold

PAGE = Path(timm_res2net.__file__).parent / 'docs/deployment.md'
SECTION = PAGE.read_text(encoding='utf-8').partition('## What int8 converts\n')[2].partition('\n## ')[0]
NETWORKS = ('res2net50_26w_4s_custom', 'res2net23_32w_4s_cifar_custom')  # the last columns
NAMES = [pytest.param(NETWORKS[0], marks=pytest.mark.slow), NETWORKS[1]]
POOLS = ('max_pool2d', 'adaptive_avg_pool2d', 'flatten')
TO_UINT8 = {  # what gives it, in the graph -> the page
    'placeholder': 'the image', 'relu_': 'what convolutions give', 'conv2d': 'what convolutions give',
    'getitem': 'a group of the split', 'add': 'a group plus the answer before', 'cat': 'the concatenation',
    **dict.fromkeys(POOLS, 'what pools and flattening give')}
TO_FLOAT = {  # what takes it
    'conv2d': 'for a convolution', 'linear': 'for the classifier', 'add_': 'a shortcut, to be added',
    **dict.fromkeys(POOLS, 'for pools and flattening')}


def on_the_page(column):
    """{what: (how often, thousands of numbers)}"""
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in SECTION.splitlines() if line.startswith('| ')]
    cells = {row[0]: re.fullmatch(r'(\d+) \((\d+\.\d) k\)', row[-2 + column]) for row in rows}
    return {what: (int(cell[1]), cell[2]) for what, cell in cells.items() if cell}


def written(name):
    """What a writer of int8 gets for an image of a network: the network folded, the image, metadata."""
    need('aotinductor', 'int8')
    torch.manual_seed(0)
    model = timm.create_model(name)
    x = torch.rand(1, *model.pretrained_cfg['input_size'])
    graph = fold(model.eval()).requires_grad_(False).to(memory_format=torch.channels_last)
    return graph, x, {'shape': list(x.shape), 'precision': 'int8'}


def operator(node):
    return node.target.__name__.partition('.')[0] if node.op == 'call_function' else node.op


@pytest.mark.parametrize('name', NAMES)
def test_every_conversion_is_on_the_page(name):
    with torch.no_grad():
        nodes = _quantized(*written(name)).graph.nodes
    found = {}
    for node in nodes:
        match operator(node):
            case 'quantize_per_tensor':
                what = TO_UINT8[operator(node.args[0])]
            case 'dequantize_per_tensor':
                taker, = node.users
                what = TO_FLOAT[operator(taker)]
            case _:
                continue
        found.setdefault(what, []).append(node.meta['val'].numel())
        if what == 'what pools and flattening give':  # with the scale of what they take
            taken, = node.args[0].all_input_nodes
            assert node.args[1:3] == taken.args[1:3]
    assert on_the_page(NETWORKS.index(name)) == {
        what: (len(sizes), f'{sum(sizes) / 1e3:.1f}') for what, sizes in found.items()}


RUN = 'import sys, torch, torch._inductor; torch._inductor.aoti_load_package(sys.argv[1])(torch.load(sys.argv[2]))'


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_who_converts(name, sources, tmp_path):
    """oneDNN tells what its convolutions write; the rest is for the code that inductor has generated."""
    graph, x, metadata = written(name)
    with torch.no_grad():
        write_aotinductor(graph, tmp_path / 'x.pt2', x, metadata)
    kernels = re.search(r'(\d+) and (\d+) generated kernels', ' '.join(SECTION.split()))
    assert len(re.findall(r'^\s*cpp_fused_\w+\(', sources[0], re.M)) == int(kernels[1 + NETWORKS.index(name)])
    torch.save(x, tmp_path / 'x.pt')
    done = subprocess.run(
        [sys.executable, '-c', RUN, tmp_path / 'x.pt2', tmp_path / 'x.pt'], env=environment(ONEDNN_VERBOSE='1'),
        capture_output=True, text=True, check=True)
    convolutions = [line for line in done.stdout.splitlines() if ',exec,cpu,convolution,' in line]
    page = on_the_page(NETWORKS.index(name))
    assert len(convolutions) == page['for a convolution'][0]
    assert all('src:u8:' in c for c in convolutions)
    assert sum('dst:u8:' in c for c in convolutions) == page['what convolutions give'][0]
