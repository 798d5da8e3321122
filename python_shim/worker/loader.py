"""Imports a node pack the way ComfyUI's `nodes.load_custom_node` does."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ..wire.errors import CodedError, describe_exception
from ..wire.pack_key import code_of, code_with, no_key, pack_key
from . import host_modules, host_start
from .describe import cannot_run, describe


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
    """A pack in this worker. `classes` by node class name; `report` is what `LoadedPack` of the schemas says of the pack alone."""

    classes: dict[str, type]
    titles: dict[str, str]
    report: dict[str, Any]


def load_pack(pack: str, folder: str, encode: Callable[[Any, str], Any]) -> Loaded:
    """Import the pack in `folder` and describe what it offers. Raises PackImportFailed."""
    before, key, code = host_modules.remember(), pack_key(folder), code_of(folder)
    try:
        classes, titles, module, broken = asyncio.run(_import(pack, folder))
    except CodedError:
        raise
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a pack is a failed import too
        raise PackImportFailed(pack, error) from error
    finally:
        host_start.after_packs()
    usable: dict[str, type] = {}
    skipped = broken
    for name, cls in classes.items():
        reason = cannot_run(cls)
        if reason is None:
            cls.RELATIVE_PYTHON_MODULE = f"custom_nodes.{pack}"
            usable[str(name)] = cls
        else:
            skipped.append({"name": str(name), "reason": reason})
    host_modules.add_nodes(usable, titles, pack, folder)
    web = getattr(module, "WEB_DIRECTORY", None)
    web_dir = os.path.abspath(os.path.join(folder, web)) if isinstance(web, str) else None
    offered = host_modules.added_since(pack, before)
    offered["key"] = key if key == pack_key(folder) else no_key()
    report = {"pack": pack, "web_directory": web_dir if web_dir is not None and os.path.isdir(web_dir) else None, **offered}
    loaded = Loaded(usable, titles, report)
    report.update(describe_classes(loaded, encode))
    report["code"] = code_with(code if code == code_of(folder) else no_key(), report["classes"])
    report["skipped"] += skipped
    for left_out in report["skipped"]:
        usable.pop(left_out["name"], None)
    return loaded


def describe_classes(loaded: Loaded, encode: Callable[[Any, str], Any]) -> dict[str, Any]:
    """The `NodeClass`es of a pack as they answer now, and those that cannot answer."""
    described, skipped = [], []
    for name, cls in loaded.classes.items():
        try:
            described.append(describe(name, cls, loaded.titles.get(name), encode))
        except Exception as error:  # noqa: BLE001 - one bad class does not take the others away
            skipped.append({"name": name, "reason": f"{type(error).__name__}: {error}"})
    return {"classes": described, "skipped": skipped}


async def _import(pack: str, folder: str) -> tuple[dict[str, Any], dict[str, str], Any, list[dict[str, str]]]:
    """Run the pack's prestartup script, then import it inside a running event loop as ComfyUI does."""
    prestartup = os.path.join(folder, "prestartup_script.py")
    if os.path.isfile(prestartup):
        _execute(f"{folder.replace('.', '_x_')}_prestartup", prestartup, None)
    module = _execute(folder.replace(".", "_x_"), os.path.join(folder, "__init__.py"), folder)
    mappings, put = getattr(module, "NODE_CLASS_MAPPINGS", None), host_modules.put_by_pack()
    if isinstance(mappings, dict) or put:
        titles = dict(getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", None) or {})
        return {**put, **(mappings if isinstance(mappings, dict) else {})}, titles, module, []
    entrypoint = getattr(module, "comfy_entrypoint", None)
    if callable(entrypoint):
        classes, titles, broken = await _from_entrypoint(entrypoint)
        return classes, titles, module, broken
    raise CodedError("PACK_IMPORT_FAILED", f"{pack} has no NODE_CLASS_MAPPINGS.", "It may be a web-only node pack.")


async def _from_entrypoint(entrypoint: Any) -> tuple[dict[str, Any], dict[str, str], list[dict[str, str]]]:
    """The node classes of a V3 extension (`nodes.py`, "V3 Extension Definition"). As there, what comes after a class that cannot be
    described (the pack is newer than ComfyUI, usually) is lost, and what came before is not."""
    extension = entrypoint()
    if asyncio.iscoroutine(extension):
        extension = await extension
    if hasattr(extension, "on_load"):
        await extension.on_load()
    classes: dict[str, Any] = {}
    titles: dict[str, str] = {}
    for cls in await extension.get_node_list():
        try:
            schema = cls.GET_SCHEMA()
        except Exception as error:
            if not classes:
                raise
            return classes, titles, [{"name": cls.__name__, "reason": f"{type(error).__name__}: {error}"}]
        classes[schema.node_id] = cls
        if schema.display_name is not None:
            titles[schema.node_id] = schema.display_name
    return classes, titles, []


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
