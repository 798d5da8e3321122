"""What the last bridges said: each start has a log of its own, and why one died is still there after the next ones have started."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any

fcntl: Any = None
with contextlib.suppress(ImportError):  # Windows has none
    import fcntl

#: So many logs are kept beside that of the bridge that starts.
KEPT = 5
#: The last line is looked for in so many bytes.
_TAIL = 1 << 16
#: By the time of the start and the process that started it: bridges of several ComfyUIs lie beside each other.
_NAME = re.compile(r"bridge-(\d{8}T\d{6})-\d+-(\d+)\.log")


class BridgeLog:
    """The standard error of one bridge. `path` is None where it can only be kept for as long as the bridge runs."""

    def __init__(self, file: IO[bytes], path: pathlib.Path | None) -> None:
        self.file, self.path = file, path

    def last_line(self) -> str | None:
        """What a bridge that has ended said last; None if it has said nothing."""
        try:
            self.file.seek(max(0, self.file.seek(0, os.SEEK_END) - _TAIL))
            lines = self.file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return None
        return lines[-1] if lines else None


def _lock(file: int, wait: bool) -> None:
    """Hold an open file or folder while anybody has it from here, as a bridge has that was given it. Raises OSError if another does."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_written(path: pathlib.Path) -> bool:
    """Whether a bridge has it, or that is not known. Windows deletes no file that is open."""
    try:
        with path.open("rb") as file:
            _lock(file.fileno(), wait=False)
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """While nobody else makes or deletes logs there, where the system can say so."""
    opened = None
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY) if fcntl is not None else None
        if opened is not None:
            _lock(opened, wait=True)
    try:
        yield
    finally:
        if opened is not None:
            os.close(opened)


def _forget_old(folder: pathlib.Path) -> None:
    """Delete all but the last logs. One that is empty says nothing, and takes no other's place."""
    found = [(path, match) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)) and not path.is_symlink()]
    said = [path for path, match in sorted(found, key=lambda one: (one[1][1], int(one[1][2]))) if path.stat().st_size > 0]
    for path, _ in found:
        if path not in said[-KEPT:] and not _is_written(path):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(folder: pathlib.Path, number: int) -> Iterator[BridgeLog]:
    """For a bridge that is about to start, the `number`th of this process. Where `folder` takes no files, it lasts as long as that."""
    path = folder / f"bridge-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{number}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(folder):
            with contextlib.suppress(OSError):
                _forget_old(folder)
            log = BridgeLog(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b"), path)
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(log.file.fileno(), wait=False)
    except OSError:
        log = BridgeLog(tempfile.TemporaryFile(), None)  # noqa: SIM115 - closed below, as the other is
    with log.file:
        yield log
