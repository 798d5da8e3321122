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


def traceback_of(file, line, name, source):
    text = f'Traceback (most recent call last):\n  File "{file}", line {line}, in {name}\n    {source}\nValueError: x\n'
    seen = {"type": "ValueError", "module": "builtins", "message": "x", "traceback": text}
    with pytest.raises(ValueError, match="x") as caught:
        raise_remote(RemoteFailure({"code": "NODE_RAISED", "message": "m", "hint": "", "exception": seen}))
    return traceback.format_tb(caught.value.__traceback__)[-1]


def test_the_traceback_shows_file_line_function_and_source(tmp_path):
    file = tmp_path / "nodes.py"
    file.write_text("\n" * 41 + "    first = second()\n")
    assert traceback_of(file, 42, "run", "first = second()") == f'  File "{file}", line 42, in run\n    first = second()\n'


def test_the_source_of_a_file_that_is_not_here_is_the_workers():
    for line in (7, 3, 7):
        expected = f'  File "/not/here/nodes.py", line {line}, in <module>\n    step({line})\n'
        assert traceback_of("/not/here/nodes.py", line, "<module>", f"step({line})") == expected


def test_frames_of_one_traceback_keep_their_own_lines():
    def inner():
        raise ValueError("x")

    def outer():
        inner()

    with pytest.raises(ValueError, match="x") as local:
        outer()
    lines = [frame.lineno for frame in traceback.extract_tb(local.value.__traceback__)[1:]]
    with pytest.raises(NodeError) as caught:
        raise_remote(RemoteFailure({"code": "NODE_RAISED", "message": "m", "hint": "", "exception": describe_exception(local.value)}))
    assert [frame.lineno for frame in traceback.extract_tb(caught.value.__traceback__)[-2:]] == lines
