"""What an isolated node has written into its hidden PROMPT and EXTRA_PNGINFO, written into the prompt's own: as inside ComfyUI."""

from __future__ import annotations

import contextlib
from typing import Any


def write(changes: list[list[Any]], given: dict[str, Any]) -> None:
    """Make the changes in the arguments of the call. A place that others have taken away meanwhile is left out."""
    for path, *new in changes:
        with contextlib.suppress(LookupError, TypeError, AttributeError):
            place: Any = given
            for step in path[:-1]:
                place = place[step]
            if place is given:
                continue
            if len(new) == 2:
                place[path[-1]].extend(new[0])
            elif new:
                place[path[-1]] = new[0]
            else:
                del place[path[-1]]
