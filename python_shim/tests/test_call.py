"""What a call keeps of its inputs."""

import gc
import weakref

import torch

from python_shim.shim.call import Call
from python_shim.shim.calls import Calls


def test_an_input_goes_with_its_call_and_not_when_the_garbage_collector_comes():
    calls, image = Calls(), torch.ones(4)
    call = Call(calls, "pack", "Node", "FUNCTION", "1", None, {"image": image}, copy=False)
    seen = weakref.ref(image)
    gc.disable()
    try:
        del image
        assert seen() is not None  # it may come back unchanged
        del call
        assert seen() is None
    finally:
        gc.enable()
        calls.pool.close()
