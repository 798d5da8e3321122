"""The folder for what ends with a bridge: its address, its token, its log, its workers' sockets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import stat
import tempfile

#: A full disk may still have room for a file that is empty.
_ENOUGH = b"\0" * 16384


def run_folder(home: pathlib.Path) -> pathlib.Path:
    """`run` in our home; where nothing can be written there, one of this user's in the system's folder for such things."""
    own = home / "run"
    if _takes_files(own):
        return own
    name = f"envmanager-run-{_user()}-{hashlib.sha256(str(home).encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/dev/shm"):
        if base and _takes_files(pathlib.Path(base, name)):
            return pathlib.Path(base, name)
    return own


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "0"


def _takes_files(folder: pathlib.Path) -> bool:
    """Whether files can be written into a folder that is only ours; it is made if need be."""
    probe = folder / f"{os.getpid()}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        seen = folder.lstat()
        if not stat.S_ISDIR(seen.st_mode) or (hasattr(os, "getuid") and seen.st_uid != os.getuid()):
            return False
        probe.write_bytes(_ENOUGH)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return True
