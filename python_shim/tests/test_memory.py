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


def test_a_system_without_that_call_of_its_c_library_gives_the_gpus_memory_back(monkeypatch):
    def refuses(name):
        raise TypeError("argument of type 'NoneType' is not iterable")  # `ctypes.CDLL(None)` on Windows

    emptied = []
    cuda = types.SimpleNamespace(is_initialized=lambda: True, empty_cache=lambda: emptied.append(True))
    monkeypatch.setattr(memory.ctypes, "CDLL", refuses)
    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    memory.give_back()
    assert emptied == [True]
