"""A node's exception, raised again in ComfyUI."""

import traceback

import pytest
import torch

from python_shim.shim.remote_error import NodeError, raise_remote
from python_shim.wire.errors import RemoteFailure, describe_exception


def failure(error):
    try:
        raise error
    except type(error) as raised:
        return RemoteFailure({"code": "NODE_RAISED", "message": "m", "hint": "", "exception": describe_exception(raised)})


class Unknown(Exception):
    pass


ERRORS = [
    *[ValueError("bad value"), KeyError("key"), OSError(2, "no file"), Unknown("own class"), AssertionError()],
    *[UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), SystemExit(3)],
]


@pytest.mark.parametrize("error", ERRORS)
def test_class_name_and_message_stay(error):
    with pytest.raises(NodeError) as caught:
        raise_remote(failure(error))
    assert type(caught.value).__name__ == type(error).__name__
    assert type(caught.value).__module__ == type(error).__module__
    assert str(caught.value) == str(error)


def test_a_built_in_error_can_be_caught_as_what_it_is():
    with pytest.raises(ValueError, match="bad value"):
        raise_remote(failure(ValueError("bad value")))


def test_the_traceback_leads_to_the_node():
    with pytest.raises(NodeError) as caught:
        raise_remote(failure(ValueError("x")))
    assert "test_remote_error.py" in "".join(traceback.format_tb(caught.value.__traceback__)[-1:])


def test_our_own_errors_bring_their_hint():
    with pytest.raises(NodeError, match="Run again"):
        raise_remote(RemoteFailure({"code": "WORKER_DIED", "message": "It died.", "hint": "Run again."}))


def test_a_gpu_out_of_memory_is_one_for_comfyui_too():
    with pytest.raises(torch.cuda.OutOfMemoryError, match="Tried to allocate"):
        raise_remote(failure(torch.cuda.OutOfMemoryError("Tried to allocate 8 GiB")))
