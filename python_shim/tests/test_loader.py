"""Packs as ComfyUI would load them."""

import sys
import types

from python_shim.worker import host_modules
from python_shim.worker.loader import load_pack

EXTENSION = """
import types

def node(name, bad=False):
    def schema(cls):
        if bad:
            raise ValueError("ids must be unique")
        return types.SimpleNamespace(node_id=name, display_name=f"The {name}")
    inputs = classmethod(lambda cls: {"required": {}})
    return type(name, (), {"INPUT_TYPES": inputs, "FUNCTION": "run", "run": lambda self: (), "GET_SCHEMA": classmethod(schema)})

class Extension:
    async def get_node_list(self):
        return [node("First"), node("Newer", bad=True), node("After")]

async def comfy_entrypoint():
    return Extension()
"""


def test_classes_before_one_that_cannot_be_described_are_kept_as_in_comfyui(tmp_path):
    (tmp_path / "__init__.py").write_text(EXTENSION)
    loaded = load_pack("newer", str(tmp_path), lambda value, path: value)
    assert list(loaded.classes) == ["First"] and loaded.titles == {"First": "The First"}
    assert loaded.report["skipped"] == [{"name": "Newer", "reason": "ValueError: ids must be unique"}]


def test_extra_nodes_are_there_without_an_import_of_their_own(tmp_path, monkeypatch):
    extras = types.ModuleType("comfy_extras")
    extras.__path__ = [str(tmp_path)]
    (tmp_path / "nodes_one.py").write_text("NUMBER = 1")
    monkeypatch.setitem(sys.modules, "comfy_extras", extras)
    host_modules._offer_modules()
    assert extras.nodes_one.NUMBER == 1
    assert not hasattr(extras, "nodes_two")
    sys.modules.pop("comfy_extras.nodes_one")


def test_inputs_called_cls_and_self_are_among_those_that_are_checked(tmp_path):
    text = """
class Node:
    INPUT_TYPES = classmethod(lambda c: {"required": {}})
    FUNCTION = "run"

    @classmethod
    def VALIDATE_INPUTS(s, cls, self=None):
        return True

class Plain(Node):
    @staticmethod
    def VALIDATE_INPUTS(cls, *, other=1, **more):
        return True

NODE_CLASS_MAPPINGS = {"Node": Node, "Plain": Plain}
"""
    (tmp_path / "__init__.py").write_text(text)
    checked = [cls["validate_inputs"] for cls in load_pack("checked", str(tmp_path), lambda value, path: value).report["classes"]]
    assert checked == [{"args": ["cls", "self"], "var_kw": False}, {"args": ["cls", "other"], "var_kw": True}]
