"""What the last bridges said. Why one died is still there when the next one has started, and the one after it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
import subprocess
from collections.abc import Iterator
from typing import IO

#: So many logs are kept beside that of the bridge that runs: `bridge.1.log` is of the one before it.
KEPT = 5
#: The last line is looked for in so many bytes.
_TAIL = 1 << 16


def _earlier(path: pathlib.Path, number: int) -> pathlib.Path:
    return path.with_suffix(f".{number}{path.suffix}")


def _put_aside(path: pathlib.Path) -> None:
    """Makes room for another log. One that is empty says nothing, and takes no other's place."""
    try:
        seen = path.stat()
        if seen.st_size == 0 or not stat.S_ISREG(seen.st_mode):
            return
    except OSError:
        return
    for number in range(KEPT, 0, -1):
        before = path if number == 1 else _earlier(path, number - 1)
        with contextlib.suppress(OSError):
            os.replace(before, _earlier(path, number))


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[IO[bytes] | int]:
    """For the standard error of a bridge that is about to start. It starts all the same where nothing can be written."""
    _put_aside(path)
    try:
        file = path.open("wb")
    except OSError:
        yield subprocess.DEVNULL
        return
    with file:
        yield file


def last_line(path: pathlib.Path) -> str | None:
    """What a bridge said last; None if it has said nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return None
    return lines[-1] if lines else None
