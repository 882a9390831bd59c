"""Shared by all tests: the same seed and one thread for each."""
import pytest
import torch

torch.set_num_threads(1)  # the networks are small: more threads than that cost more than they bring


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
