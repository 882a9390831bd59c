"""Wrong uses of all commands: each ends with one line that helps and the right exit code, and leaves nothing behind."""
import re
import sys

import pytest
import timm
import torch
from PIL import Image
from run_command import command, here

from timm_res2net import commands, save_folder

# command and arguments, exit code, what the line says; {x} is a file or folder of `place`
USES = [
    # list, inspect, recipes, docs, autoload
    ('list *nonsense*', 1, r'nothing like this: \*nonsense\*; `timm-res2net list` shows all'),
    ('list --max-parameters -1', 2, '--max-parameters -1 must be above 0'),
    ('list --licence mit', 2, 'unrecognized arguments: --licence'),
    ('list --import no_such_module_of_mine', 2, "--import no_such_module_of_mine: ModuleNotFoundError: No module"),
    ('list --import broken_module_of_mine', 2, '--import broken_module_of_mine: ZeroDivisionError: division by zero'),
    ('inspect {missing.pth}', 2, r'missing\.pth: no such file'),
    ('inspect {text.txt}', 2, r'text\.txt: neither safetensors, nor a torch\.save file, nor a pickle of arrays'),
    ('inspect {empty}', 2, r'empty: a folder without any of model\.safetensors, '),
    ('inspect {code.pth}', 2, r'code\.pth: refused, and nothing in it was executed'),
    ('recipes nonsense', 2, "there is no recipe 'nonsense', there are: cifar100_evidence, "),
    ('recipes cifar100_evidence --output {text.txt}', 2, r'text\.txt exists already: choose another file, or'),
    ('recipes cifar100_evidence --output {empty}', 2, 'empty is a folder, give a file'),
    ('recipes cifar100_evidence --output {no/where.yaml}', 2, 'no is not there, it must be a folder'),
    ('recipes cifar100_evidence --output /proc/recipe.yaml', 2, '/proc cannot be written to .*, choose another folder'),
    ('docs nonsense', 2, "there is no page 'nonsense', there are: demo, deployment, "),
    ('autoload maybe', 2, "invalid choice: 'maybe'"),
    # convert
    ('convert {tiny.pth}', 2, 'the following arguments are required: OUT'),
    ('convert {missing.pth} {out}', 1, r'missing\.pth: no such file'),
    ('convert {tiny.pth} {folder}', 1, 'folder exists already: choose another folder, or add --overwrite'),
    ('convert {tiny.pth} {full} --overwrite', 1, r'full holds more than weights \(thesis\.tex\); it is not'),
    ('convert {tiny.pth} {text.txt}', 1, r'text\.txt is a file, give a folder'),
    ('convert {tiny.pth} {text.txt/out}', 1, r'text\.txt is a file, it must be a folder'),
    ('convert {tiny.pth} /proc/out', 1, '/proc cannot be written to'),
    ('convert {tiny.pth} {out} --as-timm', 1, 'timm has no architecture like this .*, leave out --as-timm'),
    ('convert {tiny.pth} {out} --variant nonsense', 1, "'nonsense' is not one of this package's variants"),
    ('convert {tiny.pth} {out} --class-names {missing.txt}', 1, r'--class-names .*missing\.txt: No such file'),
    ('convert {tiny.pth} {out} --class-names {text.txt}', 1, '--class-names: 1 names, the model has 3 classes'),
    ('convert res2net50_26w_4s_custom.in22k {out}', 1, r'there are no weights res2net50_26w_4s_custom\.in22k, of '),
    # push; nobody is logged in
    ('push {missing.pth} USER/NAME --dry-run {out}', 2, r'there is no .*missing\.pth'),
    ('push {folder} USER/NAME', 2, 'Not logged in to the Hub: log in with `hf auth login` or set HF_TOKEN'),
    ('push {folder} NA/ME/S', 2, "REPO 'NA/ME/S' is not a name on the Hub"),
    ('push {folder} USER/NAME --create-pr --revision next', 2, '--revision next: a pull request is opened against'),
    ('push {folder} USER/NAME --dry-run {full}', 2, 'full exists already: choose another folder, or add --overwrite'),
    ('push {tiny.pth} USER/NAME --dry-run {out}', 2, 'the checkpoint does not tell its architecture, add --model'),
    ('push {tiny.pth} USER/NAME --dry-run {out} --model resnet50', 2, 'do.* not fit resnet50'),
    ('push {tiny.pth} USER/NAME --dry-run {out} --model mine', 2, 'mine is no variant of timm-res2net: .* --import'),
    ('push {folder} USER/NAME --dry-run {out} --data-dir {missing}', 2, '--data-dir .*missing: no such folder'),
    ('push {folder} USER/NAME --dry-run {out} --data-dir {images}', 2, r'--data-dir .*images: 1 names, the model has'),
    # classify, evaluate
    ('classify {missing.png} --model {folder}', 2, r'missing\.png'),
    ('classify {text.txt} --model {folder}', 2, r'text\.txt'),
    ('classify {empty} --model {folder}', 2, 'no images'),
    ('classify {image.png} --model nonsense', 2, 'nonsense is no model that timm knows, and no file'),
    ('classify {image.png} --model {missing.pth}', 2, r'missing\.pth: no such file'),
    ('classify {image.png} --model missing.ckpt', 2, r'missing\.ckpt: no such file'),
    ('classify {image.png} --model {folder} --topk 0', 2, '--topk 0 must be at least 1'),
    ('classify {image.png} --model {folder} --class-names {text.txt}', 2, '--class-names: 1 names, the model has 3'),
    ('evaluate {missing} --model {folder}', 2, 'there is no folder'),
    ('evaluate {images} --split no --model {folder}', 2, 'there is no folder'),
    # gradcam, receptive-field
    ('gradcam {image.png} --models {folder} --class nonsense --output {out.png}', 2, 'nonsense'),
    ('gradcam {image.png} --models {folder} --output {out.nonsense}', 2, r'--output .*out\.nonsense must end in one'),
    ('gradcam {image.png} --models {folder} --output {no/out.png}', 2, 'no is not there, it must be a folder'),
    ('gradcam {image.png} --models {folder} --image-size 0 --output {out.png}', 2, '--image-size 0'),
    ('receptive-field nonsense', 2, 'nonsense is no model that timm knows'),
    ('receptive-field test_res2net_custom --plot {no/out.png}', 2, 'no is not there, it must be a folder'),
    ('receptive-field test_res2net_custom --model-kwargs scale', 2, 'scale'),
    # demo, whose page itself is visited by tests/demo
    ('demo --model a --model b --model c', 2, '--model is there 3 times, the page has room for two'),
    ('demo --port 70000', 2, '--port 70000 must be from 1 to 65535'),
    ('demo --space {folder}', 2, 'folder exists already: choose another folder$'),
    ('demo --space /proc/space', 2, '/proc cannot be written to'),
    ('demo --space {out} --model nonsense', 2, 'nonsense is no model that timm knows, and no file'),
    ('demo --space {out} --model {missing.pth}', 2, r'missing\.pth: no such file'),
    ('demo --space {out} --overwrite', 2, 'unrecognized arguments: --overwrite'),
    # export, benchmark
    ('export {folder} {out.nonsense}', 2, r'out\.nonsense'),
    ('export {folder} {text.txt/out.onnx}', 2, r'text\.txt is a file, give a folder'),
    ('export {folder} /proc/out.onnx', 2, '/proc cannot be written to'),
    ('export {missing.pth} {out.pt2} --format torch', 2, r'missing\.pth: no such file'),
    ('export {folder} {exists.pt2} --format torch', 2, r'exists\.pt2 exists already. choose another file, or'),
    ('benchmark --precision fp64', 2, "invalid choice: 'fp64'"),
    ('benchmark --theirs nonsense --output {out}', 2, 'nonsense'),
]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with what the uses name."""
    place = tmp_path_factory.mktemp('place')
    model = timm.create_model('test_res2net_custom', num_classes=3)
    torch.save({'state_dict': model.state_dict()}, place / 'tiny.pth')
    torch.save({'state_dict': model.state_dict(), 'code': here}, place / 'code.pth')
    save_folder(model, place / 'folder')
    save_folder(model, place / 'full')
    (place / 'full/thesis.tex').write_text('precious')
    (place / 'empty').mkdir()
    (place / 'images/train/a').mkdir(parents=True)
    Image.new('RGB', (32, 32), 'red').save(place / 'images/train/a/a.png')
    Image.new('RGB', (32, 32), 'red').save(place / 'image.png')
    (place / 'text.txt').write_text('not an image\n')
    (place / 'exists.pt2').write_text('precious')
    (place / 'broken_module_of_mine.py').write_text('1 / 0\n')
    return place


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """No token in the environment or in the home of the Hub's client."""
    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('huggingface_hub.constants.HF_TOKEN_PATH', str(tmp_path / 'token'))
    monkeypatch.setattr(sys, 'path', list(sys.path))


def filled(use, place):
    """The arguments of a use, in the folder."""
    return [re.sub(r'\{(.*)\}', lambda m: str(place / m[1]), word) for word in use.split()]


def files_of(place):
    """Everything in the folder, with when it was written last."""
    return {p: p.stat().st_mtime_ns for p in place.rglob('*') if '__pycache__' not in p.parts}


def test_there_are_uses_of_every_command():
    assert {use.split()[0] for use, _, _ in USES} == set(commands.COMMANDS) and len(USES) >= 30


@pytest.mark.parametrize('use, code, says', USES, ids=[use for use, _, _ in USES])
def test_wrong_use(use, code, says, place, nobody):
    before = files_of(place)
    done = here(*filled(use, place), cwd=place)
    assert done.returncode == code, done.stderr
    line = done.stderr.splitlines()[-1]
    assert re.search(says, line) and ': ' in line, done.stderr
    assert done.stdout == '' and 'Traceback' not in done.stderr
    for theirs in ('overwrite=', 'token=', 'as_timm', 'save_folder', 'create_pr', 'label_names='):
        assert theirs not in done.stderr
    if 'usage:' not in done.stderr:  # argparse's own come with it
        assert done.stderr.count('\n') == 1 and (line.startswith('error: ') or ' cannot be read: ' in line)
    assert files_of(place) == before


def test_as_a_process(place):
    """The way that a person meets them: one of the uses from the entry on."""
    done = command('convert', 'missing.pth', 'out', cwd=place)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == 'error: missing.pth: no such file.\n'
