"""Which state of a pack, of ComfyUI and of our own format a description of the pack's classes is of.

A pack is updated by git, by ComfyUI-Manager or by hand, at any time. What its worker has said of its classes counts only while the key
that was made beside it is still the one of the files.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import secrets
import stat
import sys
from collections.abc import Iterator

from . import PROTOCOL_VERSION

#: Another number: what was written before says other things, or says them otherwise.
FORMAT = 2
#: What decides which classes a pack has, and what they are.
_SOURCES = (".py", ".pyd", ".so", ".toml", ".json", ".yaml", ".yml", ".txt", ".cfg", ".ini")
#: Larger files of data count by size and time.
_LARGEST = 1 << 20


def comfyui_root() -> str:
    """ComfyUI's own folder in this process; empty if there is no ComfyUI in it."""
    return os.path.dirname(str(getattr(sys.modules.get("folder_paths"), "__file__", None) or ""))


def pack_key(folder: str, root: str | None = None) -> str:
    """The key of the pack in `folder` as its files are now, below the ComfyUI in `root`. Raises nothing: a file that cannot be read
    is part of the key as such."""
    found = hashlib.blake2b(digest_size=16)
    home = os.path.normcase(os.path.realpath(folder))
    about = (str(FORMAT), str(PROTOCOL_VERSION), home, _version_of(comfyui_root() if root is None else root))
    for part in (*about, *_parts(home)):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "big"))
        found.update(data)
    return found.hexdigest()


def no_key() -> str:
    """A key that no other is like: of a pack that was changed while it was read."""
    return f"changed-{secrets.token_hex(8)}"


def _parts(home: str) -> Iterator[str | bytes]:
    """Names of folders (a pack's web folder is one), names and content of sources."""
    for folder, folders, files in os.walk(home):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and name != "node_modules" and not name.startswith("."))
        yield os.path.relpath(folder, home)
        for name in sorted(files):
            if name.lower().endswith(_SOURCES):
                yield name
                yield _content(os.path.join(folder, name))


def _content(path: str) -> bytes:
    try:
        seen = os.stat(path)
        if not stat.S_ISREG(seen.st_mode):  # reading a named pipe has no end
            return f"kind {stat.S_IFMT(seen.st_mode)}".encode()
        if seen.st_size > _LARGEST and not path.lower().endswith(".py"):
            return f"{seen.st_size} {seen.st_mtime_ns}".encode()
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        return f"errno {error.errno}".encode()


def _version_of(root: str) -> str:
    """ComfyUI's version, and its commit where it is a clone."""
    head = _text(os.path.join(root, ".git", "HEAD"))
    ref = head.removeprefix("ref: ") if head.startswith("ref: ") else None
    commit = head if ref is None else _text(os.path.join(root, ".git", *ref.split("/"))) or _packed(root, ref)
    return f"{_text(os.path.join(root, 'comfyui_version.py'))} {commit}"


def _packed(root: str, ref: str) -> str:
    lines = _text(os.path.join(root, ".git", "packed-refs")).splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), "")


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
