"""Runs before ComfyUI imports torch and its nodes: hands over to the shim."""

import importlib.util
import logging
import pathlib
import sys

NAME = "comfyui_envmanager_python"


def shim():
    """`python_shim.shim.main`, imported once, under a name that no other pack has."""
    if NAME not in sys.modules:
        folder = pathlib.Path(__file__).resolve().parent / "python_shim"
        spec = importlib.util.spec_from_file_location(NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[NAME])
    return importlib.import_module(f"{NAME}.shim.main")


try:
    shim().start()
except Exception:  # noqa: BLE001 - whatever is wrong with us, ComfyUI starts
    logging.getLogger("comfyui-envmanager").exception("comfyui-envmanager could not start")
