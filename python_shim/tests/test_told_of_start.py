"""What ComfyUI's process tells workers of its own start, and takes over of its loader."""

import asyncio
import contextlib
import sys
import types

import pytest

from python_shim.shim import host_start, node_loading


@pytest.fixture
def comfyui(monkeypatch):
    """A ComfyUI that has not started; puts modules of it in place."""
    monkeypatch.setattr(host_start, "_environment", None)
    for name in ("server", "comfy.memory_management"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def add(name, **values):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**values))

    return add


def test_nothing_is_told_before_main_py_has_come_to_its_server(comfyui, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert host_start.started() is None
    host_start.keep_environment()
    assert host_start.started() is None
    comfyui("server", PromptServer=types.SimpleNamespace(instance=object()))
    assert host_start.started()["environment"]["CUDA_VISIBLE_DEVICES"] == "1"


def test_what_a_pack_sets_when_torch_is_there_is_not_told(comfyui, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    host_start.keep_environment()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    host_start.keep_environment()
    comfyui("server", PromptServer=types.SimpleNamespace(instance=object()))
    assert host_start.started()["environment"]["CUDA_VISIBLE_DEVICES"] == "1"


def test_dynamic_vram_is_asked_of_its_module(comfyui):
    host_start.keep_environment()
    comfyui("server", PromptServer=types.SimpleNamespace(instance=object()))
    assert host_start.started()["dynamic_vram"] is False  # an older ComfyUI has none
    for state in (False, True):
        comfyui("comfy.memory_management", aimdo_enabled=state)
        assert host_start.started()["dynamic_vram"] is state


def test_arguments_of_a_newer_loader_reach_it():
    given = []

    async def loader(module_path, ignore=frozenset(), module_parent="custom_nodes", *, policy=None):
        given.append((module_path, module_parent, policy))
        return True

    class Registry:
        loading = staticmethod(lambda pack: contextlib.nullcontext())
        reserve = staticmethod(lambda ignore: None)
        loaded = staticmethod(lambda *told: None)

    nodes = types.SimpleNamespace(load_custom_node=loader)
    node_loading.wrap(nodes, Registry(), lambda *told: None)
    assert asyncio.run(nodes.load_custom_node("/comfyui/comfy_extras/nodes_one.py", set(), module_parent="comfy_extras", policy="strict"))
    assert asyncio.run(nodes.load_custom_node(".", policy="strict"))  # a folder: a pack
    assert given == [("/comfyui/comfy_extras/nodes_one.py", "comfy_extras", "strict"), (".", "custom_nodes", "strict")]
