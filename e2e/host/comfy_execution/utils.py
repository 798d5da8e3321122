"""Which node runs now, as `comfy_execution/utils.py` tells it."""

import contextlib
import contextvars
from typing import NamedTuple


class ExecutionContext(NamedTuple):
    """The running node."""

    prompt_id: str
    node_id: str
    list_index: int | None


_current = contextvars.ContextVar("current_executing_context", default=None)


def get_executing_context():
    """The running node's context, or None."""
    return _current.get()


@contextlib.contextmanager
def running_node(prompt_id, node_id):
    """Everything inside runs for that node."""
    token = _current.set(ExecutionContext(prompt_id, node_id, None))
    try:
        yield
    finally:
        _current.reset(token)
