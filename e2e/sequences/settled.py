"""What is left when a sequence has ended and everything is as it was at first: it is counted, and may not have grown."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from .counted import below, held, naming
from .driver import wait_for
from .model import HOST, MOST_CRASHES, PACKS, class_name
from .steps import ALLOWED, Subject, Wrong

#: How much more than at first is none yet. Threads: pools of Python, torch and Node that fill as they are needed. Sockets: a connection
#: that a prompt has taken beside another one, and the next ones use.
MORE = {"sockets": 2, "threads": 8, "pipes": 2, "files": 4, "inodes": 4}
#: Segments that are free or parked for the next call: parked ones are 32 at most (`mapping.py`); free ones may be more for a while.
MOST_KEPT = 32
#: After this long nothing is kept that is not used: 30 seconds (`segments.py`), and the looks at it.
RELAXED = 60.0
#: How long what is told beside the calls, and ends by itself, may take.
SOON = 20.0
WARM: dict[str, Any] = {"shape": "chain", "kind": "tensor", "size": 1 << 20, "seed": 1, "number": 1, "packs": [*PACKS, *PACKS]}


def as_at_first(subject: Subject) -> None:
    """Everything isolated, every worker up and warm, nothing kept."""
    model = subject.model
    for pack in PACKS:
        if model.crashes[pack] >= MOST_CRASHES:
            subject.do({"do": "worker", "pack": pack, "how": "stop"})
        for owner, name in list(model.classes):
            if owner == pack:
                subject.do({"do": "switch_class", "pack": pack, "name": name, "on": None})
        subject.do({"do": "switch", "pack": pack, "on": True})
        if model.crashes[pack] > 0:
            subject.do({"do": "worker", "pack": pack, "how": "restart"})
    for _ in range(2):  # the first call of a worker goes through the bridge, those after it straight
        subject.do({"do": "prompts", "specs": [WARM]})
    subject.do({"do": "free"})


def _usage(subject: Subject) -> dict[str, dict[str, int]]:
    """What the product holds by its own account, by pack: in its worker, or for the host in ComfyUI."""
    turn = next(subject.model.turns)
    packs = (*PACKS, HOST)
    subject.model.allowed.update({(class_name(pack, "Usage"), turn): 1 for pack in packs})
    ended = subject.comfy.queue({pack: {"class_type": class_name(pack, "Usage"), "inputs": {"turn": turn}} for pack in packs})
    entry = wait_for("the account", lambda: subject.comfy.ended(ended))
    if entry["status"]["status_str"] != "success":
        raise Wrong(f"no call works: {entry['status']['messages'][-1]}")
    return {pack: json.loads(entry["outputs"][pack]["text"][0]) for pack in packs}


def count(subject: Subject) -> dict[str, Any]:
    """Everything that is counted."""
    comfy = subject.comfy
    bridge = comfy.bridge()
    workers = {pack: subject.worker(pack).get("pid") for pack in PACKS}
    named = {"ComfyUI": comfy.process.pid, "the bridge": bridge, **workers}
    mine = below(comfy.process.pid)
    return {
        "held": {name: held(pid) if pid else {} for name, pid in named.items()},
        "usage": _usage(subject),
        "processes": len(mine),
        "strays": sorted(naming(str(comfy.base)) - mine - {os.getpid()}),
        "beside": sorted(mine - {pid for pid in named.values() if pid}),
    }


def grown(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is more than it was, in words."""
    found = []
    if now["processes"] > before["processes"] or now["strays"]:
        found.append(f"processes: {now['processes']} in place of {before['processes']}, strays {now['strays']}, beside {now['beside']}")
    found += _more(before, now, MORE)
    for name, account in now["usage"].items():
        first = before["usage"][name]
        found += [f"{name}: {value} {kind} in place of {first[kind]}" for kind, value in account.items() if value > first[kind]]
    found += _more(before, now, {"segments": MOST_KEPT, "mapped": MOST_KEPT})
    return [one for one in found if not (ALLOWED and re.search(ALLOWED, one))]


def _more(before: dict[str, Any], now: dict[str, Any], limits: dict[str, int]) -> list[str]:
    return [
        f"{name}: {counts.get(kind, 0)} {kind} in place of {before['held'][name].get(kind, 0)}"
        for name, counts in now["held"].items()
        for kind, more in limits.items()
        if counts.get(kind, 0) > before["held"][name].get(kind, 0) + more
    ]


def check(subject: Subject, before: dict[str, Any]) -> None:
    """Raises Wrong if something stays that must go soon, or shared memory that must go later."""
    as_at_first(subject)
    began = time.monotonic()
    while left := grown(before, now := count(subject)):
        waited = time.monotonic() - began
        only_segments = all(" segments " in one or " mapped " in one for one in left)
        if waited > (RELAXED if only_segments else SOON):
            raise Wrong(f"left after the sequence: {'; '.join(left)}; all: {json.dumps(now)}")
        time.sleep(0.1 if waited < 1 else 1)


def check_relaxed(subject: Subject) -> None:
    """After a while without calls nothing is kept for the next one. Waits for that, half a minute and more."""
    time_out = time.monotonic() + RELAXED
    while True:
        counts = {
            pack: held(pid)
            for pack, pid in (("ComfyUI", subject.comfy.process.pid), *((p, subject.worker(p).get("pid") or 0) for p in PACKS))
        }
        left = {name: kept.get("segments", 0) + kept.get("mapped", 0) for name, kept in counts.items()}
        if not any(left.values()):
            return
        if time.monotonic() > time_out:
            raise Wrong(f"shared memory is kept {RELAXED:.0f} s after the last call: {counts}")
        time.sleep(0.5)
