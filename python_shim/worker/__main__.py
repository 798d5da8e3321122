"""`python <this folder>`: a worker. The bridge speaks to it in JSON lines on the standard input and output it was given."""

import importlib.util
import os
import pathlib
import sys

NAME = "comfyui_envmanager_python"


def _load_package() -> None:
    """Import `python_shim` under its own name, whatever else is called `worker` on this interpreter's path."""
    folder = pathlib.Path(__file__).resolve().parent.parent
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != str(folder / "worker")]
    spec = importlib.util.spec_from_file_location(NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_package()
    importlib.import_module(f"{NAME}.worker.main").main()
