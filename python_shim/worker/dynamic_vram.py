"""Dynamic VRAM (comfy-aimdo) in a worker, as ComfyUI's `main.py` and its executor have it in their process: in the same order, and only
where ComfyUI has switched it on. What goes wrong is said in the worker's log, and models are loaded as without it."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ..wire.importing import when_imported

#: By its name in `--verbose`: the function of `comfy_aimdo.control`, and what older ones have instead.
_LOG = {
    "DEBUG": ("set_log_debug",),
    "DETAIL": ("set_log_detail", "set_log_info"),
    "WARNING": ("set_log_warning",),
    "ERROR": ("set_log_error",),
    "CRITICAL": ("set_log_critical",),
}


class _Prompt:
    """The models that nodes of the prompt that runs have been given or have made: they go last when memory is wanted."""

    def __init__(self, tracker: Any, level: str) -> None:
        self._tracker, self._name = tracker, None
        self.analyzes = level == "DEBUG"

    def uses(self, prompt: str | None, values: Any) -> None:
        if self._tracker is None:
            return
        if prompt != self._name:
            self._tracker.start()
            self._name = prompt
        self._tracker.add(values)

    def end(self, prompt: str) -> None:
        if self._tracker is not None and prompt == self._name:
            self._tracker.end()
            self._name = None


#: None: it is off.
_on: _Prompt | None = None


def prepare(args: Any) -> None:
    """Before torch is imported. `args` are ComfyUI's."""
    reserved = getattr(args, "reserve_vram", None)
    headroom = {"simple_vram_headroom": None if reserved is None else int(reserved * 1024**3)}
    pressure = {"nvml_pressure": not getattr(args, "disable_nvml_pressure", False)}
    try:
        control = importlib.import_module("comfy_aimdo.control")
        _first_known(functools.partial(control.init, **given) for given in ({**headroom, **pressure}, headroom, {}))
    except Exception as error:  # noqa: BLE001 - an env may be without it, and a driver may be too old
        return _say(f"{type(error).__name__}: {error}")
    when_imported("comfy.model_patcher", functools.partial(_switch_on, control, args))


def uses(prompt: str | None, values: Any) -> None:
    """A node of a prompt has been given these values, or has returned them."""
    if _on is not None:
        _guarded(_on.uses, prompt, getattr(values, "args", values))  # a V3 node's outputs


def prompt_ended(prompt: str) -> None:
    """Its models may go."""
    if _on is not None:
        _guarded(_on.end, prompt)


def node_ended(method: str) -> None:
    """What the executor does after each node (`execution.py`)."""
    if _on is not None and method == "FUNCTION":
        _guarded(_clean_up, _on.analyzes)


def _clean_up(analyzes: bool) -> None:
    if analyzes:
        importlib.import_module("comfy_aimdo.control").analyze()
    sys.modules["comfy.model_management"].reset_cast_buffers()
    try:
        importlib.import_module("comfy.model_prefetch").cleanup_prefetch_queues()
    finally:
        importlib.import_module("comfy_aimdo.model_vbar").vbars_reset_watermark_limits()


def _switch_on(control: Any, args: Any, patcher: Any) -> None:
    """ComfyUI's modules have been imported, and nobody has made a model yet."""
    global _on
    try:
        management, memory = (importlib.import_module(f"comfy.{name}") for name in ("model_management", "memory_management"))
        line: Any = sys.modules["comfy.cli_args"]
        if not args.enable_dynamic_vram and management.torch_version_numeric < (2, 8):
            return _say(f"this env has torch {management.torch_version_numeric}, and it wants 2.8")
        extra = int(getattr(args, "vram_headroom", 0) * 1024**3)
        devices = [device.index for device in management.get_all_torch_devices()]
        starts = ((control.init_devices, [(index, extra) for index in devices]), (control.init_devices, devices))
        if not _first_known(functools.partial(start, iter(given)) for start, given in starts):
            return _say("comfy-aimdo cannot use the GPU from here")
        level = line.get_console_log_level(args.verbose) if hasattr(line, "get_console_log_level") else str(args.verbose)
        names = _LOG.get(level, ("set_log_info",))
        next(getattr(control, name) for name in names if hasattr(control, name))()
        tracker = getattr(patcher, "PromptModelTracker", None)
        made = _Prompt(None if tracker is None else tracker(), level)
        patcher.CoreModelPatcher = patcher.ModelPatcherDynamic
        vars(memory)["aimdo_enabled"] = True
        _on = made
    except Exception as error:  # noqa: BLE001 - as above
        return _say(f"{type(error).__name__}: {error}")
    print("[comfyui-envmanager] Dynamic VRAM is on in this worker, as in ComfyUI.", file=sys.stderr, flush=True)


def _first_known(ways: Iterable[Callable[[], Any]]) -> Any:
    """Earlier versions of comfy-aimdo take less: the first call whose arguments it knows."""
    error: TypeError | None = None
    for way in ways:
        try:
            return way()
        except TypeError as refused:
            error = refused
    assert error is not None
    raise error


_said: set[str] = set()


def _guarded(work: Callable[..., None], *given: Any) -> None:
    try:
        work(*given)
    except Exception as error:  # noqa: BLE001 - the node itself has run
        why = f"{type(error).__name__}: {error}"
        if why not in _said:
            _said.add(why)
            print(f"[comfyui-envmanager] Dynamic VRAM, after a node: {why}", file=sys.stderr, flush=True)


def _say(why: str) -> None:
    print(f"[comfyui-envmanager] Dynamic VRAM is on in ComfyUI and off in this worker: {why}.", file=sys.stderr, flush=True)
