"""What a worker gives back."""

import sys
import types

import pytest

from python_shim.worker import memory


def refuse():
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize(
    "torch",
    [types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: True, empty_cache=refuse)), types.SimpleNamespace()],
    ids=["a GPU in an error", "half imported"],
)
def test_a_torch_that_cannot_give_back_stops_nobody(monkeypatch, torch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    memory.give_back()
