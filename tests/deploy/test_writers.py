"""Where files may lie."""
import zipfile

import pytest
import torch
from deploying import SIZE, images, need, relative

from timm_res2net import deploy


@pytest.mark.parametrize('format', [pytest.param('aotinductor', marks=pytest.mark.slow), 'torch', 'onnx', 'openvino'])
def test_a_path_with_spaces_and_other_letters(format, network, tmp_path):
    need(format)
    folder = tmp_path / "Ana's models; \u00e9t\u00e9 $1"
    folder.mkdir()
    path = folder / f'my model{deploy.FORMATS[format]}'
    deploy.export(network, path, format, image_size=SIZE, images=images(4))
    x = torch.rand(1, 3, SIZE, SIZE)
    with deploy.load(path) as fast:
        assert relative(fast(x), network(x)) < 1e-4


@pytest.fixture
def without_code(mounted):
    """A file system from which nothing may be run."""
    return mounted('noexec', 'noexec')


@pytest.mark.parametrize('variable', ['TMPDIR', 'TORCHINDUCTOR_CACHE_DIR'])
def test_a_compiler_is_not_given_a_folder_with_spaces(variable, network, tmp_path, monkeypatch):
    spaced = tmp_path / 'a b'
    spaced.mkdir()
    monkeypatch.setenv(variable, str(spaced))
    monkeypatch.setattr('tempfile.tempdir', None)  # to be found anew
    with pytest.raises(ValueError, match=rf"'{spaced}.*set TMPDIR or TORCHINDUCTOR_CACHE_DIR"):
        deploy.export(network, tmp_path / 'x.pt2', image_size=SIZE, images=images(4))
    assert [p.name for p in tmp_path.iterdir()] == ['a b']


@pytest.mark.parametrize('variable', ['TMPDIR', 'TORCHINDUCTOR_CACHE_DIR'])
def test_a_compiler_is_not_given_a_folder_from_which_nothing_may_be_run(variable, network, without_code, monkeypatch):
    """It would find that this CPU runs no vector code, and write code without."""
    monkeypatch.setenv(variable, str(without_code if variable == 'TMPDIR' else without_code / 'not/there'))
    monkeypatch.setattr('tempfile.tempdir', None)
    with pytest.raises(ValueError, match=r'noexec.*, and nothing may be run there \(noexec\): set TMPDIR or'):
        deploy.export(network, without_code.with_name('x.pt2'), image_size=SIZE, images=images(4))


@pytest.mark.slow
def test_compiled_files_hold_what_runs_and_no_more(exported):
    """Neither sources nor what a debugger wants, a third of a small file."""
    with zipfile.ZipFile(exported('aotinductor').path) as archive:
        library, = (name for name in archive.namelist() if name.endswith('.so'))
        assert not [name for name in archive.namelist() if name.endswith('.cpp')]
        assert b'.debug_info' not in archive.read(library)
