"""The page's list of bad input and faults, line by line: what it says comes, comes."""
import copy
import re
import signal
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import test_bad_input
import test_deploy
import test_faults
import test_guest
import test_odd_models
import test_paths
import test_processes
import test_threads
import test_transforms
import test_workers
import test_writers
import torch
import torch._inductor.config
from deploying import SIZE, images, make
from PIL import Image
from torch import nn

import timm_res2net
from timm_res2net import deploy

PAGE = Path(timm_res2net.__file__).parent / 'docs/deployment.md'
LIST = PAGE.read_text(encoding='utf-8').partition('## What comes of bad input and faults\n')[2].partition('\n## ')[0]
ROWS = dict(re.findall(r'^\| (?!what \|)(?!---)(.+?) \| (.+) \|$', LIST, re.M))
ERROR = re.compile(r'^`(\w*Error|KeyboardInterrupt)`(?:: (.+))?$')  # and words of its message
X = torch.zeros(1, 3, SIZE, SIZE)


@pytest.fixture(scope='module')
def file(exported):
    """A function that calls the file of the small network, for inputs (B, 3, 64, 64); nobody closes it."""
    return deploy.load(exported('torch').path)


@pytest.fixture
def export(network, tmp_path):
    """A function that exports it, or another model, with other arguments, to a folder of this test."""
    def run(model=network, name='m.pt2', format='torch', **kwargs):
        kwargs = {'image_size': SIZE, 'images': images(4), **kwargs}
        return deploy.export(model, tmp_path / name, format, **kwargs)
    return run


def written(path, *what):
    """A .pt2 archive with one entry."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(*what)
    return path


def by_hand(change):
    model = make()
    change(model)
    return model


def without_engine(load, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    (tmp_path / 'a.onnx').touch()
    load(tmp_path / 'a.onnx')


def compiled_by(name, export):
    with torch._inductor.config.patch({'cpp.cxx': (name,)}):
        export(format='aotinductor')


def branching(model):
    whole = model.forward
    model.forward = lambda x: whole(x) if x.mean() > 0 else -whole(x)


def interrupted(export, interruptible):
    export(progress=lambda line: signal.raise_signal(signal.SIGINT) if line.startswith('running the file') else None)


def closed(loaded):
    loaded.close()
    return loaded


def taken(path):
    path.write_text('mine')
    return path


# what is done in each line; the arguments are fixtures
DONE = {
    'an array of numpy': lambda file: file(X.numpy()),
    'a list': lambda file: file(X.tolist()),
    'a picture of Pillow': lambda file: file(Image.new('RGB', (SIZE, SIZE))),
    'a sparse tensor': lambda file: file(X.to_sparse()),
    'float64, float16, int64, bool, complex': [
        lambda file, dtype=dtype: file(X.to(dtype))
        for dtype in (torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64)],
    'bytes, where the graph has no preprocessing': lambda file: file(X.byte()),
    'one image that is no batch': lambda file: file(X[0]),
    'other channels': [lambda file: file(X[:, :1]), lambda file: file(X.permute(0, 2, 3, 1))],
    'another size than the file is for': lambda file: file(X[..., 1:]),
    'a tensor on another device': lambda file: file(X.to('meta')),
    'a tensor without numbers of its own: fake, not initialised, of a class that computes for itself': (
        lambda file: file(nn.UninitializedParameter())),
    '`vmap`, `grad` and other transforms of a file': lambda file: torch.vmap(file)(X[None]),
    'a call that torch.jit traces': lambda file: torch.jit.trace(lambda x: file(x), X),
    'a call after `close()`': lambda exported: closed(deploy.load(exported('torch').path))(X),
    'copying or pickling what is loaded': lambda file: copy.deepcopy(file),
    'a model in training mode': lambda export: export(make().train()),
    'a part of it in training mode': lambda export: export(by_hand(lambda m: m.layer4.train())),
    'a model on the device meta': lambda export: export(make().to('meta')),
    'NaN in the weights': lambda export: export(by_hand(lambda m: m.fc.weight.data.fill_(torch.nan))),
    'a name or a loaded file in place of a model': [
        lambda export: export('res2net50_26w_4s_custom'), lambda export, file: export(file)],
    'a scripted model': lambda export: export(torch.jit.trace(make(), X)),
    'an average of weights around a model (EMA, SWA)': lambda export: export(
        torch.optim.swa_utils.AveragedModel(make()).eval()),
    'a model that holds what cannot be copied, a lock say': lambda export: export(
        by_hand(lambda m: setattr(m, 'lock', threading.Lock()))),
    'a model whose way depends on the numbers of its input': lambda export: export(by_hand(branching)),
    'a model that fails for the check images': lambda export: export(
        by_hand(lambda m: setattr(m, 'fc', nn.Linear(3, 8)))),
    'a model that gives several outputs, or no floats': lambda export: export(
        by_hand(lambda m: setattr(m, 'fc', nn.LSTM(m.num_features, 8)))),
    '`prepack` of what is prepacked': lambda: deploy.prepack(deploy.prepack(make())),
    'features_only=True': lambda export: export(make(features_only=True)),
    'a classifier replaced by hand': lambda export: export(
        by_hand(lambda m: setattr(m, 'fc', nn.Linear(m.num_features, 3)))),
    'another number of channels for `HierarchicalSplit`': lambda: timm_res2net.HierarchicalSplit(4)(X),
    'a suffix of no format': lambda export: export(name='m.pth', format=None),
    'a suffix of another format': lambda export: export(format='onnx'),
    'bf16 for ONNX Runtime': lambda export: export(name='m.onnx', format=None, precision='bf16'),
    'any size for AOTInductor': lambda export: export(format=None, dynamic_size=True),
    'batch_size=0': lambda export: export(batch_size=0),
    "image_size='64'": lambda export: export(image_size='64'),
    'workers=0 or -1': [lambda exported, n=n: deploy.load(exported('torch').path, n) for n in (0, -1)],
    "workers='2'": lambda exported: deploy.load(exported('torch').path, '2'),
    'threads=0': lambda export: export(format=None, threads=0),
    'threads=2 for another format than AOTInductor': lambda export: export(threads=2),
    'a folder without images': lambda export, tmp_path: export(images=tmp_path),
    'images of another size, type or kind': [
        lambda export, x=x: export(images=x) for x in (images(2)[..., 1:], images(2).float(), np.zeros((2, 3, 8, 8)))],
    'a path that exists, if only as a link to nowhere': lambda export, tmp_path: export(
        name=taken(tmp_path / 'm.pt2').name),
    'a path below `~`': lambda: deploy.export(make(), '~/m.pt2'),
    'too long a name': lambda export: export(name=f'{"x" * 300}.pt2'),
    "`pixels_in='no'` and such": lambda export: export(pixels_in='no'),
    'a folder in place of the file': lambda export, tmp_path: ((tmp_path / 'm.pt2').mkdir(), export()),
    'a path that another process has written meanwhile': lambda export, tmp_path: export(
        progress=lambda line: line.startswith('running the file') and taken(tmp_path / 'm.pt2')),
    'an engine that is not installed': lambda tmp_path, monkeypatch: without_engine(deploy.load, tmp_path, monkeypatch),
    'no C++ compiler, or one that is none': [
        lambda export, n=n: compiled_by(n, export) for n in ('/nowhere/c++', 'true')],
    'Ctrl-C, after which the disk is as it was': interrupted,
    'no such file': lambda tmp_path: deploy.load(tmp_path / 'm.pt2'),
    'a part of a file, or something else': lambda tmp_path: deploy.load(taken(tmp_path / 'm.pt2')),
    'a file that was not written by `export`': lambda tmp_path: deploy.load(written(tmp_path / 'm.pt2', 'a', 'b')),
}
# what takes longer, or is no error, and is tried for every format
ELSEWHERE = {
    'NaN or inf in an image': test_bad_input.test_a_broken_image_gives_nan_and_its_neighbours_their_answers,
    'numbers beyond 1e30 in an image': test_bad_input.test_enormous_numbers_give_nan_and_nothing_is_said,
    'an empty batch': test_bad_input.test_an_empty_batch_gives_an_empty_answer,
    'floats, where it has (`pixels_in=True`)': test_bad_input.test_pixels_in,
    'a tensor that requires gradients': test_bad_input.test_taken_as_they_are,
    'other strides: channels last, a part, expanded': test_bad_input.test_taken_as_they_are,
    'a call under autocast or inference mode': (
        test_bad_input.test_a_file_computes_what_was_measured_under_autocast_too),
    'a call from another thread': test_workers.test_four_threads_get_the_answers_of_one,
    'a call in a process forked since, of what torch runs or with streams of OpenVINO (`workers=N`)': (
        test_workers.test_a_forked_process_without_torchs_threads_is_refused_and_does_not_hang),
    'a bit of a file that is another': test_faults.test_a_bit_that_is_another,
    'int8 calibrated on images that are all alike, or on one': (
        test_deploy.test_int8_is_not_calibrated_on_images_that_are_alike),
    'a worker that was killed': test_workers.test_a_process_that_dies_is_named_and_replaced,
    'a process that has closed stderr or stdin, `workers=N`': (
        test_processes.test_workers_of_a_process_with_closed_streams),
    'a file of AOTInductor loaded where another number of threads computes': (
        test_threads.test_a_file_for_other_threads_is_told),
    'a user without home and name, as in a container': test_processes.test_export_by_a_user_without_home_and_name,
    'more workers than the system has open files for': test_processes.test_more_workers_than_open_files,
    'a worker that was killed, and the file replaced since': (
        test_workers.test_a_process_is_not_replaced_by_one_of_another_file),
    'a model in half precision': test_deploy.test_models_of_other_kinds,
    'the same of `prepack`, derivatives forward, gradients of weights, `functional_call`': (
        test_transforms.test_prepacked_gives_derivatives_forward),
    'weights that are computed: pruned, parametrized': test_odd_models.test_weights_that_are_computed_are_not_folded,
    'a link in place of the file, with `overwrite=True`': (
        test_paths.test_a_link_is_replaced_and_not_what_it_leads_to),
    'a folder for temporary files that is not there, for AOTInductor': (
        test_paths.test_a_folder_for_temporary_files_that_is_not_there),
    'an `.xml` with the `.bin` of another export': test_paths.test_weights_of_another_export_are_refused,
    'norms that cannot be folded': test_deploy.test_norms_that_do_not_fold_are_exported_as_they_are,
    "int8 for torch's own formats, with torch 2.6": test_deploy.test_int8_with_the_oldest_torch_is_refused,
    'a folder for temporary files with spaces, or from which nothing may be run': (
        test_writers.test_a_compiler_is_not_given_a_folder_from_which_nothing_may_be_run),
    'exports and loads of several threads at once': test_guest.test_exports_of_several_threads,
    'a full disk': test_faults.test_a_full_disk,
    'a read-only folder': test_faults.test_a_read_only_folder,
    'a file that does not agree with its model': test_deploy.test_a_file_that_disagrees_is_not_left,
    'an `.xml` without its `.bin`': test_faults.test_half_of_openvino,
    'a file of another version of this package': test_faults.test_metadata_of_another_version,
    'a file of another torch that does not load': test_faults.test_a_file_of_another_torch_is_named,
    'code for another CPU': test_faults.test_code_for_another_cpu_is_not_run,
    'a file that one may not read': test_faults.test_a_file_that_one_may_not_read,
}
CASES = [(what, one) for what, done in DONE.items() for one in (done if isinstance(done, list) else [done])]


def test_every_line_of_the_page_is_tried():
    assert len(ROWS) >= 40 and set(ROWS) == {*DONE, *ELSEWHERE}


@pytest.mark.parametrize('what, done', CASES, ids=[f'{what} {i}' for i, (what, _) in enumerate(CASES)])
def test_what_the_page_says_comes(what, done, request, tmp_path):
    names = [n for n in done.__code__.co_varnames[:done.__code__.co_argcount] if n not in ('dtype', 'n', 'x')]
    fixtures = {name: request.getfixturevalue(name) for name in names}
    error, words = ERROR.match(ROWS[what]).groups()
    with pytest.raises(BaseException) as caught:
        done(**fixtures)
    assert error in [kind.__name__ for kind in type(caught.value).__mro__], repr(caught.value)
    message = str(caught.value)
    assert (words or '').lower() in message.lower() and '\n' not in message and len(message) < 500
    if 'export' in names:
        assert [p.read_text() for p in tmp_path.iterdir() if p.is_file()] in ([], ['mine'])


def test_what_is_no_error_of_the_page_is_none():
    """Lines without an error are of the tests that compare answers."""
    assert {what for what, comes in ROWS.items() if not ERROR.match(comes)} <= set(ELSEWHERE)
