"""Who may import whom in the Python half (docs/architecture.md)."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
STANDARD = sys.stdlib_module_names
#: What ComfyUI always has, and its own modules.
HOST = {
    "aiohttp",
    "yarl",
    "numpy",
    "torch",
    "PIL",
    "folder_paths",
    "comfy",
    "comfy_api",
    "comfy_config",
    "comfyui_version",
    "comfy_execution",
    "uv",
}
#: numpy and torch only where the env has them; the rest only where ComfyUI's root is on the path.
WORKER = {"numpy", "torch", "aiohttp", "comfy_execution"}
ALLOWED = {
    "shim": (STANDARD | HOST, {"wire"}),
    "worker": (STANDARD | WORKER, {"wire"}),
    "wire": (STANDARD | WORKER, set()),
    "comfyui_envmanager": (STANDARD, set()),
}


def imports(path):
    """Top-level names that a file imports absolutely, and sibling packages that it imports relatively."""
    absolute, siblings = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            absolute.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            siblings.add((node.module or node.names[0].name).split(".")[0])
    return absolute, siblings


FILES = [path for package in ALLOWED for path in sorted((ROOT / package).glob("*.py")) if path.name != "_protocol_types.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_go_one_way(path):
    allowed, siblings = ALLOWED[path.parent.name]
    absolute, relative = imports(path)
    assert absolute - allowed - {"_protocol_types", "__future__"} == set()
    assert relative - siblings == set()


def test_a_worker_needs_nothing_but_python():
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); import python_shim.worker.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code, str(ROOT.parent)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


def test_nothing_is_pickled():
    for path in FILES:
        absolute, _ = imports(path)
        assert not absolute & {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
