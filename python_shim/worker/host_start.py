"""What ComfyUI's `main.py` does beside importing modules, in a worker, which never runs it. `docs/comfyui-versions.md` has each part of it,
and why a worker does it or does not."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import mimetypes
import os
import sys
from typing import Any

from ..wire.importing import when_imported
from . import dynamic_vram, server_names

#: Packages that ComfyUI is told to use for attention. It ends a process that lacks one.
_ATTENTION = {"use_sage_attention": "sageattention", "use_flash_attention": "flash_attn", "use_ck_attention": "comfy_kitchen"}
#: Undoes what packs have put in place of functions of ComfyUI's that it wants as they are.
_BREAKER = "hook_breaker_ac10a0"


def before_packs(folders: dict[str, Any]) -> None:
    """Once ComfyUI's modules can be imported, and before torch or a pack is. `folders` is the `HostFolders` of the schemas."""
    _file_types(folders["root"])
    when_imported("app.database.db", _close_database)
    when_imported("comfy.model_management", _keep_functions)
    try:
        args = importlib.import_module("comfy.cli_args").args
    except ImportError:  # a ComfyUI without a command line
        return
    if hasattr(args, "enable_manager"):
        args.enable_manager = False  # ComfyUI has done what it does at its start; here `nodes` would import it once more
    _only_attention_that_is_there(args)
    if folders.get("started", {}).get("dynamic_vram"):
        dynamic_vram.prepare(args)
    if getattr(args, "deterministic", False) or getattr(args, "fast", None):
        when_imported("torch", _set_up_torch)


def after_packs() -> None:
    """The import of a pack is over: what ComfyUI puts back then."""
    getattr(sys.modules.get("comfy.model_management"), "set_cudnn_benchmark", lambda: None)()
    restore_functions()


def restore_functions() -> None:
    """What ComfyUI does between prompts as well."""
    breaker = sys.modules.get(_BREAKER)
    if breaker is not None:
        breaker.restore_functions()


def log_level() -> int | str:
    """The level from which on ComfyUI shows what is logged."""
    with contextlib.suppress(Exception):  # an older ComfyUI, or none
        line = importlib.import_module("comfy.cli_args")
        level = line.args.verbose
        if hasattr(line, "get_console_log_level"):
            level = line.get_console_log_level(level)
            importlib.import_module("comfy.internal_logging")  # names a level of its own
        if isinstance(logging.getLevelName(level), int):
            return logging.getLevelName(level)
    return "INFO"


def show_previews(call: dict[str, Any]) -> None:
    """Samplers show their latents as the prompt's client has chosen, which the executor sets inside (`latent_preview.py`)."""
    line = sys.modules.get("comfy.cli_args")
    if "preview" in call and line is not None:
        with contextlib.suppress(ValueError):  # a word of another version
            line.args.preview_method = line.LatentPreviewMethod(call["preview"])


def _only_attention_that_is_there(args: Any) -> None:
    """A sealed env may be without what ComfyUI's own has: its pack runs all the same, with torch's attention."""
    for flag, package in _ATTENTION.items():
        if getattr(args, flag, False) and importlib.util.find_spec(package) is None:
            setattr(args, flag, False)
            what = f"--{flag.replace('_', '-')} is off in this worker: its environment has no {package}."
            print(f"[comfyui-envmanager] {what}", file=sys.stderr, flush=True)


def _file_types(root: str) -> None:
    if os.path.isfile(os.path.join(root, "utils", "mime_types.py")):
        importlib.import_module("utils.mime_types").init_mime_types()
    else:  # older versions do it in `server.py`
        mimetypes.init()
        mimetypes.add_type("application/javascript; charset=utf-8", ".js")
        mimetypes.add_type("image/webp", ".webp")


def _close_database(database: Any) -> None:
    """Only one process may have ComfyUI's database open. Inside, `main.py` opens it; here nobody does, and who asks is told."""
    for name in ("init_db", "create_session"):
        if hasattr(database, name):
            setattr(database, name, server_names.Unreachable(f"ComfyUI's database ({name})"))


def _keep_functions(management: Any) -> None:
    """Before a pack can put another in place of one."""
    sys.modules["comfy"].model_management = management  # type: ignore[attr-defined] - as the import is about to do
    with contextlib.suppress(ImportError):
        importlib.import_module(_BREAKER).save_functions()


def _set_up_torch(torch: Any) -> None:
    """`--deterministic` and `--fast` hold for a pack too that uses torch and nothing of ComfyUI, which sets torch up as a whole."""
    importlib.import_module("comfy.model_management")
