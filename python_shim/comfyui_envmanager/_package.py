"""Finds the other parts of the product, under whatever name this package was imported."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
from typing import Any

NAME = "comfyui_envmanager_python"


def part(name: str) -> Any:
    """A module of the shim, the wire or the worker: `part("wire.encoder")`."""
    if NAME not in sys.modules:
        folder = pathlib.Path(__file__).resolve().parent.parent
        spec = importlib.util.spec_from_file_location(NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None and spec.loader is not None
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[NAME])
    return importlib.import_module(f"{NAME}.{name}")
