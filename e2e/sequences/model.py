"""What each prompt must give: the values themselves, computed here once more, and where each node runs by what the user has chosen."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from typing import Any

import numpy

PACKS = ("seq-a", "seq-b")
#: Never isolated: it shows what ComfyUI has.
HOST = "seq-host"
#: Classes that the user sets apart from their pack.
SET_APART = ("Make", "Add", "Keep", "Write", "Object", "Use")
#: What makes or holds an object: runs again when the object is gone with its worker, without having been asked to.
OBJECTS = ("Object", "Next")
#: Crashes in five minutes after which a worker stays down until the user restarts it (`restartPolicy.ts`).
MOST_CRASHES = 3
LOOP = "crashed three times in five minutes"
INTERRUPTED = "execution_interrupted"


def class_name(pack: str, name: str) -> str:
    """As the pack names it."""
    return "".join(part.capitalize() for part in pack.split("-")) + name


def make(kind: str, size: int, seed: int) -> Any:
    """As the node Make does."""
    if kind == "int":
        return size + seed
    if kind == "list":
        return [(number * 7 + seed) % 1000 for number in range(size // 64)]
    return ((numpy.arange(size // 4, dtype=numpy.int64) * 31 + seed) % 251).astype(numpy.float32)


def digest(value: Any) -> str:
    """As the node Show does."""
    if isinstance(value, numpy.ndarray):
        return f"tensor {list(value.shape)} {hashlib.sha1(value.tobytes()).hexdigest()}"
    if isinstance(value, list):
        return f"list {len(value)} {hashlib.sha1(json.dumps(value).encode()).hexdigest()}"
    return f"{type(value).__name__} {value}"


@dataclasses.dataclass
class Node:
    """One node of a prompt. `inputs`: values, and links as ComfyUI writes them."""

    pack: str
    name: str
    turn: int
    inputs: dict[str, Any]
    runs: int | None = 1

    @property
    def cls(self) -> str:
        return class_name(self.pack, self.name)


@dataclasses.dataclass
class Built:
    """A prompt: its nodes in an order in which they can run."""

    spec: dict[str, Any]
    nodes: dict[str, Node]

    @property
    def prompt(self) -> dict[str, Any]:
        return {key: {"class_type": node.cls, "inputs": {**node.inputs, "turn": node.turn}} for key, node in self.nodes.items()}


@dataclasses.dataclass
class Expected:
    """What is shown, by node, or else the error; and what is allowed in place of that. `shown` None: ComfyUI's own business."""

    shown: dict[str, list[str]] | None
    error: str | None = None
    also: tuple[str, ...] = ()


class Builder:
    """Puts nodes into a prompt, each with a turn of its own."""

    def __init__(self, spec: dict[str, Any], turns: itertools.count[int]) -> None:
        self.built, self._turns = Built(spec, {}), turns

    def add(self, pack: str, name: str, runs: int | None = 1, **inputs: Any) -> list[Any]:
        key = str(len(self.built.nodes) + 1)
        self.built.nodes[key] = Node(pack, name, next(self._turns), inputs, None if name in OBJECTS else runs)
        return [key, 0]

    def show(self, value: Any, **more: Any) -> None:
        self.add(HOST, "Show", value=value, **more)


class Model:
    """What the user has chosen, how often workers have crashed, and what ComfyUI keeps."""

    def __init__(self) -> None:
        self.turns = itertools.count(1)
        self.packs = dict.fromkeys(PACKS, True)
        self.classes: dict[tuple[str, str], bool] = {}
        self.crashes = dict.fromkeys(PACKS, 0)
        #: How often each class may run with each turn; None: objects, which are made again.
        self.allowed: dict[tuple[str, int], int | None] = {}
        #: The last prompt and what it has shown, if ComfyUI keeps all that it has made.
        self.kept: tuple[Built, dict[str, list[str]]] | None = None

    def place(self, pack: str, name: str) -> str | None:
        """The pack in whose worker a class runs; None: in ComfyUI."""
        on = self.classes.get((pack, name), self.packs.get(pack, False))
        return pack if on else None

    def needs_worker(self, pack: str) -> bool:
        """Whether anything of a pack runs in its worker."""
        return self.packs[pack] or any(on for (owner, _), on in self.classes.items() if owner == pack)

    def build(self, spec: dict[str, Any]) -> Built:
        """A prompt from a drawn description."""
        build = Builder(spec, self.turns)
        getattr(self, f"_build_{spec['shape']}")(build, spec)
        return self._note(build.built)

    def again(self) -> Built | None:
        """The last prompt once more with another last node: everything before it is kept. None if there is none such."""
        if self.kept is None:
            return None
        before, _ = self.kept
        nodes = {key: dataclasses.replace(node) for key, node in before.nodes.items()}
        for node in nodes.values():
            if node.name in ("Show", "Use"):
                node.turn = next(self.turns)
        return self._note(Built(before.spec, nodes))

    def succeeded(self, built: Built, shown: dict[str, list[str]]) -> None:
        """Nothing has disturbed a prompt. What a node has written into ComfyUI's own objects is not asked for again."""
        writes_here = any(node.name == "Write" and self.place(node.pack, node.name) is None for node in built.nodes.values())
        self.kept = None if writes_here else (built, shown)

    def _note(self, built: Built) -> Built:
        self.allowed.update({(node.cls, node.turn): node.runs for node in built.nodes.values()})
        return built

    def _first(self, build: Builder, spec: dict[str, Any], name: str) -> list[Any]:
        return build.add(spec["packs"][0], name, kind=spec["kind"], size=spec["size"], seed=spec["seed"])

    def _sleep(self, build: Builder, spec: dict[str, Any], value: Any) -> list[Any]:
        sleep = spec.get("sleep")
        return value if sleep is None else build.add(sleep["pack"], "Sleep", value=value, seconds=sleep["seconds"], polite=sleep["polite"])

    def _build_chain(self, build: Builder, spec: dict[str, Any]) -> None:
        value = first = self._first(build, spec, "Make")
        for pack in spec["packs"][1:]:
            value = build.add(pack, "Add", value=value, number=spec["number"])
        value = self._sleep(build, spec, value)
        build.show(value)
        build.show(first, after=value)

    def _build_keep(self, build: Builder, spec: dict[str, Any]) -> None:
        first = self._first(build, spec, "Keep")
        value = build.add(spec["packs"][-1], "Write", value=first, number=spec["number"])
        value = self._sleep(build, spec, value)
        build.show(value)
        again = build.add(spec["packs"][0], "Keep", kind=spec["kind"], size=spec["size"], seed=spec["seed"], after=value)
        build.show(again)

    def _build_write(self, build: Builder, spec: dict[str, Any]) -> None:
        first = self._first(build, spec, "Make")
        value = build.add(spec["packs"][-1], "Write", value=first, number=spec["number"])
        value = self._sleep(build, spec, value)
        build.show(value)
        build.show(first, after=value)

    def _build_fail(self, build: Builder, spec: dict[str, Any]) -> None:
        value = self._first(build, spec, "Make")
        beside = build.add(spec["packs"][-1], "Sleep", value=spec["number"], seconds=0.2, polite=True)
        build.show(beside)
        build.show(build.add(spec["packs"][-1], "Fail", value=self._sleep(build, spec, value)))

    def _build_mapped(self, build: Builder, spec: dict[str, Any]) -> None:
        count = spec["number"] + 1
        value = build.add(HOST, "Spread", count=count, kind=spec["kind"], size=spec["size"] >> 3, seed=spec["seed"])
        for pack in spec["packs"]:
            value = build.add(pack, "Add", runs=count, value=value, number=spec["number"])
        if spec.get("sleep"):
            build.show(self._sleep(build, spec, spec["seed"]))
        build.show(value)

    def _build_object(self, build: Builder, spec: dict[str, Any]) -> None:
        thing = build.add(spec["packs"][0], "Object", seed=spec["seed"])
        for _ in spec["packs"][1:]:
            thing = build.add(spec["packs"][0], "Next", thing=thing)
        after = {"after": self._sleep(build, spec, spec["seed"])} if spec.get("sleep") else {}
        build.show(build.add(spec["packs"][-1] if spec["foreign"] else spec["packs"][0], "Use", thing=thing, **after))

    def expect(self, built: Built) -> Expected:
        """What a prompt must give when nothing disturbs it."""
        values: dict[str, Any] = {}
        shown = {}
        for key, node in built.nodes.items():
            given = {name: values[value[0]] if isinstance(value, list) else value for name, value in node.inputs.items()}
            values[key] = self._value(node, given)
            if node.name == "Show":
                shown[key] = list(map(digest, given["value"] if isinstance(given["value"], Spread) else [given["value"]]))
        is_ours = not any(node.name == "Keep" and self.place(node.pack, node.name) is None for node in built.nodes.values())
        return Expected(shown if is_ours else None, self._error(built, list(built.nodes.values())))

    def expect_again(self, built: Built) -> Expected:
        """What a prompt of `again` must give: what it has shown, and no node runs but the last ones and those that make objects."""
        assert self.kept is not None
        return Expected(self.kept[1], self._error(built, [node for node in built.nodes.values() if node.name in ("Use", *OBJECTS)]))

    def _error(self, built: Built, running: list[Node]) -> str | None:
        crossed = any(self._crosses(built, node) for node in running)
        down = any(self.crashes.get(self.place(node.pack, node.name) or "", 0) >= MOST_CRASHES for node in running)
        fails = any(node.name == "Fail" for node in running)
        errors = ["as asked"] * fails + [""] * crossed + [LOOP] * down
        return "|".join(errors) if errors else None

    def _crosses(self, built: Built, node: Node) -> bool:
        """Whether a node is given an object that cannot leave where it was made."""
        source = node.inputs.get("thing")
        if source is None:
            return False
        maker = built.nodes[source[0]]
        return self.place(maker.pack, maker.name) != self.place(node.pack, node.name)

    def _value(self, node: Node, given: dict[str, Any]) -> Any:
        """What a node returns. What it changes in an object that ComfyUI has is changed here too."""
        if node.name in ("Make", "Keep"):
            return make(given["kind"], given["size"], given["seed"])
        if node.name == "Spread":
            return Spread(make(given["kind"], given["size"], given["seed"] + number) for number in range(given["count"]))
        if node.name == "Add" and isinstance(given["value"], Spread):
            return Spread(added(value, given["number"]) for value in given["value"])
        if node.name == "Add":
            return added(given["value"], given["number"])
        if node.name == "Write":
            return written(given["value"], given["number"], self.place(node.pack, node.name) is None)
        if node.name == "Object":
            return given["seed"]
        if node.name == "Next":
            return given["thing"] + 1
        return f"thing {given['thing']}" if node.name == "Use" else given.get("value")


class Spread(list):  # type: ignore[type-arg]
    """Values that ComfyUI gives to the next node one by one."""


def added(value: Any, number: int) -> Any:
    """A new value."""
    return [item + number for item in value] if isinstance(value, list) else value + number


def written(value: Any, number: int, here: bool) -> Any:
    """After a node has written into its input: in ComfyUI into the very object, in a worker into a copy."""
    if not here or isinstance(value, int):
        return added(value, number)
    value[:] = added(value, number)
    return value
