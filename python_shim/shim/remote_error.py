"""Raises what a node raised in its worker, so that ComfyUI shows it as if it had been raised here."""

from __future__ import annotations

import ast
import linecache
import os
import re
import sys
import types
from typing import Any, NoReturn

from ..wire.errors import CodedError, RemoteFailure
from .handles import Object, RemoteHandle, key_of_handle, object_of_handle, tag_of_handle

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>.+)$(?:\n    (?P<source>.+)$)?', re.MULTILINE)
#: No file of code is longer; a text that says so is no traceback of Python's.
_MOST_LINES = 1_000_000
_KNOWN = ("builtins", "torch", "torch.cuda")
#: What ComfyUI shows before the class name of an error of ours.
PRODUCT = "comfyui_envmanager"
_LAST = "Traceback (most recent call last):"


class NodeError(Exception):
    """An error of an isolated node. `worker_traceback` is the whole text from the worker."""

    __module__ = PRODUCT
    worker_traceback = ""


class HandleGone(NodeError):
    """An object among a node's inputs has ended with its process. The node has not run. `owners` are the processes, `objects` the
    objects, `makers` the nodes that made them, as handles name them, and `keys` what ComfyUI's cache calls the outputs of those: nodes that
    are equal have one."""

    __module__ = PRODUCT
    owners: frozenset[str] = frozenset()
    objects: frozenset[Object] = frozenset()
    makers: frozenset[str] = frozenset()
    keys: frozenset[Any] = frozenset()


def handle_gone(handle: RemoteHandle) -> HandleGone:
    """What a call gets that has an object of an ended process among its inputs. The user sees it only where running its maker again by
    itself did not help: a node in between that keeps the old one."""
    tag, key = tag_of_handle(handle), key_of_handle(handle)
    kind = str(tag.get("type", "object")).rpartition(".")[2]
    error = HandleGone(f"A {kind} that {tag.get('made_by')} made is gone with its worker.\n\nRun that node again: change an input of it.")
    error.owners, error.makers = frozenset([tag["owner"]]), frozenset([str(tag.get("made_by"))])
    error.objects = frozenset([object_of_handle(handle)])
    error.keys = frozenset() if key is None else frozenset([key])
    return error


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


def _place(file: str, line: int, name: str) -> types.TracebackType:
    """The traceback of something raised in that line of that function. It is really raised there: since 3.11 Python reads the line from
    the code, not from the traceback."""
    tree = ast.parse("raise error")
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr)):
            node.lineno = node.end_lineno = line
            node.col_offset = node.end_col_offset = -1  # unknown: nothing is underlined
    code = compile(tree, file, "exec").replace(co_name=name)
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=name)
    try:
        exec(code, {"error": KeyError()})  # our own line
    except KeyError as error:
        made = error.__traceback__
        assert made is not None and made.tb_next is not None
        return made.tb_next
    raise AssertionError


def _remember(file: str, line: int, source: str) -> None:
    """Where this machine has no such file, the line's text is what the worker sent of it."""
    if not source or os.path.exists(file):
        return
    known = linecache.cache.get(file)
    lines = list(known[2]) if known is not None and len(known) == 4 else []
    lines += ["\n"] * (line - len(lines))
    lines[line - 1] = source + "\n"
    linecache.cache[file] = (0, None, lines, file)  # without a time it is not looked for on disk


def _traceback(text: str, message: str) -> types.TracebackType | None:
    """The worker's frames as a traceback object: ComfyUI formats the object, not our text (`execution.py`). What looks like one in the
    message, which comes last, is none."""
    last = text[text.rfind(_LAST) :] if _LAST in text else text
    last = last[: last.rfind(message)] if message and message in last else last
    chain: types.TracebackType | None = None
    for match in reversed(list(_FRAME.finditer(last))):
        file, line = match["file"], int(match["line"])
        if not 0 < line < _MOST_LINES or re.search(r"/python_shim/(worker|wire)/", file.replace("\\", "/")):
            continue
        _remember(file, line, match["source"] or "")
        place = _place(file, line, match["name"])
        chain = types.TracebackType(chain, place.tb_frame, place.tb_lasti, place.tb_lineno)
    return chain


def told(error: CodedError) -> NodeError:
    """An error of ours as the user sees it: with what to do about it."""
    return (HandleGone if error.code == "HANDLE_GONE" else NodeError)("\n\n".join(part for part in (str(error), error.hint) if part))


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
        try:
            frames = _traceback(seen["traceback"], seen["message"])
        except Exception:  # noqa: BLE001 - whatever a pack has put into its texts: the error itself is told
            frames = None
        raise error.with_traceback(frames)
    made = told(failure)
    if isinstance(made, HandleGone):
        made.owners = frozenset(failure.details.get("owners", ()))
    raise made from None
