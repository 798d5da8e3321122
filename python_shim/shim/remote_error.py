"""Raises what a node raised in its worker, so that ComfyUI shows it as if it had been raised here."""

from __future__ import annotations

import re
import sys
import types
from typing import NoReturn

from ..wire.errors import RemoteFailure

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>.+)$', re.MULTILINE)
_KNOWN = ("builtins", "torch", "torch.cuda")
_LAST = "Traceback (most recent call last):"


class NodeError(Exception):
    """An error of an isolated node. `worker_traceback` is the whole text from the worker."""

    worker_traceback = ""


class HandleGone(NodeError):
    """An object among a node's inputs has ended with its process. The node has not run."""


def handle_gone() -> HandleGone:
    """What a call gets that has an object of an ended process among its inputs."""
    return HandleGone(
        "An object of a worker that has ended is among this node's inputs.\n\nRun again: the node that made it runs once more."
    )


def _local(name: str, module: str, message: str) -> NodeError:
    """An error with the class name and the words of the worker's, and its base where that is possible: a built-in one, or torch's, since
    ComfyUI unloads its models after torch's OutOfMemoryError (`execution.py`)."""
    base = getattr(sys.modules.get(module), name, None) if module in _KNOWN else None
    # KeyError would quote its message once more
    body = {"__module__": module, "__str__": BaseException.__str__}
    if isinstance(base, type) and issubclass(base, Exception) and base is not Exception:
        try:
            made: NodeError = type(name, (NodeError, base), body)(message)
            return made
        except TypeError:  # two built-in layouts that cannot be one class, or an error that is made of more than a message
            pass
    made = type(name, (NodeError,), body)(message)
    return made


def _frame(file: str, name: str) -> types.FrameType:
    """A frame that claims to be in that file and function: only its name and place are ever read."""
    code = compile("import sys\nframe = sys._getframe()", file, "exec").replace(co_name=name)
    space: dict[str, types.FrameType] = {}
    exec(code, space)  # our own two lines
    return space["frame"]


def _traceback(text: str) -> types.TracebackType | None:
    """The worker's frames as a traceback object: ComfyUI formats the object, not our text (`execution.py`)."""
    last = text[text.rfind(_LAST) :] if _LAST in text else text
    chain: types.TracebackType | None = None
    for match in reversed(list(_FRAME.finditer(last))):
        if re.search(r"/python_shim/(worker|wire)/", match["file"].replace("\\", "/")):
            continue
        chain = types.TracebackType(chain, _frame(match["file"], match["name"]), 0, int(match["line"]))
    return chain


def raise_remote(failure: RemoteFailure) -> NoReturn:
    """Raise the local form of an error answer: the node's exception, ComfyUI's interrupt, or ours with its hint."""
    if failure.code == "NODE_INTERRUPTED":
        management = sys.modules.get("comfy.model_management")
        if management is not None:
            raise management.InterruptProcessingException()
    if failure.code == "NODE_RAISED" and failure.exception is not None:
        seen = failure.exception
        error = _local(seen["type"], seen["module"], seen["message"])
        error.worker_traceback = seen["traceback"]
        raise error.with_traceback(_traceback(seen["traceback"]))
    kind = HandleGone if failure.code == "HANDLE_GONE" else NodeError
    raise kind("\n\n".join(part for part in (str(failure), failure.hint) if part)) from None
