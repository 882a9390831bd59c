"""A network's weights, and files that hold them or anything else."""
import pytest
import torch
from random_state import state_of


@pytest.fixture(scope='module')
def state():
    return state_of(num_classes=5)


@pytest.fixture
def saved(tmp_path):
    def save(content, name='file.pth'):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            torch.save(content, tmp_path / name)
        return tmp_path / name
    return save
