"""Where each node runs: the nearest choice wins, one on the canvas before its node class before its pack."""

from __future__ import annotations

import uuid
from typing import Any

#: The property of a node on the canvas, saved with the workflow. True: in a worker, False: in ComfyUI.
PROPERTY = "envmanager_isolated"


def node_choices(workflow: Any) -> dict[str, bool]:
    """The choices that a workflow's nodes carry, by node id as the prompt has it.

    A node inside a subgraph is named by the ids on its way down, `12:3` (ComfyUI frontend, `graphToPrompt`).
    """
    if not isinstance(workflow, dict):
        return {}
    definitions = (workflow.get("definitions") or {}).get("subgraphs") or []
    subgraphs = {graph["id"]: graph for graph in definitions if isinstance(graph, dict) and "id" in graph}
    found: dict[str, bool] = {}

    def walk(graph: dict[str, Any], prefix: str, above: frozenset[str]) -> None:
        for node in graph.get("nodes") or []:
            if not isinstance(node, dict):
                continue
            name, kind = f"{prefix}{node.get('id')}", node.get("type")
            choice = (node.get("properties") or {}).get(PROPERTY)
            if isinstance(choice, bool):
                found[name] = choice
            if isinstance(kind, str) and kind in subgraphs and kind not in above:
                walk(subgraphs[kind], f"{name}:", above | {kind})

    walk(workflow, "", frozenset())
    return found


def refusal(body: Any) -> str | None:
    """Why the choices that a prompt of an API client carries are none; None: they are, or there are none. They go before its workflow's:
    `extra_data: {"envmanager_isolated": {"3": true}}`, by node id."""
    extra = body.get("extra_data") if isinstance(body, dict) else None
    given = extra.get(PROPERTY) if isinstance(extra, dict) else None
    if given is None:
        return None
    if not isinstance(given, dict):
        return f"extra_data.{PROPERTY} is {type(given).__name__}: give an object of node ids, each with true or false."
    wrong = next((node for node, on in given.items() if not isinstance(on, bool)), None)
    return None if wrong is None else f"extra_data.{PROPERTY} has {given[wrong]!r} for node {wrong}: give true or false."


class Choices:
    """What the user has chosen for packs, node classes and the nodes of each prompt."""

    def __init__(self) -> None:
        self._packs: set[str] = set()
        self._classes: dict[str, dict[str, bool]] = {}
        self._prompts: dict[str, dict[str, bool]] = {}
        #: What was chosen when a prompt that runs began.
        self._frozen: dict[str, tuple[frozenset[str], dict[str, dict[str, bool]]]] = {}

    def set_pack(self, pack: str, on: bool, classes: dict[str, bool]) -> None:
        """Choose for a pack and for those of its node classes that differ."""
        (self._packs.add if on else self._packs.discard)(pack)
        self._classes[pack] = classes

    def on_prompt(self, body: dict[str, Any]) -> dict[str, bool]:
        """Keep what a prompt's nodes have chosen. Gives the prompt an id, if it has none, to know it by when it runs."""
        extra = body.get("extra_data") or {}
        chosen = {**node_choices((extra.get("extra_pnginfo") or {}).get("workflow")), **(extra.get(PROPERTY) or {})}
        if chosen:
            if body.get("prompt_id") is None:  # null: ComfyUI would make one that we do not know
                body["prompt_id"] = str(uuid.uuid4())
            prompt = str(body["prompt_id"])
            self._prompts[prompt] = chosen
        return chosen

    def has_pack(self, pack: str) -> bool:
        """Whether the whole pack is to run in a worker."""
        return pack in self._packs

    def freeze(self, prompt: str) -> None:
        """A prompt begins: what is chosen from now on is for the next one."""
        self._frozen[prompt] = frozenset(self._packs), dict(self._classes)

    def thaw(self, prompt: str) -> None:
        """It has ended, and nobody asks for it any more."""
        self._frozen.pop(prompt, None)
        self._prompts.pop(prompt, None)

    def for_class(self, pack: str, name: str, prompt: str | None = None) -> bool:
        """Whether nodes of a class run in a worker, unless they have chosen otherwise."""
        packs, classes = self._frozen.get(prompt or "", (self._packs, self._classes))
        return classes.get(pack, {}).get(name, pack in packs)

    def isolated(self, pack: str, name: str, node: str, prompt: str | None) -> bool:
        """Whether a node runs in a worker. A node that was made by another (`expand`) follows the one that it stands for."""
        chosen = self._prompts.get(prompt or "", {})
        while node and node not in chosen and "." in node:
            node = node.rsplit(".", 1)[0]
        return chosen.get(node, self.for_class(pack, name, prompt))
