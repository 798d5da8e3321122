"""Node classes of ComfyUI's newer kind (`comfy_api.latest.io.ComfyNode`): described and called as its executor does."""

from __future__ import annotations

import inspect
import sys
from typing import Any

#: The name under which the hidden values of a V3 node travel among its keyword arguments.
HIDDEN = "__hidden__"
#: Our words for its methods, by V1's.
_METHODS = {"IS_CHANGED": "fingerprint_inputs", "VALIDATE_INPUTS": "validate_inputs", "check_lazy_status": "check_lazy_status"}


def is_v3(cls: Any) -> bool:
    """Whether ComfyUI treats this class as V3 (`execution.py`)."""
    internal = sys.modules.get("comfy_api.internal")
    return internal is not None and isinstance(cls, type) and issubclass(cls, internal._ComfyNodeInternal)


def overrides(cls: Any, method: str) -> bool:
    """Whether the class has that method of its own; `method` is V1's word."""
    internal = sys.modules["comfy_api.internal"]
    return internal.first_real_override(cls, _METHODS[method]) is not None


def method(cls: Any, name: str, hidden: dict[str, Any]) -> Any:
    """The bound method on a clone of the class that holds the hidden values (`execution.py`, `_async_map_node_over_list`)."""
    internal = sys.modules["comfy_api.internal"]
    cls.VALIDATE_CLASS()
    if cls.SCHEMA is None:
        cls.GET_SCHEMA()
    function = cls.FUNCTION if name == "FUNCTION" else _METHODS[name]
    values = {_hidden_key(key): value for key, value in hidden.items()}
    takes = inspect.signature(cls.PREPARE_CLASS_CLONE).parameters
    clone = cls.PREPARE_CLASS_CLONE({"hidden_inputs": values} if "v3_data" in takes else values)
    return internal.make_locked_method_func(cls, function, clone)


def _hidden_key(name: str) -> Any:
    """The member of ComfyUI's `Hidden` with that name; text where this version has none."""
    kinds: Any = sys.modules.get("comfy_api.latest._io") or sys.modules.get("comfy_api.latest.io")
    return getattr(getattr(kinds, "Hidden", None), name, name)


def constants(cls: Any) -> dict[str, Any]:
    """What ComfyUI works out from a schema, by its names (`classproperty` of its base class): newer versions ask for more of them."""
    names = {name for base in cls.GET_BASE_CLASS().__mro__ for name in vars(base) if name.isupper() and f"_{name}" in vars(base)}
    return {name: getattr(cls, name) for name in sorted(names)}


def describe(cls: Any) -> dict[str, Any]:
    """What only V3 classes have, for `NodeClass.v3` of the schemas; not yet encoded."""
    schema = cls.GET_SCHEMA()
    hidden = [member.name for member in (schema.hidden or [])]
    return {"info": cls.GET_NODE_INFO_V1(), "hidden": hidden, "expand": bool(getattr(schema, "enable_expand", False))}
