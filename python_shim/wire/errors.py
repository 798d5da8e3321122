"""Errors that name a code of the protocol.

CodedError
├── NotPortable     a value that cannot leave its process
├── NodeRaised      what a node of this process raised
└── RemoteFailure   what the other side answered
"""

from __future__ import annotations

import errno
import traceback
from typing import Any

#: Of a class or a module.
_LONGEST_NAME = 300


class CodedError(Exception):
    """`code` is one of `schemas/errors.ts`; `hint` says what to do."""

    def __init__(self, code: str, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code, self.hint, self.details = code, hint, details

    def wire(self) -> dict[str, Any]:
        """The error as it travels."""
        error: dict[str, Any] = {"code": self.code, "message": str(self), "hint": self.hint}
        if self.details:
            error["details"] = self.details
        return error


class NotPortable(CodedError):
    """A value that cannot leave its process; `path` says where in the message it stands."""

    def __init__(self, path: str, kind: str, why: str, hint: str) -> None:
        super().__init__("VALUE_NOT_PORTABLE", f"{path} is {kind}, {why}.", hint)


class RemoteFailure(CodedError):
    """An error answer. `exception` is what a node raised, if a node raised."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["code"], error["message"], error.get("hint", ""))
        self.details = error.get("details", {})
        self.exception: dict[str, str] | None = error.get("exception")


class NodeRaised(CodedError):
    """A node's own exception."""

    def __init__(self, node: str, error: BaseException) -> None:
        self.exception = seen = describe_exception(error)
        super().__init__("NODE_RAISED", f"{node} raised {seen['type']}: {seen['message']}", "The traceback names the place.")

    def wire(self) -> dict[str, Any]:
        return {**super().wire(), "exception": self.exception}


def describe_exception(error: BaseException) -> dict[str, str]:
    """`RemoteException` of the schemas: class name, message and the whole traceback with its causes."""
    try:
        text, message = "".join(traceback.format_exception(type(error), error, error.__traceback__)), str(error)
    except Exception as strange:  # noqa: BLE001 - a pack's class may not be able to say what it is
        text = message = f"an exception that cannot be shown ({type(strange).__name__})"
    kind = type(error)
    module = kind.__module__ if isinstance(kind.__module__, str) else "unknown"
    name, module = printable(str(kind.__qualname__))[:_LONGEST_NAME], printable(module)[:_LONGEST_NAME]
    # a frame's header holds a megabyte, and a character may take six bytes of it
    return {"type": name, "module": module, "message": printable(message[:10_000]), "traceback": printable(text[-50_000:])}


def printable(text: str) -> str:
    """Text that every log and terminal can show: control characters and lone surrogates are spelled out."""
    shown = "".join(char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text)
    return shown.encode("utf-8", "backslashreplace").decode()


#: Why mapping failed, where the memory itself is there: what to do about it.
_RIGHTS = ("this process may not open it", "Both processes must run as the same user, with the same rights.")
_MAPPING = {
    errno.ENOMEM: (
        "this process may not map more memory",
        "Free memory (ComfyUI's Unload button), or send smaller batches.",
    ),
    errno.EMFILE: ("this process has too many files open", "Raise the limit (`ulimit -n`), or keep fewer results at a time."),
    errno.ENFILE: ("the machine has too many files open", "Raise the limit (`fs.file-max`), or end other programs."),
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
}


def memory_error(error: OSError, what: str) -> CodedError:
    """Why the shared memory of `what` (`an input of X`) could not be read: its owner has gone, or this process cannot have it."""
    if isinstance(error, (FileNotFoundError, ProcessLookupError)):
        text = f"The memory of {what} has gone with the process that owned it ({error})."
        return CodedError("SEGMENT_GONE", text, "Run again.")
    why, hint = _MAPPING.get(error.errno or 0, (str(error), "Run again; if it stays, restart ComfyUI."))
    full = error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
    return CodedError("MEMORY_FULL" if full else "INTERNAL", f"The memory of {what} cannot be read: {why} ({error}).", hint)
