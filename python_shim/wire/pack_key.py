"""Which state of a pack, of ComfyUI and of our own format a description of the pack's classes is of, and which code a class is of.

A pack is updated by git, by ComfyUI-Manager or by hand, at any time. What its worker has said of its classes counts only while the key
that was made beside it is still the one of the files. A class may come from a file of any kind, so all that a pack brings are part of
the key: its sources by their content, the rest, which may be gigabytes of models, by name, size and time. Packs also write into their own
folder while they run: that is not part of the code, which decides whether two processes have the same classes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from . import PROTOCOL_VERSION

#: Another number: what was written before says other things, or says them otherwise.
FORMAT = 6
#: What decides which classes a pack has, and what they are.
_CODE = (".py", ".pyc", ".pyd", ".so")
#: What counts by its content.
_SOURCES = (
    *(*_CODE, ".toml", ".json", ".jsonl", ".yaml", ".yml", ".txt", ".csv", ".tsv", ".xml", ".cfg", ".ini"),
    *(".js", ".mjs", ".css", ".html", ".glsl", ".frag", ".vert", ".comp", ".wgsl", ".md", ".j2"),
)
#: Folders that nothing of the pack itself is in.
_FOREIGN = frozenset(
    (
        *("__pycache__", "node_modules", ".git", ".hg", ".svn", ".github", ".idea", ".vscode"),
        *(".cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"),
    )
)
#: Folders that packs write into at each run: only sources count there.
_WRITTEN = frozenset(("log", "logs", "cache", "caches", "tmp", "temp", ".tmp", "output", "outputs"))
#: Files that come and go while a pack runs, or that systems put anywhere.
_PASSING = re.compile(r"\.(log(\.\d+)?|tmp|temp|lock|pid|part|swp)$|[.-](wal|shm|journal)$|~$|^(\.ds_store|thumbs\.db|desktop\.ini)$")
#: Packages that a pack brings are many files: theirs count by size and time.
_PACKAGES = "site-packages"
#: Larger files of data count by size and time.
_LARGEST = 1 << 20
#: A pack with more files has no key: it is loaded anew at each start.
_MOST = 50_000


def comfyui_root() -> str:
    """ComfyUI's own folder in this process; empty if there is no ComfyUI in it."""
    return os.path.dirname(str(getattr(sys.modules.get("folder_paths"), "__file__", None) or ""))


def pack_key(folder: str, root: str | None = None) -> str:
    """The key of the pack in `folder` as its files are now, below the ComfyUI in `root`. Raises nothing: a file that cannot be read
    is part of the key as such."""
    home = os.path.normcase(os.path.realpath(folder))
    about = (str(FORMAT), str(PROTOCOL_VERSION), home, _version_of(comfyui_root() if root is None else root))
    walked = list(_walk(home))
    names = list(itertools.islice(_names(home, walked), _MOST + 1))
    # a pack's web folder is one
    folders = (folder[len(home) :] for folder, _ in walked)
    return no_key() if len(names) > _MOST else _hash((*about, *folders, *_files(home, names)))


def code_of(folder: str) -> str:
    """The code of the pack in `folder` as its files are now. Raises nothing."""
    home = os.path.realpath(folder)
    return _hash(_files(home, (name for name in _names(home, _walk(home)) if name.lower().endswith(_CODE))))


def code_with(code: str, classes: Iterable[dict[str, Any]]) -> str:
    """The code together with how its classes (`NodeClass`es) are called: the same code makes others of other files of data."""
    called = {spec["name"]: {key: spec[key] for key in _CALLED} for spec in classes}
    return f"{code}-{_hash([json.dumps(called, sort_keys=True)])}"


def is_same_code(one: str, other: str) -> bool:
    """Whether two processes have the same classes of a pack. Of classes that ComfyUI has imported itself only the code is known."""
    return one == other or other.startswith(f"{one}-") or one.startswith(f"{other}-")


#: Of a `NodeClass`, what ComfyUI and a worker must know alike for a call.
_CALLED = ("function", "return_types", "input_is_list", "output_is_list", "is_changed", "validate_inputs", "check_lazy_status", "is_async")
#: Of a `NodeClass`, what may change while ComfyUI runs: the choices that a node offers.
_CHOICES = frozenset({"input_types", "graph_input_types", "v3"})


def shape(spec: dict[str, Any]) -> dict[str, Any]:
    """What stays of a node class while it is the same one."""
    return {key: value for key, value in spec.items() if key not in _CHOICES}


def _hash(parts: Iterable[str | bytes]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "big"))
        found.update(data)
    return found.hexdigest()


def no_key() -> str:
    """A key that no other is like: of a pack that was changed while it was read, or is too large to look at."""
    return f"changed-{secrets.token_hex(8)}"


def _walk(home: str) -> Iterator[tuple[str, list[str]]]:
    """Folders and the names of their files. Behind a link only where there is code, since packs link to folders of models too; each real
    one once, since links can make a circle. Of a virtual environment only which packages are in it."""
    seen = set()
    for folder, folders, files in os.walk(home, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        if "pyvenv.cfg" in files and folder != home:
            folders[:] = []
            yield from ((str(packages), []) for packages in _installed(pathlib.Path(folder)))
            continue
        folders[:] = sorted(name for name in folders if name not in _FOREIGN and _is_own(os.path.join(folder, name)))
        yield folder, sorted(files)


def _installed(environment: pathlib.Path) -> list[pathlib.Path]:
    """What lies beside each other where a virtual environment has its packages: their names have their versions."""
    try:
        found = (path for pattern in ("lib/*/site-packages/*", "Lib/site-packages/*") for path in environment.glob(pattern))
        return sorted(path for path in found if path.name != "__pycache__")
    except OSError:
        return []


def _is_own(folder: str) -> bool:
    """Whether a folder is the pack's; a linked one if Python can import from it."""
    try:
        return not os.path.islink(folder) or any(name.lower().endswith(_CODE) for name in os.listdir(folder))
    except OSError:
        return False


def _names(home: str, walked: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    """The files that count for the key, sources and data, below `home`."""
    for folder, files in walked:
        inside = folder[len(home) + 1 :]
        is_written = not _WRITTEN.isdisjoint(inside.lower().split(os.sep))
        for name in files:
            low = name.lower()
            if low.endswith(_SOURCES) or not (is_written or _PASSING.search(low)):
                yield f"{inside}{os.sep}{name}" if inside else name


def _files(home: str, names: Iterable[str]) -> Iterator[str | bytes]:
    """Names and content of files."""
    for name in names:
        yield name
        yield _content(f"{home}{os.sep}{name}", name.lower().endswith(_SOURCES) and _PACKAGES not in name.split(os.sep))


def _content(path: str, is_source: bool) -> bytes:
    try:
        seen = os.stat(path)
        if not stat.S_ISREG(seen.st_mode):  # reading a named pipe has no end
            return f"kind {stat.S_IFMT(seen.st_mode)}".encode()
        if not is_source or (seen.st_size > _LARGEST and not path.lower().endswith(".py")):
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
