"""Faults of disk, machine and file: one clear error that says what to do, the disk as it was, the process alive."""
import errno
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from deploying import CASES, SIZE, images, need

from timm_res2net import deploy
from timm_res2net.deploy import engines, guest, loaders, placing, preparing, preprocessing, writers
from timm_res2net.model.scratch import scratch

FORMATS = ['torch', *(pytest.param(f, marks=pytest.mark.slow) for f in deploy.FORMATS if f != 'torch')]
FILES = [('torch', 'fp32'), ('openvino', 'fp32'), *(
    pytest.param(*case, marks=pytest.mark.slow) for case in CASES if case not in {
        ('torch', 'fp32'), ('openvino', 'fp32')})]


@pytest.fixture
def small_disk(mounted):
    """A file system with room for a part of any of the files."""
    return mounted('disk', 'size=200k')


def export(network, path, *args, **kwargs):
    return deploy.export(network, path, *args, image_size=SIZE, images=images(4), **kwargs)


@pytest.mark.parametrize('format', FORMATS)
def test_a_full_disk(format, network, small_disk):
    need(format)
    with pytest.raises(deploy.ExportError, match=r'the disk of .* is full: free some space, or choose another folder'):
        export(network, small_disk / f'new/model{deploy.FORMATS[format]}', format)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize('format', FORMATS)
def test_a_read_only_folder(format, network, small_disk):
    need(format)
    (small_disk / 'model.old').write_text('mine')
    subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)
    for folder in (small_disk, small_disk / 'new'):
        with pytest.raises(deploy.ExportError, match=r'Read-only file system: choose another folder'):
            export(network, folder / f'model{deploy.FORMATS[format]}', format)
    assert [p.name for p in small_disk.iterdir()] == ['model.old']


def test_a_file_where_a_folder_should_be(network, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(deploy.ExportError, match='choose another folder'):
        export(network, tmp_path / 'file/model.pt2', 'torch')
    assert [p.name for p in tmp_path.iterdir()] == ['file']


INTERRUPTED = '''
import os, signal, sys, torch
from deploying import SIZE, images, make
from timm_res2net import deploy
path, format = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has ignored of what it starts with &
torch.manual_seed(0)
model = make()
try:
    deploy.export(model, path, format, image_size=SIZE, images=images(4), overwrite=True,
                  progress=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print('alive', model(torch.zeros(1, 3, SIZE, SIZE)).shape)
'''


@pytest.mark.parametrize('step', ['writing', 'running the file'])
@pytest.mark.parametrize('format', FORMATS)
def test_ctrl_c(format, step, tmp_path):
    """What was there before is there still, and no more; torch has a folder of its own for what it compiled."""
    need(format)
    (tmp_path / 'tmp').mkdir()
    files = writers.WRITERS[format].files(tmp_path / 'out/model.x')
    files[0].parent.mkdir()
    for file in files:
        file.write_text('before')
    folders = [str(Path(__file__).parent.parent / 'helpers'), *filter(None, sys.path)]
    process = subprocess.Popen(
        [sys.executable, '-c', INTERRUPTED, files[0], format], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(folders), 'TMPDIR': str(tmp_path / 'tmp')})
    assert any(line.startswith(step) for line in iter(process.stdout.readline, '')), process.stderr.read()
    if step == 'writing':
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert out.splitlines()[-1] == 'alive torch.Size([1, 8])' and 'Traceback' not in err, err
    assert {p.name: p.read_text() for p in files[0].parent.iterdir()} == {p.name: 'before' for p in files}
    assert not [p.name for p in (tmp_path / 'tmp').iterdir() if not p.name.startswith('torchinductor_')]


@pytest.mark.parametrize('failing', [1, 2, 3, 4])
def test_two_files_are_replaced_together(failing, tmp_path, monkeypatch):
    """Each file is set aside and its successor moved there: stopped at any of the four moves, the old pair stays."""
    (tmp_path / 'scratch').mkdir()
    new, old = ([folder / f'm{suffix}' for suffix in ('.xml', '.bin')] for folder in (tmp_path / 'scratch', tmp_path))
    for files, text in ((new, 'new'), (old, 'old')):
        for file in files:
            file.write_text(text)
    moves, move = [], os.replace

    def interrupted(*args):
        moves.append(args)
        if len(moves) == failing:
            raise KeyboardInterrupt
        move(*args)
    monkeypatch.setattr(placing.os, 'replace', interrupted)
    with pytest.raises(KeyboardInterrupt):
        placing.keep(new, old)
    assert [file.read_text() for file in old] == ['old', 'old']


@pytest.mark.parametrize('name', ['old.onnx', 'old', 'full.onnx', 'model.onnx'])
def test_a_file_is_replaced_whatever_its_name(name, tmp_path):
    (tmp_path / name).write_text('old')
    with scratch(tmp_path / name) as beside:
        (beside / name).write_text('new')
        placing.keep([beside / name], [tmp_path / name])
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: 'new'}


def test_half_a_pair_is_not_kept(tmp_path):
    (tmp_path / 'm.xml').write_text('new')
    targets = [tmp_path / 'kept/m.xml', tmp_path / 'kept/m.bin']
    targets[0].parent.mkdir()
    targets[1].write_text('mine')
    with pytest.raises(OSError):
        placing.keep([tmp_path / 'm.xml', tmp_path / 'missing.bin'], targets)
    assert not targets[0].exists() and targets[1].read_text() == 'mine'


def test_what_was_written_meanwhile_stays(network, tmp_path):
    """By another export to the same path, or by anybody."""
    path = tmp_path / 'model.pt2'

    def progress(line):
        if line.startswith('running the file'):
            path.write_text('theirs')
    with pytest.raises(FileExistsError, match=r'model\.pt2 exists already; choose another path or overwrite=True'):
        export(network, path, 'torch', progress=progress)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {'model.pt2': 'theirs'}
    export(network, path, 'torch', progress=progress, overwrite=True)
    assert deploy.load(path).metadata['format'] == 'torch'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_pairs_of_several_processes_are_not_mixed(tmp_path):
    """Each replaces both files many times, and in the end they are of one of them."""
    names, children = ('m.xml', 'm.bin'), []
    for who in 'abc':
        scratch = tmp_path / who
        scratch.mkdir()
        children.append(os.fork())
        if not children[-1]:
            for i in range(200):
                for name in names:
                    (scratch / name).write_text(f'{who} {i}')
                placing.keep([scratch / name for name in names], [tmp_path / name for name in names])
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert (tmp_path / 'm.xml').read_text() == (tmp_path / 'm.bin').read_text()


def test_ctrl_c_is_not_lost_in_a_callback(capfd, interruptible):
    """Python drops what is raised while it clears up after objects; torch makes many such calls when it traces."""
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
    before, hook, done = signal.getsignal(signal.SIGINT), sys.unraisablehook, []
    for error in (None, ValueError('what torch made of it')):
        with pytest.raises(KeyboardInterrupt), guest.interruptible():
            Dying()
            done.append(error)
            if error:
                raise error
    assert len(done) == 2 and capfd.readouterr() == ('', '')
    assert signal.getsignal(signal.SIGINT) is before and sys.unraisablehook is hook
    with pytest.raises(ValueError, match='its own'), guest.interruptible():
        raise ValueError('its own')


def test_handlers_of_the_callers_own_are_asked(monkeypatch):
    """Of which one that returns lets the export go on."""
    heard, before = [], signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        with guest.interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]


# files that are none ----------------------------------------------------------------------------------------------


def copied(report, folder):
    """A copy of the file or files of an export, to be damaged."""
    for file in writers.WRITERS[report.format].files(Path(report.path)):
        shutil.copy(file, folder)
    return folder / Path(report.path).name


@pytest.mark.parametrize('share', [0, 0.5, 0.99])
@pytest.mark.parametrize('format, precision', FILES)
def test_truncated(format, precision, share, exported, tmp_path):
    path = copied(exported(format, precision), tmp_path)
    whole = {file: file.read_bytes() for file in writers.WRITERS[format].files(path)}
    for file, data in whole.items():
        file.write_bytes(data[:int(share * len(data))])
        with pytest.raises(ValueError, match=path.name) as caught:
            deploy.load(path)
        assert '\n' not in str(caught.value) and len(str(caught.value)) < 500
        file.write_bytes(data)
    deploy.load(path)


@pytest.mark.parametrize('format, precision', FILES)
def test_a_bit_that_is_another(format, precision, exported, tmp_path):
    """Engines run such files, and answer something else."""
    path = copied(exported(format, precision), tmp_path)
    x = torch.randn(2, 3, SIZE, SIZE)
    y, refused, generator = deploy.load(path)(x), 0, random.Random(0)
    for file in writers.WRITERS[format].files(path):
        whole = file.read_bytes()
        for _ in range(8):
            place = generator.randrange(len(whole))
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1:])
            try:
                assert torch.equal(deploy.load(path)(x), y)  # between the parts of an archive, say
            except ValueError as error:
                assert path.name in str(error) and '\n' not in str(error)
                refused += 1
        file.write_bytes(whole)
    assert refused >= 6 and torch.equal(deploy.load(path)(x), y)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='where a file in use cannot be removed')
@pytest.mark.parametrize('workers', [None, 1])
def test_what_torch_unpacks_is_not_left_by_a_process_that_is_killed(workers, exported, tmp_path):
    code = ('import os, signal, sys, torch; from timm_res2net import deploy\n'
            'file = deploy.load(sys.argv[1], workers=int(sys.argv[2]) or None); file(torch.zeros(1, 3, 64, 64))\n'
            'os.kill(os.getpid(), signal.SIGKILL)')
    done = subprocess.run(
        [sys.executable, '-c', code, exported('aotinductor').path, str(workers or 0)],
        env={**os.environ, 'TMPDIR': str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not [file for file in tmp_path.rglob('*') if file.suffix in ('.so', '.cpp', '.o')]


CUT_SHORT = """
import os, sys, torch
from timm_res2net import deploy
loaded, x = deploy.load(sys.argv[1]), torch.ones(2, 3, 64, 64)
y = loaded(x)
for file in sys.argv[1:]:
    os.truncate(file, 0)
assert torch.equal(loaded(x), y)
"""


@pytest.mark.parametrize('format', FORMATS)
def test_a_file_that_is_cut_short_after_it_was_loaded_changes_nothing(format, exported, tmp_path):
    need(format)
    path = copied(exported(format), tmp_path)
    done = subprocess.run(
        [sys.executable, '-c', CUT_SHORT, *map(str, writers.WRITERS[format].files(path))], capture_output=True,
        text=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))})
    assert done.returncode == 0, done.stderr


def test_half_of_openvino(exported, tmp_path):
    path = copied(exported('openvino'), tmp_path)
    path.with_suffix('.bin').unlink()
    with pytest.raises(FileNotFoundError, match=r'openvino-fp32\.xml has no openvino-fp32\.bin beside it'):
        deploy.load(path)
    with pytest.raises(ValueError, match=r'none of \.pt2, \.onnx and \.xml'):
        deploy.load(copied(exported('openvino'), tmp_path).with_suffix('.bin'))


@pytest.mark.parametrize('name, text', [
    ('a.pt2', b'x' * 99), ('a.onnx', b'x' * 99), ('a.xml', b'<a/>'), ('a.xml', b'\0' * 99)])
def test_something_else(name, text, tmp_path):
    need(loaders_format(name))
    (tmp_path / name).write_bytes(text)
    (tmp_path / 'a.bin').touch()
    with pytest.raises(ValueError, match=name) as caught:
        deploy.load(tmp_path / name)
    assert '\n' not in str(caught.value)


def loaders_format(name):
    return next(f for f, suffix in deploy.FORMATS.items() if f != 'aotinductor' and name.endswith(suffix))


def rewritten(path, target, change):
    """A package of torch with its metadata changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(f'/{loaders.METADATA}'):
                data = json.dumps(change(json.loads(data))).encode()
            elif name.endswith('_metadata.json'):
                words = json.loads(data)
                text = json.dumps(change(json.loads(bytes.fromhex(words[loaders.METADATA]))))
                data = json.dumps({**words, loaders.METADATA: text.encode().hex()}).encode()
            new.writestr(name, data)
    return target


@pytest.mark.parametrize('format', ['torch', pytest.param('aotinductor', marks=pytest.mark.slow)])
def test_metadata_of_another_version(format, exported, tmp_path):
    def change(metadata):
        return {k: v for k, v in metadata.items() if k != 'shape'} | {'timm_res2net': '9.9'}
    path = rewritten(exported(format).path, tmp_path / 'model.pt2', change)
    with pytest.raises(ValueError, match=r'does not say its shape: it was written by timm-res2net 9\.9'):
        deploy.load(path)


@pytest.mark.parametrize('format', ['torch', pytest.param('aotinductor', marks=pytest.mark.slow)])
def test_metadata_that_is_no_json(format, exported, tmp_path):
    path = rewritten(exported(format).path, tmp_path / 'model.pt2', lambda m: [m])
    with pytest.raises(ValueError, match=r'model\.pt2 was not written by timm_res2net, or is damaged'):
        deploy.load(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'[{"timm_res2net"', b'xx"timm_res2net"').replace(
        b'[{"timm_res2net"'.hex().encode(), b'xx"timm_res2net"'.hex().encode()))
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match='model.pt2'):
        deploy.load(path)


def test_a_file_that_one_may_not_read(exported, tmp_path):
    path = copied(exported('torch'), tmp_path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip('this user may read everything')
    with pytest.raises(PermissionError, match='torch-fp32.pt2'):
        deploy.load(path)


@pytest.mark.parametrize('text, features', [
    ('processor\t: 0\nflags\t\t: fpu sse2 fma avx avx2 avx512f avx_vnni\nbugs\t: x\n',
     {'fma', 'avx', 'avx2', 'avx512f', 'avx_vnni'}),
    ('processor\t: 0\nFeatures\t: fp asimd aes sve i8mm bf16\n', {'sve', 'i8mm', 'bf16'}),  # ARM64
    (None, set())])  # no Linux
def test_the_features_of_a_cpu(text, features, tmp_path, monkeypatch):
    if text:
        (tmp_path / 'cpuinfo').write_text(text)
    monkeypatch.setattr(engines, 'Path', lambda _: tmp_path / 'cpuinfo')
    assert engines.cpu_features() == features


@pytest.mark.slow
def test_code_for_another_cpu_is_not_run(exported, tmp_path):
    """It would end the process."""
    path = rewritten(exported('aotinductor').path, tmp_path / 'model.pt2', lambda m: {**m, 'cpu': ['avx9000_fp1']})
    with pytest.raises(ValueError, match=r'a CPU with avx9000_fp1, which this one has not: export the model on this'):
        deploy.load(path)


@pytest.mark.parametrize('format', ['torch', pytest.param('aotinductor', marks=pytest.mark.slow)])
def test_a_file_of_another_torch_is_named(format, exported, tmp_path):
    """Where it does not load: its program is of another version, and here damaged."""
    path = rewritten(exported(format).path, tmp_path / 'old.pt2', lambda m: {**m, 'torch': '1.0'})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / 'model.pt2', 'w') as new:
        for name in old.namelist():
            new.writestr(name, b'{}' if name.endswith(('.so', 'model.json', 'program.json')) else old.read(name))
    with pytest.raises(ValueError, match=r'written by torch 1\.0 and does not load in torch .*: export it again'):
        deploy.load(tmp_path / 'model.pt2')


@pytest.mark.slow
def test_a_full_disk_where_code_is_unpacked(exported, small_disk, monkeypatch):
    """torch would call the file damaged, and leave a half of it there."""
    path = exported('aotinductor').path
    monkeypatch.setattr('tempfile.tempdir', str(small_disk))
    with pytest.raises(ValueError, match=r'is unpacked in .*disk, which has 0\.2 MB free of the .* MB .* set TMPDIR'):
        deploy.load(path)
    assert list(small_disk.iterdir()) == []


# how it is called -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name, format', [('m.pt2', 'aotinductor'), ('m.onnx', 'onnx'), ('m.xml', 'openvino')])
def test_the_format_follows_the_suffix(name, format, tmp_path):
    assert deploy.exporting.format_of(tmp_path / name) == format


@pytest.mark.parametrize('name', ['m.pt', 'm', 'm.bin'])
def test_other_suffixes_are_refused(name, network, tmp_path):
    with pytest.raises(ValueError, match=r'must end in one of \.pt2, \.onnx, \.xml'):
        deploy.export(network, tmp_path / name)


def test_without_photographs_all_but_int8_is_checked_on_made_up_images(network, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        preprocessing.importlib.util, 'find_spec', lambda name, *a: None if name == 'skimage' else find(name, *a))
    monkeypatch.setitem(sys.modules, 'skimage', None)
    report = deploy.export(network, tmp_path / 'model.pt2', 'torch', image_size=SIZE)
    assert report.made_up and report.images == 32 and report.top1_agreement == 1 and report.noise < 1e-3
    assert '32 images made up here (scikit-image is not installed)' in str(report)
    if ('torch', 'int8') in CASES:
        with pytest.raises(ImportError, match='give images'):
            deploy.export(network, tmp_path / 'int8.pt2', 'torch', 'int8', image_size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ['model.pt2']


def test_made_up_images_tell_networks_apart(network):
    """They are all different, and a network says different things of them."""
    config = preprocessing.data_config(network, SIZE)
    pixels = preprocessing.made_pixels(config, 32)
    assert pixels.dtype == torch.uint8 and pixels.shape == (32, 3, SIZE, SIZE)
    assert len({p.numpy().tobytes() for p in pixels}) == 32
    outputs = preparing._outputs(network, pixels, config)
    assert outputs.std(0).max() > 0.01 * outputs.abs().max()


def test_what_it_is_is_printed(exported):
    assert str(deploy.load(exported('torch').path)) == (
        'Deployed(test_res2net_custom, torch fp32: float32 (B, 3, 64, 64) -> 8 classes)')


def test_a_disk_with_room_is_not_full(tmp_path):
    assert not placing.disk_is_full(tmp_path / 'not/there')
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert 'is full' in deploy.exporting._reason(error, tmp_path / 'x.pt2')
