"""The public names of the reference library, as its packs use them, on real processes."""

import functools
import importlib
import math
import operator
import os
import pathlib
import re
import statistics
import sys
import threading
import time

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

def flood(megabytes):
    for _ in range(megabytes):
        os.write(2, b"x" * (1 << 20))
    os.write(2, b"\\nafter it\\n")
    return megabytes

def leave(code):
    os._exit(code)

def forever():
    while True:
        pass

def make():
    return open(os.devnull)

STATE = []

def remember(n):
    STATE.append(n)
    return os.getpid(), list(STATE)

def three(a, b, c=0):
    total = a + b + c
    return total

def rest(a, *more, key=None, **named):
    return a, more, key, named

def first_only(a, /, **named):
    return a, named

class Kind:
    @classmethod
    def made(cls, text):
        return cls.__name__ + text

    @staticmethod
    def plain(text):
        return text

    def __call__(self):
        return 1

def environment(names):
    return {name: os.environ.get(name) for name in names}
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


def test_of_a_line_without_an_end_the_beginning_is_told(ours, worker):
    library, _, _ = ours
    assert worker.call_module("reference_nodes", "flood", megabytes=50) == 50
    with pytest.raises(library.WorkerError) as caught:
        worker.call_module("reference_nodes", "leave", code=3)
    said = caught.value.worker_traceback.splitlines()
    assert said[-1] == "after it" and max(map(len, said)) == 1 << 16


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


def calls(nodes):
    """Callables of every kind, with arguments."""
    numpy = importlib.import_module("numpy")
    return [
        *[(math.hypot, (3, 4), {}), (max, (1, 5, 3), {}), (str.upper, ("a",), {}), ("a,b".split, (",",), {}), (dict.fromkeys, ("ab",), {})],
        *[(functools.partial(nodes.three, 1, c=5), (2,), {}), (functools.partial(math.pow, 2), (5,), {}), (operator.add, (1, 2), {})],
        *[(nodes.three, (1, 2, 3), {}), (nodes.three, (1,), {"b": 4}), (nodes.rest, (1, 2, 3), {"key": "k", "cls": 1, "self": 2})],
        *[(nodes.first_only, (1,), {"a": 2, "func": 3, "name": 4}), (nodes.Kind.made, ("!",), {}), (nodes.Kind.plain, ("t",), {})],
        *[(int, ("12",), {"base": 3}), (numpy.add, (1, 2), {}), (torch.add, (torch.ones(2), 1), {}), (torch.ones(2).sum, (), {})],
        *[(statistics.mean, ([1, 2, 3],), {}), (len, ([1, 2],), {}), (bytes.fromhex, ("00ff",), {}), ((3).__add__, (4,), {})],
    ]


def test_call_gives_what_the_callable_gives_here(ours, worker):
    _, nodes, _ = ours
    for func, args, kwargs in calls(nodes):
        got, here = worker.call(func, *args, **kwargs), func(*args, **kwargs)
        assert type(got) is type(here) and bool((torch.as_tensor(got == here)).all()), (func, got, here)


def test_what_call_cannot_run_is_an_error(ours, worker):
    library, nodes, _ = ours
    for func in (nodes.Kind(), functools.partial(lambda: 1), (lambda: 1), operator.itemgetter(1)):
        with pytest.raises(library.WorkerError, match="is none"):
            worker.call(func)
    with pytest.raises(library.WorkerError, match="takes from 2 to 3 positional arguments but 5 were given"):
        worker.call(nodes.three, 1, 2, 3, 4, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a process with the thread that started it")
def test_a_worker_outlives_the_thread_that_started_it(ours, worker):
    _, nodes, _ = ours
    first = []
    thread = threading.Thread(target=lambda: first.append(worker.call(nodes.remember, 1)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert worker.call(nodes.remember, 2) == (first[0][0], [1, 2])


def test_workers_are_started_with_what_the_bridge_gives_its_own(ours, worker):
    _, nodes, _ = ours
    source = (pathlib.Path(__file__).parents[2] / "bridge" / "workers" / "launch.ts").read_text()
    wanted = dict(re.findall(r"^    ([A-Z_0-9]+): '([^']*)',$", source, re.MULTILINE))
    assert len(wanted) > 6 and worker.call(nodes.environment, list(wanted)) == wanted
