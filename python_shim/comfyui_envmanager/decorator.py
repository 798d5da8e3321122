"""`@isolated`: one node class in a worker, as its author wrote it down. Inside a worker it does nothing."""

from __future__ import annotations

import functools
import inspect
import os
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ._package import part
from .workers import TIMEOUT, TorchMPWorker, VenvWorker, Worker, get_worker, register_worker

Cls = TypeVar("Cls", bound=type)
_lock = threading.Lock()


def isolated(
    env: str,
    requirements: list[str] | None = None,
    config: str | None = None,
    python: str | None = None,
    cuda: str | None = "auto",
    timeout: float = TIMEOUT,
    log_callback: Callable[[str], None] | None = None,
    import_paths: list[str] | None = None,
    clone_tensors: bool = True,
    same_venv: bool = False,
) -> Callable[[Cls], Cls]:
    """Run the FUNCTION of a node class in another process.

    Inside ComfyUI it runs in its pack's worker, on the environment that the pack's config asks for, with progress and Cancel; elsewhere
    in a worker of `env`, on `python` or on this Python. `import_paths` are relative to the file of the class. `requirements` and `cuda`
    belong into the config, `config` is found by itself, and tensors need no cloning: these are accepted for the reference library's sake.
    """

    def decorate(cls: Cls) -> Cls:
        folder = pathlib.Path(inspect.getfile(cls)).resolve().parent
        paths = [str(folder), *(str((folder / entry).resolve()) for entry in import_paths or [])]
        if os.environ.get("COMFYUI_ISOLATION_WORKER") == "1":
            sys.path[:0] = [path for path in paths if path not in sys.path]
            return cls
        name = getattr(cls, "FUNCTION", None)
        original = getattr(cls, name, None) if isinstance(name, str) else None
        if not isinstance(name, str) or original is None:
            raise ValueError(f"{cls.__name__} needs a FUNCTION that names one of its methods.")

        def arguments(self: Any, args: Any, kwargs: Any) -> dict[str, Any]:
            bound = inspect.signature(original).bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = dict(bound.arguments)
            variable = next((p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
            more = given.pop(variable, {}) if variable else {}
            return {key: value for key, value in {**given, **more}.items() if value is not self}

        @functools.wraps(original)
        async def in_pack_worker(self: Any, *args: Any, **kwargs: Any) -> Any:
            shim, pack, node_class = _in_comfyui(type(self))
            node, prompt = part("shim.proxy").context()
            return await shim.calls.run(pack, node_class, "FUNCTION", node, prompt, arguments(self, args, kwargs), timeout)

        @functools.wraps(original)
        def in_own_worker(self: Any, *args: Any, **kwargs: Any) -> Any:
            worker = _worker(env, None if same_venv else python, folder, paths)
            module = pathlib.Path(inspect.getfile(cls)).stem
            if log_callback is not None:
                log_callback(f"{cls.__name__}.{name} runs in {worker.name}")
            return worker.call_method(module, cls.__name__, name, dict(vars(self)), arguments(self, args, kwargs), timeout)

        in_pack = not same_venv and python is None and _shim() is not None
        setattr(cls, name, in_pack_worker if in_pack else in_own_worker)
        marked: Any = cls
        marked._isolated_original_method, marked._isolated_env, marked._isolated_node_dir = original, env, folder
        return cls

    return decorate


def _shim() -> Any:
    """The shim of the ComfyUI that this process is; None in other programs."""
    module = sys.modules.get("comfyui_envmanager_python.shim.main")
    return None if module is None else module.current()


def _in_comfyui(cls: type) -> tuple[Any, str, str]:
    """Shim, pack and node class name of a decorated class that ComfyUI has loaded."""
    mappings = sys.modules["nodes"].NODE_CLASS_MAPPINGS
    name = next((name for name, known in mappings.items() if known is cls), cls.__name__)
    return _shim(), str(getattr(cls, "RELATIVE_PYTHON_MODULE", "")).removeprefix("custom_nodes."), name


def _worker(env: str, python: str | None, folder: pathlib.Path, paths: list[str]) -> Worker:
    with _lock:
        name = f"@isolated {env} {python or ''}"
        try:
            return get_worker(name)
        except (KeyError, RuntimeError):
            options: dict[str, Any] = {"working_dir": folder, "name": env}
            worker = TorchMPWorker(**options) if python is None else VenvWorker(python, **options)
            worker.sys_path = [*paths, *worker.sys_path]
            register_worker(name, worker)
            return worker
