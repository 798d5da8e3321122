"""The steps of a sequence: each is done to a real ComfyUI and to the model, and what came of it is compared."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

from .counted import is_alive
from .driver import Comfy, wait_for
from .model import HOST, INTERRUPTED, LOOP, MOST_CRASHES, PACKS, Built, Expected, Model, class_name

#: The shim starts so many bridges in five minutes and no more (`bridge_process.py`, MOST_DEATHS and WINDOW): one less is tried.
MOST_DEATHS, DEATHS_WINDOW = 3, 310.0
#: More errors that may come, and more that may be left, to look past what is known: a regular expression.
ALLOWED = os.environ.get("SEQUENCE_ALLOW")
KILLED = r"was ended by SIGKILL|The worker of a call is gone|ended before the result of node \d+ was read"
BRIDGE_GONE = r"The bridge has gone|The bridge is not running|" + KILLED

#: Steps that are also done during a prompt, and what they take of its description.
MEANWHILE: dict[str, tuple[str, ...]] = {
    "worker": ("pack", "how"),
    "switch": ("pack", "on"),
    "switch_class": ("pack", "name", "on"),
    "free": (),
}


class Wrong(AssertionError):
    """The product has done what it must not."""


class Subject:
    """One ComfyUI and the model of it. A step is a dict, so that it can be kept in a file."""

    def __init__(self) -> None:
        self.comfy = Comfy([*PACKS, HOST])
        self.model = Model()
        self._deaths: list[float] = []
        self._read = 0
        self._runs: dict[tuple[str, int], int] = {}
        for pack in (*PACKS, HOST):
            wait_for(f"{pack} to be found", lambda pack=pack: self._pack(pack).get("state") == "ready")
        for pack in PACKS:
            self.comfy.panel.call("isolation.set", {"pack": pack, "on": True})

    def do(self, step: dict[str, Any]) -> None:
        """One step. Raises Wrong, or another AssertionError when something does not come."""
        getattr(self, f"_do_{step['do']}")(**{key: value for key, value in step.items() if key != "do"})
        self._check_runs()

    def _pack(self, pack: str) -> dict[str, Any]:
        return next((one for one in self.comfy.snapshot()["packs"] if one["id"] == pack), {})

    def worker(self, pack: str) -> dict[str, Any]:
        """What the panel shows of a pack's worker; empty if there is none."""
        return next((one for one in self.comfy.snapshot()["workers"] if pack in one["packs"]), {})

    # prompts

    def _do_prompts(self, specs: list[dict[str, Any]], during: dict[str, Any] | None = None) -> None:
        """Prompts, all queued at once; with `during`, something happens meanwhile."""
        built = [self.model.build(spec) for spec in specs]
        expected = [self.model.expect(one) for one in built]
        self.model.kept = None
        queued = [self.comfy.queue(one.prompt) for one in built]
        also = self._disturb(during, built[0], queued[0]) if during else ()
        # what is switched, or forgiven with a bridge or a worker, counts from the next prompt on; nobody sees from outside which that is
        changed = during is not None and during["what"] in ("switch", "switch_class", "bridge", "worker")
        later = [self.model.expect(one) for one in built] if changed else expected
        for prompt, one, wanted, other in zip(queued, built, expected, later, strict=True):
            wanted.also = other.also = also
            status = self._compare(prompt, one, wanted, other)
            if status == "success" and wanted.shown is not None and during is None:
                self.model.succeeded(one, wanted.shown)
            else:
                self.model.kept = None

    def _do_again(self) -> None:
        """The last prompt with another last node."""
        built = self.model.again()
        if built is None:
            return
        wanted = self.model.expect_again(built)
        if self._compare(self.comfy.queue(built.prompt), built, wanted) != "success":
            self.model.kept = None

    def _compare(self, prompt: str, built: Built, wanted: Expected, other: Expected | None = None) -> str:
        """Whether a prompt gave what it must, or else all that is wanted of it otherwise; its status."""
        entry = wait_for(f"the prompt {built.spec} to end", lambda: self.comfy.ended(prompt))
        try:
            return self._judge(entry, built, wanted)
        except Wrong:
            if other is None or other is wanted:
                raise
        return self._judge(entry, built, other)

    def _judge(self, entry: dict[str, Any], built: Built, wanted: Expected) -> str:
        status, (end, error) = entry["status"]["status_str"], entry["status"]["messages"][-1]
        if status == "success":
            if wanted.error is not None and wanted.shown is not None and "" in wanted.error.split("|"):
                raise Wrong(f"an object that cannot leave its process was used elsewhere: {built.spec} {self._places()}")
            if wanted.error is not None:
                raise Wrong(f"success in place of “{wanted.error}”: {built.spec}")
            shown = {key: output["text"] for key, output in entry["outputs"].items()}
            if wanted.shown is not None and shown != wanted.shown:
                raise Wrong(f"a wrong value: {shown} in place of {wanted.shown} for {built.spec} {self._places()}")
            return status
        if end == INTERRUPTED:
            if INTERRUPTED not in wanted.also:
                raise Wrong(f"interrupted, and nobody has pressed Cancel: {built.spec}")
            return status
        said = error["exception_message"]
        allowed = [*([wanted.error] if wanted.error is not None else []), *(one for one in wanted.also if one != INTERRUPTED)]
        allowed += [ALLOWED] if ALLOWED else []
        if not any(re.search(one, said) for one in allowed):
            raise Wrong(f"“{said}” at node {error['node_id']} in place of {allowed or 'success'}: {built.spec} {self._places()}")
        return status

    def _places(self) -> str:
        return f"isolated {self.model.packs} {self.model.classes} crashes {self.model.crashes}"

    def _check_runs(self) -> None:
        """No node has run more often than it must."""
        with self.comfy.runs.open() as file:
            file.seek(self._read)
            lines = file.read()
        self._read += len(lines)
        for line in lines.splitlines():
            name, turn, _ = line.split()
            key = (name, int(turn))
            self._runs[key] = self._runs.get(key, 0) + 1
            limit = self.model.allowed.get(key, 0)
            if limit is not None and self._runs[key] > limit:
                raise Wrong(f"{name} of turn {turn} ran {self._runs[key]} times in place of {limit}")

    # what happens during a prompt

    def _disturb(self, during: dict[str, Any], built: Built, prompt: str) -> tuple[str, ...]:
        """Do it at its moment; errors that prompts may end with for it."""
        sleep = next((node for node in built.nodes.values() if node.name == "Sleep"), None)
        if sleep is not None and during["after_start"]:
            started = f"{sleep.cls} {sleep.turn} "
            wait_for("the node to start", lambda: started in self.comfy.runs.read_text() or self.comfy.ended(prompt))
        time.sleep(during["delay"])
        what = during["what"]
        if what == "cancel":
            self.comfy.ask("/api/interrupt", {})
            return (INTERRUPTED,)
        if what == "kill":
            killed = self._do_kill(during["pack"])
            return (KILLED, LOOP) if self.model.crashes[during["pack"]] >= MOST_CRASHES else (KILLED,) if killed else ()
        if what == "bridge":
            return (BRIDGE_GONE,) if self._do_bridge() else ()
        self.do({"do": what, **{key: during[key] for key in MEANWHILE[what]}})
        return ()

    def _do_kill(self, pack: str) -> bool:
        """`kill -9` of a worker, whatever it does. Whether there was one."""
        pid = self.worker(pack).get("pid")
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        wait_for("the worker's end to be seen", lambda: self.worker(pack).get("pid") != pid)
        self.model.crashes[pack] += 1
        return True

    def _do_bridge(self) -> bool:
        """`kill -9` of the bridge; not more often than the shim makes good."""
        self._deaths = [death for death in self._deaths if time.monotonic() - death < DEATHS_WINDOW]
        old = self.comfy.bridge()
        if len(self._deaths) >= MOST_DEATHS or old is None:
            return False
        os.kill(old, signal.SIGKILL)
        self._deaths.append(time.monotonic())
        wait_for("the bridge to end", lambda: not is_alive(old))
        wait_for("a new bridge", lambda: self.comfy.bridge() not in (None, old))
        for pack, on in self.model.packs.items():
            state = "on" if on else "off"
            wait_for(
                f"{pack} to be {state} again", lambda pack=pack, state=state: self._pack(pack).get("isolation", {}).get("state") == state
            )
        self.model.crashes = dict.fromkeys(PACKS, 0)
        return True

    # the panel's buttons

    def _do_worker(self, pack: str, how: str) -> None:
        """Stop or restart: the user forgives crashes."""
        found = self.worker(pack)
        if found:
            try:
                self.comfy.panel.call(f"worker.{how}", {"worker": found["id"]})
            except RuntimeError as error:
                if "UNKNOWN_WORKER" not in str(error) or self.model.needs_worker(pack):
                    raise Wrong(str(error)) from error
        self.model.crashes[pack] = 0

    def _do_switch(self, pack: str, on: bool) -> None:
        """A whole pack."""
        self._switch(pack, {"pack": pack, "on": on}, lambda: self.model.packs.update({pack: on}))

    def _do_switch_class(self, pack: str, name: str, on: bool | None) -> None:
        """One class; `on` None: as its pack."""

        def choose() -> None:
            self.model.classes.pop((pack, name), None)
            if on is not None:
                self.model.classes[pack, name] = on

        self._switch(pack, {"pack": pack, "class": class_name(pack, name), "on": on}, choose)

    def _switch(self, pack: str, asked: dict[str, Any], choose: Any) -> None:
        before = dict(self.model.packs), dict(self.model.classes)
        choose()
        refused = self.model.needs_worker(pack) and self.model.crashes[pack] >= MOST_CRASHES
        try:
            self.comfy.panel.call("isolation.set", asked)
        except RuntimeError as error:
            if not refused or LOOP not in str(error):
                raise Wrong(str(error)) from error
            self.model.packs, self.model.classes = before
            return
        if refused:
            raise Wrong(f"switched, though the worker of {pack} is down")
        if not self.model.needs_worker(pack):
            self.model.crashes[pack] = 0

    def _do_free(self) -> None:
        """The Unload button: ComfyUI forgets what it keeps, as soon as it has nothing else to do."""
        self.comfy.ask("/api/free", {"free_memory": True, "unload_models": True})
        self.model.kept = None
