"""The node that counts what the product holds finds it by name: a name that has gone is an error, and no 0."""

import importlib.util
import json
import sys
import types

import pytest

from e2e.sequences.driver import ROOT
from python_shim.shim import handles
from python_shim.wire import mapping, segments
from python_shim.worker import kept_objects


@pytest.fixture
def pack(monkeypatch):
    """The pack, in a process that is ComfyUI and a worker in one."""
    for name in ("comfy", "comfy.model_management", "folder_paths", "x.shim.main", "x.worker.runner"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["comfy"].model_management = sys.modules["comfy.model_management"]
    spec = importlib.util.spec_from_file_location("counts", ROOT / "e2e" / "packs" / "sequence-nodes" / "__init__.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_what_is_held_is_counted(pack):
    counts = lambda: json.loads(pack.account()["ui"]["text"][0])  # noqa: E731
    held = [segments.SegmentPool(), mapping.MappedSegments(), kept_objects.KeptObjects(lambda count: None)]
    before = counts()
    held[0].pass_on(object())
    held[2].keep("a node", object(), "x")
    after = counts()
    assert {what: after[what] - before[what] for what in after} == {
        "bytes leased": 0,
        "leases passed on": 1,
        "leases of others": 0,
        "objects": 1,
        "handles": 0,
    }


@pytest.mark.parametrize(
    ("module", "name", "part"),
    [
        (segments, "SegmentPool", "_passed"),
        (mapping, "MappedSegments", "_active"),
        (kept_objects, "KeptObjects", "_objects"),
        (handles, "RemoteHandle", None),
    ],
)
def test_a_name_that_has_gone_is_an_error(pack, monkeypatch, module, name, part):
    held = [segments.SegmentPool(), mapping.MappedSegments(), kept_objects.KeptObjects(lambda count: None)]
    pack.account()
    with monkeypatch.context() as patched:
        patched.delattr(module, name)
        with pytest.raises((AttributeError, LookupError)):
            pack.account()
    if part is not None:
        one = next(item for item in held if type(item).__name__ == name)
        kept = one.__dict__.pop(part)
        with pytest.raises(AttributeError):
            pack.account()
        one.__dict__[part] = kept


@pytest.mark.parametrize("module", ["wire.segments", "wire.mapping", "worker.kept_objects", "shim.handles"])
def test_a_module_that_has_gone_is_an_error(pack, monkeypatch, module):
    held = [segments.SegmentPool(), mapping.MappedSegments(), kept_objects.KeptObjects(lambda count: None)]
    for name in [name for name in sys.modules if name.endswith("." + module)]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(LookupError, match=module):
        pack.account()
    del held


def test_a_process_that_is_neither_is_an_error(pack, monkeypatch):
    for name in [name for name in sys.modules if name.endswith((".shim.main", ".worker.runner"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(LookupError, match="neither"):
        pack.account()
