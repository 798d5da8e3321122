"""Imports a node pack the way ComfyUI's `nodes.load_custom_node` does, and describes its node classes."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ..wire.errors import CodedError, describe_exception
from ..wire.live import live_inputs


class PackImportFailed(CodedError):
    """The pack's own code raised while it was imported."""

    def __init__(self, pack: str, error: BaseException) -> None:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        hint = f"Add {missing} to what {pack} installs, then install again." if missing else "The worker's log has the traceback."
        super().__init__("PACK_IMPORT_FAILED", f"{pack} cannot be imported: {type(error).__name__}: {error}", hint)
        self.exception = describe_exception(error)
        if missing:
            self.details["missing_module"] = missing

    def wire(self) -> dict[str, Any]:
        return {**super().wire(), "exception": self.exception}


class Loaded(NamedTuple):
    """`classes` by node class name; `report` is the `LoadedPack` of the schemas."""

    classes: dict[str, type]
    report: dict[str, Any]


def load_pack(pack: str, folder: str, encode: Callable[[Any, str], Any]) -> Loaded:
    """Import the pack in `folder` and describe what it offers. Raises PackImportFailed."""
    try:
        module = asyncio.run(_import(folder))
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a pack is a failed import too
        raise PackImportFailed(pack, error) from error
    mappings = getattr(module, "NODE_CLASS_MAPPINGS", None)
    if not isinstance(mappings, dict):
        if callable(getattr(module, "comfy_entrypoint", None)):
            why = f"{pack} has only V3 node classes (comfy_entrypoint), which a worker cannot run yet."
            raise CodedError("PACK_IMPORT_FAILED", why, "Leave isolation off for this node pack.")
        raise CodedError("PACK_IMPORT_FAILED", f"{pack} has no NODE_CLASS_MAPPINGS.", "It may be a web-only node pack.")
    titles = getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", None) or {}
    classes: dict[str, type] = {}
    described: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for name, cls in mappings.items():
        reason = _cannot_run(cls)
        if reason is None:
            try:
                cls.RELATIVE_PYTHON_MODULE = f"custom_nodes.{pack}"
                described.append(_describe(name, cls, titles.get(name), encode))
                classes[name] = cls
                continue
            except Exception as error:  # noqa: BLE001 - one bad class does not take the others away
                reason = f"{type(error).__name__}: {error}"
        skipped.append({"name": str(name), "reason": reason})
    web = getattr(module, "WEB_DIRECTORY", None)
    web_dir = os.path.abspath(os.path.join(folder, web)) if isinstance(web, str) else None
    web_dir = web_dir if web_dir is not None and os.path.isdir(web_dir) else None
    return Loaded(classes, {"pack": pack, "classes": described, "skipped": skipped, "web_directory": web_dir})


async def _import(folder: str) -> Any:
    """Run the pack's prestartup script, then import it inside a running event loop as ComfyUI does."""
    prestartup = os.path.join(folder, "prestartup_script.py")
    if os.path.isfile(prestartup):
        _execute(f"{folder.replace('.', '_x_')}_prestartup", prestartup, None)
    return _execute(folder.replace(".", "_x_"), os.path.join(folder, "__init__.py"), folder)


def _execute(name: str, file: str, package: str | None) -> Any:
    locations = None if package is None else [package]
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=locations)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _cannot_run(cls: Any) -> str | None:
    """Why a class cannot run in a worker; None if it can."""
    if not isinstance(cls, type):
        return "not a class"
    internal = sys.modules.get("comfy_api.internal")
    if internal is not None and issubclass(cls, internal._ComfyNodeInternal):
        return "a V3 node class, which a worker cannot run yet"
    if not isinstance(getattr(cls, "FUNCTION", None), str):
        return "has no FUNCTION"
    return None


def _describe(name: str, cls: Any, title: str | None, encode: Callable[[Any, str], Any]) -> dict[str, Any]:
    """The `NodeClass` of the schemas."""
    inputs = cls.INPUT_TYPES()
    returns = getattr(cls, "RETURN_TYPES", ())
    return {
        "name": name,
        "display_name": title,
        "function": cls.FUNCTION,
        "category": str(getattr(cls, "CATEGORY", "sd")),
        "description": str(getattr(cls, "DESCRIPTION", "")),
        "input_types": encode(inputs, f"{name}.INPUT_TYPES"),
        "return_types": encode(returns, f"{name}.RETURN_TYPES"),
        "return_names": encode(getattr(cls, "RETURN_NAMES", None), f"{name}.RETURN_NAMES"),
        "output_tooltips": encode(getattr(cls, "OUTPUT_TOOLTIPS", None), f"{name}.OUTPUT_TOOLTIPS"),
        "input_is_list": bool(getattr(cls, "INPUT_IS_LIST", False)),
        "output_is_list": encode(getattr(cls, "OUTPUT_IS_LIST", None), f"{name}.OUTPUT_IS_LIST"),
        "output_node": bool(getattr(cls, "OUTPUT_NODE", False)),
        "deprecated": bool(getattr(cls, "DEPRECATED", False)),
        "experimental": bool(getattr(cls, "EXPERIMENTAL", False)),
        "is_changed": hasattr(cls, "IS_CHANGED"),
        "validate_inputs": _validate_args(cls),
        "check_lazy_status": hasattr(cls, "check_lazy_status"),
        "live_inputs": live_inputs(inputs),
    }


def _validate_args(cls: Any) -> dict[str, Any] | None:
    """The argument names of VALIDATE_INPUTS: ComfyUI decides by them which inputs to pass (`execution.py`)."""
    if not hasattr(cls, "VALIDATE_INPUTS"):
        return None
    spec = inspect.getfullargspec(cls.VALIDATE_INPUTS)
    return {"args": [arg for arg in spec.args if arg not in ("cls", "self")], "var_kw": spec.varkw is not None}
