"""A process that a node has forked shares the worker's links, and must not speak on them: the call is its parent's."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

_is_child = False


def _forked() -> None:
    global _is_child
    _is_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def is_child() -> bool:
    """Whether this process is a fork of the worker."""
    return _is_child


def leave_child(error: BaseException | None) -> NoReturn:
    """The node's code has ended in a child: so does the child, as Python would end it."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
