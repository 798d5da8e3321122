"""What a process holds, by /proc: descriptors by kind, threads, shared memory; and who lives below whom."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import re

PROC = pathlib.Path("/proc")
_KINDS = (("socket:", "sockets"), ("pipe:", "pipes"), ("/memfd:", "segments"), ("anon_inode:", "inodes"))


def held(pid: int) -> dict[str, int]:
    """Counts of one process; empty if it has gone."""
    found: collections.Counter[str] = collections.Counter(segments=0, mapped=0)
    try:
        for link in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                target = str(link.readlink())
                found[next((kind for start, kind in _KINDS if target.startswith(start)), "files")] += 1
        found["mapped"] = (PROC / str(pid) / "maps").read_text().count("memfd:")
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return {}
    for name, key in (("Threads", "threads"), ("VmRSS", "resident_kib"), ("RssShmem", "shared_kib")):
        match = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        found[key] = int(match[1]) if match else 0
    return dict(found)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def below(pid: int) -> set[int]:
    """All below a process, and itself."""
    return {pid}.union(*(below(child) for child in children(pid)))


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def naming(words: str) -> set[int]:
    """Processes of ours that were told `words`, by command line or environment: also those that nobody is the parent of any more."""
    found = set()
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if words.encode() in told and is_alive(int(entry.name)):
                    found.add(int(entry.name))
    return found
