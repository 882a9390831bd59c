"""What is said of files and networks: cut to a length for people, and calls that can be pasted."""
import pytest
import timm

from timm_res2net import CheckpointError, load_checkpoint
from timm_res2net.weights.words import creation, listed, network, one_line, printable


def test_of_many_things_the_first_are_named():
    assert listed(['a', 'b']) == 'a, b' and listed(()) == ''
    assert listed([str(i) for i in range(11)]) == '0, 1, 2, 3, 4, 5, 6, 7 and 3 more'
    assert len(listed(['x' * 10_000] * 11)) < 1400


def test_errors_are_one_line_without_what_a_terminal_obeys():
    assert one_line(ValueError('a\n  b')) == 'a b' and one_line(KeyError()) == 'KeyError'
    assert one_line(ValueError('x' * 50), 10) == f'{"x" * 10}...'
    assert printable('\x1b[31m\u202eä') == '\\x1b[31m\\u202eä'


def test_the_call_that_is_advised_makes_the_network():
    arguments = dict(layers=(1, 1, 1, 1), scale=2, act_layer='silu')
    made = eval(creation('res2net_custom', arguments), {'timm': timm})
    assert made.model_args == {**arguments, 'layers': [1, 1, 1, 1]}
    assert eval(creation('test_res2net_custom', {}), {'timm': timm}).model_args == {}
    assert network('a', {}) == 'a' and network('a', dict(scale=2)) == 'a(scale=2)'


@pytest.mark.parametrize('name', ['plain.pth', 'red\x1b[31m.pth'])
def test_a_file_is_named_once(name, tmp_path):
    (tmp_path / name).write_bytes(b'junk')
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / name)
    assert str(caught.value).count(str(tmp_path)) == 1 and str(caught.value).isprintable()
