"""Odd paths, and files that are not what their names say: refused by name, and nothing that is there is lost."""
import shutil
from pathlib import Path

import pytest
import torch
from deploying import SIZE, images, make, need

from timm_res2net import deploy


def export(model, path, format='torch', **kwargs):
    return deploy.export(model, path, format, image_size=SIZE, images=images(4), **kwargs)


@pytest.mark.parametrize('target', ['nowhere.pt2', 'link.pt2'])
def test_links_to_nowhere_are_there(target, network, tmp_path):
    """A path that exists, if only as a link; to itself, say."""
    link = tmp_path / 'link.pt2'
    link.symlink_to(target)
    with pytest.raises(FileExistsError, match=r'link\.pt2 exists already'):
        export(network, link)
    assert link.is_symlink() and [p.name for p in tmp_path.iterdir()] == ['link.pt2']


def test_a_link_is_replaced_and_not_what_it_leads_to(network, tmp_path):
    link, file = tmp_path / 'link.pt2', tmp_path / 'file.pt2'
    file.write_text('mine')
    link.symlink_to(file)
    export(network, link, overwrite=True)
    assert file.read_text() == 'mine' and not link.is_symlink() and deploy.load(link).metadata['format'] == 'torch'


def test_a_home_is_for_the_shell_to_find(network, tmp_path, monkeypatch):
    """A folder of the name ~ is made by nobody who means it; one that is there is taken."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"path='~/m.pt2' has a ~ that only a shell expands: use Path.*expanduser"):
        export(network, '~/m.pt2')
    assert not list(tmp_path.iterdir())
    (tmp_path / '~').mkdir()
    assert export(network, '~/m.pt2').path == '~/m.pt2'


def test_a_name_that_is_too_long(network, tmp_path):
    with pytest.raises(ValueError, match=r"path='.*File name too long, choose another path"):
        export(network, tmp_path / f'{"x" * 300}.pt2')


@pytest.mark.parametrize('argument', ['overwrite', 'dynamic_size', 'pixels_in'])
def test_words_are_no_yes_or_no(argument, network, tmp_path):
    with pytest.raises(TypeError, match=f"{argument}='no' must be True or False"):
        export(network, tmp_path / 'm.pt2', **{argument: 'no'})


def test_weights_of_another_export_are_refused(exported, tmp_path):
    """They are of the same shapes, and so nothing else tells them from the right ones."""
    path = Path(exported('openvino').path)
    for suffix in ('.xml', '.bin'):
        shutil.copy(path.with_suffix(suffix), tmp_path / f'm{suffix}')
    deploy.load(tmp_path / 'm.xml')
    torch.manual_seed(1)
    export(make(), tmp_path / 'other.xml', 'openvino')
    shutil.copy(tmp_path / 'other.bin', tmp_path / 'm.bin')
    with pytest.raises(ValueError, match=r'm\.xml and m\.bin are not of one export: copy both again'):
        deploy.load(tmp_path / 'm.xml')


def test_another_format_under_the_name_of_openvino(exported, tmp_path, capfd):
    """OpenVINO would try all formats it knows, and say on stderr what the file is not."""
    need('openvino')
    shutil.copy(exported('torch').path, tmp_path / 'm.xml')
    (tmp_path / 'm.bin').touch()
    capfd.readouterr()
    with pytest.raises(ValueError, match=r'm\.xml is no XML'):
        deploy.load(tmp_path / 'm.xml')
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('variable', ['TMPDIR', 'TEMPDIR'])
def test_a_folder_for_temporary_files_that_is_not_there(variable, network, tmp_path, monkeypatch):
    """Python takes another then, and torch's compiled files are not loaded."""
    for name in ('TMPDIR', 'TMP', 'TEMP'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / 'nowhere'))
    with pytest.raises(ValueError, match=f"{variable}='.*nowhere', which is no folder .*: set it to another folder"):
        export(network, tmp_path / 'm.pt2', 'aotinductor')
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_compiled_code_is_not_unpacked_in_a_folder_that_is_not_there(exported, tmp_path, monkeypatch):
    path = exported('aotinductor').path
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'nowhere'))
    with pytest.raises(ValueError, match=r'is unpacked in TMPDIR=.*nowhere.*: set it to another folder'):
        deploy.load(path)
