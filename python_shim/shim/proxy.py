"""Node classes whose work is done in a worker: proxies for packs that ComfyUI does not import, patches for those it has."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ..wire.decoder import Decoder
from .calls import Calls

_ABSENT = object()


def context() -> tuple[str, str | None]:
    """Node id and prompt id of the node that ComfyUI runs now (`comfy_execution/utils.py`)."""
    utils = sys.modules.get("comfy_execution.utils")
    current = utils.get_executing_context() if utils is not None else None
    return ("", None) if current is None else (str(current.node_id), current.prompt_id)


def _function(calls: Calls, pack: str, name: str, own_class: Callable[[Any], bool], original: Any) -> Any:
    """The async FUNCTION. A subclass that another pack made of a patched class keeps the original."""

    async def isolated(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not own_class(type(self)):
            result = original(self, *args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        node, prompt = context()
        return await calls.run(pack, name, "FUNCTION", node, prompt, kwargs)

    return isolated


def _belongs(pack: str) -> Callable[[Any], bool]:
    return lambda cls: getattr(cls, "RELATIVE_PYTHON_MODULE", None) == f"custom_nodes.{pack}"


class Patch:
    """A class of a loaded pack whose FUNCTION goes to the worker. Takes effect at the next run, cached instances included."""

    def __init__(self, calls: Calls, pack: str, name: str, cls: Any) -> None:
        self._cls, self._attribute = cls, cls.FUNCTION
        self._before = cls.__dict__.get(cls.FUNCTION, _ABSENT)
        original = getattr(cls, cls.FUNCTION)
        setattr(cls, cls.FUNCTION, _function(calls, pack, name, _belongs(pack), original))

    def undo(self) -> None:
        """Put back exactly what was there: an inherited method is inherited again."""
        if self._before is _ABSENT:
            delattr(self._cls, self._attribute)
        else:
            setattr(self._cls, self._attribute, self._before)


def _forward(calls: Calls, pack: str, name: str, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def forwarded(cls: Any, **kwargs: Any) -> Any:
        node, prompt = context()
        return await calls.run(pack, name, method, node, prompt, kwargs)

    return forwarded


def _validate(calls: Calls, pack: str, name: str, spec: dict[str, Any]) -> classmethod[Any, Any, Any]:
    """VALIDATE_INPUTS with the pack's own signature: ComfyUI decides by it which inputs to pass (`execution.py`)."""
    function: Any = _forward(calls, pack, name, "VALIDATE_INPUTS")
    kinds = inspect.Parameter
    parameters = [kinds("cls", kinds.POSITIONAL_OR_KEYWORD)]
    parameters += [kinds(arg, kinds.POSITIONAL_OR_KEYWORD) for arg in spec["args"]]
    if spec["var_kw"]:
        parameters.append(kinds("kwargs", kinds.VAR_KEYWORD))
    function.__signature__ = inspect.Signature(parameters)
    return classmethod(function)


def make_proxy(calls: Calls, pack: str, spec: dict[str, Any]) -> type:
    """A class that answers ComfyUI's questions from `spec` (the `NodeClass` of the schemas) and runs in the worker."""
    decode = Decoder(lambda lease: None, lambda tag: None).decode
    name, inputs = spec["name"], decode(spec["input_types"])
    body: dict[str, Any] = {
        "__module__": f"custom_nodes.{pack}",
        "__doc__": f"Isolated: runs in the worker of {pack}.",
        "RELATIVE_PYTHON_MODULE": f"custom_nodes.{pack}",
        "INPUT_TYPES": classmethod(lambda cls: inputs),
        "RETURN_TYPES": decode(spec["return_types"]),
        "FUNCTION": spec["function"],
        "CATEGORY": spec["category"],
        "DESCRIPTION": spec["description"],
        "INPUT_IS_LIST": spec["input_is_list"],
        "OUTPUT_NODE": spec["output_node"],
        "DEPRECATED": spec["deprecated"],
        "EXPERIMENTAL": spec["experimental"],
        spec["function"]: _function(calls, pack, name, _belongs(pack), None),
    }
    for attribute in ("return_names", "output_tooltips", "output_is_list"):
        if spec[attribute] is not None:
            body[attribute.upper()] = decode(spec[attribute])
    if spec["is_changed"]:
        body["IS_CHANGED"] = classmethod(_forward(calls, pack, name, "IS_CHANGED"))
    if spec["validate_inputs"] is not None:
        body["VALIDATE_INPUTS"] = _validate(calls, pack, name, spec["validate_inputs"])
    if spec["check_lazy_status"]:
        body["check_lazy_status"] = _forward(calls, pack, name, "check_lazy_status")
    return type(name, (), body)
