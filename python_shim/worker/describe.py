"""What ComfyUI asks a node class before it calls it, as data: the `NodeClass` of the schemas."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..wire.live import live_inputs
from . import v3

#: Constants that have a field of their own in `NodeClass`, or that ComfyUI sets itself.
_KNOWN = frozenset(
    "INPUT_TYPES RETURN_TYPES RETURN_NAMES OUTPUT_TOOLTIPS FUNCTION CATEGORY DESCRIPTION INPUT_IS_LIST OUTPUT_IS_LIST OUTPUT_NODE "
    "DEPRECATED EXPERIMENTAL IS_CHANGED VALIDATE_INPUTS RELATIVE_PYTHON_MODULE SCHEMA".split()
)


def cannot_run(cls: Any) -> str | None:
    """Why a class cannot run in a worker; None if it can."""
    if not isinstance(cls, type):
        return "not a class"
    return None


def describe(name: str, cls: Any, title: str | None, encode: Callable[[Any, str], Any]) -> dict[str, Any]:
    """The `NodeClass` of the schemas, as the class answers now."""
    newer = v3.describe(cls) if v3.is_v3(cls) else None
    inputs = cls.INPUT_TYPES()
    graph = None if newer else get_input_info(cls)
    return {
        "name": name,
        "display_name": title,
        "function": str(getattr(cls, "FUNCTION", "")),
        "category": str(getattr(cls, "CATEGORY", "sd")),
        "description": str(getattr(cls, "DESCRIPTION", "")),
        "input_types": encode(inputs, f"{name}.INPUT_TYPES"),
        "return_types": encode(getattr(cls, "RETURN_TYPES", ()), f"{name}.RETURN_TYPES"),
        "return_names": encode(getattr(cls, "RETURN_NAMES", None), f"{name}.RETURN_NAMES"),
        "output_tooltips": encode(getattr(cls, "OUTPUT_TOOLTIPS", None), f"{name}.OUTPUT_TOOLTIPS"),
        "input_is_list": bool(getattr(cls, "INPUT_IS_LIST", False)),
        "output_is_list": encode(getattr(cls, "OUTPUT_IS_LIST", None), f"{name}.OUTPUT_IS_LIST"),
        "output_node": bool(getattr(cls, "OUTPUT_NODE", False)),
        "deprecated": bool(getattr(cls, "DEPRECATED", False)),
        "experimental": bool(getattr(cls, "EXPERIMENTAL", False)),
        "is_changed": v3.overrides(cls, "IS_CHANGED") if newer else hasattr(cls, "IS_CHANGED"),
        "validate_inputs": _validate_args(cls, newer is not None),
        "check_lazy_status": v3.overrides(cls, "check_lazy_status") if newer else hasattr(cls, "check_lazy_status"),
        "is_async": inspect.iscoroutinefunction(getattr(cls, "execute" if newer else str(getattr(cls, "FUNCTION", "")), None)),
        "live_inputs": live_inputs(inputs),
        "graph_input_types": encode(graph, f"{name}.INPUT_TYPES") if _differ(graph, inputs) else None,
        "attributes": _plain(v3.constants(cls) if newer else _constants(cls)),
        "v3": None if newer is None else {**newer, "info": encode(newer["info"], f"{name}.GET_NODE_INFO_V1")},
    }


def get_input_info(cls: Any) -> Any:
    """INPUT_TYPES as it answers ComfyUI's graph. Some classes look for callers of this very name, two frames up
    (`comfy_execution/graph.py`), and offer every input there."""

    def get_input_info() -> Any:
        return cls.INPUT_TYPES()

    try:
        return get_input_info()
    except Exception:  # noqa: BLE001 - such a class answers the ordinary question
        return None


def _differ(graph: Any, inputs: Any) -> bool:
    """Whether the graph gets another kind of answer: other sections, or containers of another class."""
    if not isinstance(graph, dict) or not isinstance(inputs, dict):
        return False
    return {key: type(value) for key, value in graph.items()} != {key: type(value) for key, value in inputs.items()}


def _constants(cls: Any) -> dict[str, Any]:
    """Further constants in capitals: newer ComfyUI versions ask for ones that this file need not know."""
    return {name: value for base in reversed(cls.__mro__[:-1]) for name, value in vars(base).items() if name.isupper()}


def _plain(constants: dict[str, Any]) -> dict[str, Any]:
    """Those that are switches, numbers that JavaScript can hold, text, and lists of texts, but for what has a field of its own."""
    found = {name: value for name, value in constants.items() if name not in _KNOWN}
    return {name: value for name, value in found.items() if _is_text_or_switch(value) or (isinstance(value, int) and abs(value) < 1 << 53)}


def _is_text_or_switch(value: Any) -> bool:
    return isinstance(value, (bool, str)) or (isinstance(value, list) and all(type(item) is str for item in value))


def _validate_args(cls: Any, newer: bool) -> dict[str, Any] | None:
    """The argument names of VALIDATE_INPUTS: ComfyUI decides by them which inputs to pass (`execution.py`)."""
    if newer and not v3.overrides(cls, "VALIDATE_INPUTS"):
        return None
    if not newer and not hasattr(cls, "VALIDATE_INPUTS"):
        return None
    method = cls.validate_inputs if newer else cls.VALIDATE_INPUTS
    spec = inspect.getfullargspec(method)
    own = spec.args[1:] if inspect.ismethod(method) else spec.args  # its first is the class, whatever it is called
    return {"args": [*own, *spec.kwonlyargs], "var_kw": spec.varkw is not None}
