"""Which pack a node class is of."""

import sys
import types

import pytest

from python_shim.shim.node_owners import NodeOwners


@pytest.fixture
def mappings(monkeypatch):
    """Of a ComfyUI with one class of its own."""
    nodes = types.SimpleNamespace(NODE_CLASS_MAPPINGS={"Core": type("Core", (), {})})
    monkeypatch.setitem(sys.modules, "nodes", nodes)
    return nodes.NODE_CLASS_MAPPINGS


def test_a_folder_and_a_file_of_one_name_are_two(mappings):
    owners = NodeOwners()
    for pack, name in (("twin", "Folder"), ("", "File")):
        with owners.loading(pack):
            mappings[name] = type(name, (), {"RELATIVE_PYTHON_MODULE": "custom_nodes.twin"})
    assert [owners.pack_of(name) for name in ("Folder", "File", "Core")] == ["twin", "", ""]


def test_a_class_that_a_pack_puts_in_itself_is_the_packs(mappings):
    owners = NodeOwners()
    with owners.loading("pack"):
        mappings["Put"] = type("Put", (), {})
        mappings["Core"] = type("Core", (), {})
    mappings["Later"] = type("Later", (), {"RELATIVE_PYTHON_MODULE": "custom_nodes.pack"})
    assert [owners.pack_of(name) for name in ("Put", "Core", "Later")] == ["pack", "", "pack"]


def test_each_name_of_a_class_is_of_the_pack_that_has_given_it(mappings):
    owners, core = NodeOwners(), mappings["Core"]
    with owners.loading("pack"):
        mappings["Alias"] = core
        core.RELATIVE_PYTHON_MODULE = "custom_nodes.pack"
    assert [owners.pack_of(name) for name in ("Core", "Alias", "Absent")] == ["", "pack", ""]
