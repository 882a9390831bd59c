"""What commands refuse at the start."""
import pytest

from timm_res2net.commands.checks import check_picture, needs, save_picture
from timm_res2net.commands.command_line import Refusal


def test_a_missing_module_names_its_extra():
    needs('this', 'figures', 'json', 'timm')
    with pytest.raises(Refusal, match=r"--plot needs no_such_module.*pip install 'timm-res2net\[figures\]'"):
        needs('--plot', 'figures', 'json', 'no_such_module')


def test_pictures(tmp_path):
    plt = pytest.importorskip('matplotlib.pyplot')
    for name in ('a', 'a.txt'):
        with pytest.raises(Refusal, match='--output .* must end in one of .*png'):
            check_picture('--output', tmp_path / name)
    with pytest.raises(Refusal, match='not there'):
        check_picture('--output', tmp_path / 'nowhere/a.png')
    figure = plt.figure()
    for name in ('a.png', 'b.SVG'):
        for _ in range(2):
            check_picture('--output', tmp_path / name)
            save_picture(figure, tmp_path / name)

    class Interrupted:
        def savefig(self, path):
            path.write_bytes(b'half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_picture(Interrupted(), tmp_path / 'c.png')
    assert {p.name for p in tmp_path.iterdir()} == {'a.png', 'b.SVG'}
