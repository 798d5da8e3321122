"""The public names of the reference library, as its packs use them, on real processes."""

import importlib
import os
import sys

import pytest
import torch

from python_shim.wire import library

MODULE = '''
import os
import torch
from comfyui_envmanager import isolated

@isolated(env="same", same_venv=True, import_paths=[".", "vendor"])
class Grain:
    """A node as the library's example packs write one."""

    FUNCTION = "process"
    RETURN_TYPES = ("IMAGE",)

    def __init__(self):
        self.strength = 2

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def process(self, image, times=1, **more):
        import helper
        return (image * times * self.strength, os.getpid(), helper.NAME, more)

def add(a, b=1):
    return a + b

def fail(text):
    raise KeyError(text)

def leave(code):
    os._exit(code)

def forever():
    while True:
        pass

def make():
    return open(os.devnull)
'''


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    (folder / "reference_nodes.py").write_text(MODULE)
    (folder / "vendor").mkdir()
    (folder / "vendor" / "helper.py").write_text('NAME = "from vendor"')
    library.provide()
    library.provide()
    sys.path.insert(0, str(folder))
    os.environ["COMFYUI_ISOLATION_QUIET"] = "1"
    try:
        yield importlib.import_module("comfyui_envmanager"), importlib.import_module("reference_nodes"), folder
    finally:
        importlib.import_module("comfyui_envmanager").shutdown_all_processes()
        sys.path.remove(str(folder))
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != library.__name__]


@pytest.fixture
def worker(ours):
    library, _, folder = ours
    with library.TorchMPWorker(working_dir=folder) as made:
        yield made


def test_the_decorator_runs_a_class_in_another_process(ours):
    _, nodes, _ = ours
    node = nodes.Grain()
    node.strength = 3
    image, pid, name, more = node.process(torch.ones(2), times=2, extra="e")
    assert image.tolist() == [6, 6] and pid != os.getpid() and name == "from vendor" and more == {"extra": "e"}
    assert node.process(torch.ones(2))[1] == pid


def test_the_decorator_does_nothing_inside_a_worker(ours, monkeypatch):
    library, _, _ = ours
    monkeypatch.setenv("COMFYUI_ISOLATION_WORKER", "1")

    class Plain:
        FUNCTION = "run"

        def run(self):
            return os.getpid()

    assert library.isolated(env="x")(Plain)().run() == os.getpid()


def test_a_class_without_a_function_is_refused(ours):
    library, _, _ = ours
    with pytest.raises(ValueError, match="FUNCTION"):
        library.isolated(env="x")(type("Wrong", (), {}))


def test_workers_call_functions_and_modules(ours, worker):
    _, nodes, _ = ours
    assert worker.call(nodes.add, 2, b=3) == 5
    assert torch.equal(worker.call_module("reference_nodes", "add", a=torch.ones(300_000)), torch.full((300_000,), 2.0))
    assert worker.call_module("reference_nodes", "add", a=(1,), b=(2,)) == (1, 2)


def test_what_a_function_raises_is_told_with_the_workers_traceback(ours, worker):
    library, _, _ = ours
    with pytest.raises(library.WorkerError, match="KeyError: 'the text'") as caught:
        worker.call_module("reference_nodes", "fail", text="the text")
    assert "reference_nodes.py" in caught.value.worker_traceback
    assert worker.call_module("reference_nodes", "add", a=1) == 2


def test_the_end_of_a_process_is_told_and_the_next_call_works(ours, worker):
    library, _, _ = ours
    with pytest.raises(library.WorkerError, match="exit code 7"):
        worker.call_module("reference_nodes", "leave", code=7)
    assert worker.call_module("reference_nodes", "add", a=1) == 2


def test_a_call_that_takes_too_long_ends_its_worker(worker):
    with pytest.raises(TimeoutError, match=r"0\.5 s"):
        worker.call_module("reference_nodes", "forever", timeout=0.5)
    assert worker.call_module("reference_nodes", "add", a=1) == 2


def test_what_cannot_leave_is_named(ours, worker):
    library, _, _ = ours
    with pytest.raises(library.WorkerError, match="TextIOWrapper"):
        worker.call_module("reference_nodes", "make")
    with pytest.raises(library.WorkerError, match="module"):
        worker.call(lambda: 1)


def test_pool_of_workers(ours):
    library, _, folder = ours
    library.register_worker("mine", library.TorchMPWorker("mine", working_dir=folder))
    assert library.get_worker("mine").call_module("reference_nodes", "add", a=1) == 2
    assert library.list_workers()["default"] == "factory (not started)"
    library.shutdown_workers("mine")
    with pytest.raises(KeyError):
        library.get_worker("mine")


def test_a_worker_on_a_python_that_is_not_there(ours):
    library, _, _ = ours
    with pytest.raises(FileNotFoundError, match="There is no Python at"):
        library.VenvWorker("/nowhere/python")


def test_errors_say_what_and_what_to_do(ours):
    library, _, _ = ours
    error = library.WheelNotFoundError("flash-attn", "2.8.0", reason="No source has one.", available_combos=["python 3.12 torch 2.8"])
    assert str(error).startswith("No wheel of flash-attn==2.8.0 fits.") and "torch 2.8" in str(error)
    assert isinstance(error, library.EnvManagerError)
    assert str(library.ConfigError("wrong value", "a.toml", 3)).endswith("in a.toml at line 3")
