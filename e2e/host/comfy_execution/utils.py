"""Which node runs now, as `comfy_execution/utils.py` tells it."""

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


class CurrentNodeContext:
    """Everything inside runs for that node."""

    def __init__(self, prompt_id, node_id, list_index=None):
        self._context = ExecutionContext(prompt_id, node_id, list_index)

    def __enter__(self):
        self._token = _current.set(self._context)
        return self

    def __exit__(self, *error):
        _current.reset(self._token)
