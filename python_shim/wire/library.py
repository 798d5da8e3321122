"""Makes `import comfyui_envmanager` find our package of that name: packs written for the reference library import it."""

from __future__ import annotations

import importlib.abc
import importlib.util
import pathlib
import sys
from typing import Any

_NAME = "comfyui_envmanager"


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that one name, before whatever is installed under it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != _NAME:
            return None
        folder = pathlib.Path(__file__).resolve().parent.parent / _NAME
        return importlib.util.spec_from_file_location(fullname, folder / "__init__.py", submodule_search_locations=[str(folder)])


def provide() -> None:
    """From now on the name is ours. Idempotent."""
    if not any(type(finder).__name__ == _Finder.__name__ and type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
