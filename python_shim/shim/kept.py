"""Outputs that ComfyUI keeps and that cannot be used any more: they hold an object of a worker that has ended, or one that was made where
its node does not run now. Who made them runs again, and what its inputs need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..wire.parts import children, crosses
from . import executor
from .executor import Step
from .handles import Object, RemoteHandle, key_of_handle, made_under, object_of_handle, owner_of_handle
from .remote_error import HandleGone, handle_gone

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
#: Why a node runs again, if it is not for want of a process.
_ELSEWHERE: Object = ("", "elsewhere")
_BEFORE: Object = ("", "before")


def holds(value: Any, is_wanted: Callable[[Any], bool]) -> bool:
    """Whether a value or something that it holds is wanted. Plain values are never asked about."""
    waiting, seen = [value], {id(value): value}
    while waiting:
        current = waiting.pop()
        kind = type(current)
        if kind in _PLAIN:
            continue
        if is_wanted(current):
            return True
        for item in children(current):
            if type(item) not in _PLAIN and id(item) not in seen:
                seen[id(item)] = item
                waiting.append(item)
    return False


def handles_in(value: Any) -> list[RemoteHandle]:
    """All that a value holds."""
    found: list[RemoteHandle] = []

    def note(item: Any) -> bool:
        if type(item) is RemoteHandle:
            found.append(item)
        return False

    holds(value, note)
    return found


def is_live(value: Any) -> bool:
    """Whether it is, or stands for, an object that belongs where it was made."""
    return type(value) is RemoteHandle or not crosses(value)


class KeptOutputs:
    """Of the prompts of one ComfyUI. `is_gone` knows processes; `place` says the pack in whose worker a node runs, None: in ComfyUI."""

    def __init__(self, is_gone: Callable[[str], bool], place: Callable[[Step, str], str | None]) -> None:
        self._is_known_gone, self._place = is_gone, place
        #: Processes that cannot be reached any more, by what workers have answered.
        self._gone: set[str] = set()
        #: Nodes that have run again in the prompt that runs, and for want of which object: who gives the same one again is not asked twice.
        #: Another one it may have made in a process that was about to end.
        self._asked: set[tuple[str, Object]] = set()
        #: Which of its inputs a node had when it began.
        self._had: dict[str, list[tuple[str, int]]] = {}
        #: Nodes that began once more since an object that they had was gone, and was not among what is kept any more.
        self._tried: set[tuple[str, Object]] = set()
        #: Where an output that is kept was made, by its key.
        self._made: dict[Any, str | None] = {}
        #: With which objects an output that is kept was made, or what it was made of: their processes, and the keys of their makers.
        self._with: dict[Any, frozenset[tuple[str, Any]]] = {}
        #: The keys of nodes that have run in this prompt.
        self._ran: set[Any] = set()
        #: Whether a pack has changed since all these outputs were made.
        self._outdated = False

    def outdate(self) -> None:
        """A pack is another one now. ComfyUI knows a node by its class name and inputs: it would give what the older files have made, and
        what was made out of that."""
        self._outdated = True

    def begin(self, caches: Any) -> None:
        """Before a prompt: what cannot be used is not there."""
        for part in (self._asked, self._had, self._tried, self._ran):
            part.clear()
        outdated, self._outdated = self._outdated, False
        executor.forget(caches, None, lambda entry: outdated or holds(executor.outputs_in(entry), self._is_dead))
        kept = {key for part in executor.kept_outputs(caches) for key in part}
        self._made = {key: place for key, place in self._made.items() if key in kept}
        self._with = {key: objects for key, objects in self._with.items() if key in kept}

    def begins(self, step: Step) -> None:
        """A node begins with what it is given."""
        self._had[step.node] = [link for link in step.links(step.node) if executor.given_to(step, link[0], step.node) is not None]

    def has_run(self, step: Step) -> None:
        """A node has run, and its output is kept."""
        key = executor.key_of(step.caches, step.node)
        if key is None:
            return
        self._ran.add(key)
        self._with[key] = self._made_with(step)
        self._made[key] = place = self._place(step, step.node)
        if place is not None:
            for handle in handles_in(executor.kept_of(step, step.node)):
                made_under(handle, key)

    def _made_with(self, step: Step) -> frozenset[tuple[str, Any]]:
        """The objects that a node was given, and those that what it was given was made with."""
        found: set[tuple[str, Any]] = set()
        for source, socket in step.links(step.node):
            found |= self._with.get(executor.key_of(step.caches, source), frozenset())
            outputs = executor.given_to(step, source, step.node)
            handles = handles_in(outputs[socket]) if outputs is not None and socket < len(outputs) else ()
            found |= {(owner_of_handle(handle) or "", key_of_handle(handle)) for handle in handles}
        return frozenset(found)

    def waits_again(self, step: Step, error: HandleGone | None = None) -> bool:
        """Whether a node must wait, since an input of it cannot be used any more: what makes that input then runs once more. `error`: how
        the node has learnt that, without having run."""
        if error is not None:
            self._gone |= error.owners
        stale: list[Any] = []
        reasons = self._reasons(step, stale)
        if reasons <= self._asked:
            # a node of ComfyUI in between has an old object in one of its own, or gives the same one again
            errors = [error] if error is not None else [handle_gone(handle) for handle in self._dead_inputs(step)]
            for each in errors:
                reasons |= self._makers(step, each, stale)
        if not reasons and error is None:
            return False
        missing = [] if error is None else self._missing(step)

        def is_bad(entry: Any) -> bool:
            outputs = executor.outputs_in(entry)
            return any(outputs is each for each in stale) or holds(outputs, self._is_dead)

        takers = executor.takers(step, is_bad)
        if reasons <= self._asked:
            # another has asked before, while this node had begun
            takers = [link for link in takers if link[0] == step.node and executor.is_renewed(step, link[1], is_bad)]
        else:
            self._asked |= reasons
            executor.forget(step.caches, step, is_bad)
        executor.run_again(step, [*takers, *missing])
        return bool(takers or missing) or (error is not None and self._tries_once_more(step, error))

    def _missing(self, step: Step) -> list[tuple[str, str, int]]:
        """Inputs that a node had when it began, and that another has had forgotten since."""
        had = self._had.get(step.node, [])
        return [(step.node, source, socket) for source, socket in had if executor.given_to(step, source, step.node) is None]

    def _tries_once_more(self, step: Step, error: HandleGone) -> bool:
        """Whether a node has been given something else since its call, for all that can be seen: another has had it made again."""
        tried = {(step.node, each) for each in error.objects}
        again = bool(tried - self._tried) and not self._dead_inputs(step)
        self._tried |= tried
        return again

    def _reasons(self, step: Step, stale: list[Any]) -> set[tuple[str, Object]]:
        """The sources of inputs that cannot be used, and why each cannot."""
        found: set[tuple[str, Object]] = set()
        for source, socket in step.links(step.node):
            outputs = executor.given_to(step, source, step.node)
            if outputs is None or socket >= len(outputs):
                continue  # a lazy input that nobody has asked for
            dead = {object_of_handle(handle) for handle in self._dead_in(outputs[socket])}
            if not dead and holds(outputs[socket], is_live) and self._is_stale(step, source, {}, stale):
                dead = {_ELSEWHERE}
            found |= {(source, each) for each in dead}
        return found or self._from_before(step, stale)

    def _from_before(self, step: Step, stale: list[Any]) -> set[tuple[str, Object]]:
        """The sources of inputs that were made with an object which has been made once more since: what the node before has done to the old
        one is not done to the new one. Only where the node takes objects, and so could see that."""
        known: dict[str, bool] = {}
        if not self._ran or not any(self._with.values()) or not self._takes_objects(step):
            return set()
        return {(source, _BEFORE) for source, _ in step.links(step.node) if self._is_from_before(step, source, known, stale)}

    def _takes_objects(self, step: Step) -> bool:
        given = [(executor.given_to(step, source, step.node), socket) for source, socket in step.links(step.node)]
        return any(handles_in(outputs[socket]) for outputs, socket in given if outputs is not None and socket < len(outputs))

    def _is_from_before(self, step: Step, node: str, known: dict[str, bool], stale: list[Any]) -> bool:
        """Whether a kept output, or one above, was made with an object that is gone and whose maker has run again. `stale` gets those."""
        if node in known:
            return known[node]
        known[node] = False
        if not step.dynprompt.has_node(node):
            return False
        above = [self._is_from_before(step, source, known, stale) for source, _ in step.links(node)]
        made_with = self._with.get(executor.key_of(step.caches, node), frozenset())
        is_older = any(maker in self._ran and self._is_gone(owner) for owner, maker in made_with)
        outputs = executor.kept_of(step, node)
        if outputs is not None and (is_older or any(above)):
            stale.append(outputs)
            known[node] = True
        return known[node]

    def _dead_inputs(self, step: Step) -> list[RemoteHandle]:
        given = [(executor.given_to(step, source, step.node), socket) for source, socket in step.links(step.node)]
        outputs = [outputs[socket] for outputs, socket in given if outputs is not None and socket < len(outputs)]
        return self._dead_in(outputs)

    def _makers(self, step: Step, error: HandleGone, stale: list[Any]) -> set[tuple[str, Object]]:
        """The nodes above that made the objects which are gone, where a node of ComfyUI in between has hidden them in an object of its own:
        they run again, and all on the way from them."""
        found: set[str] = set()
        self._look_above(step, error, step.node, {}, found, stale)
        return {(node, each) for node in found for each in error.objects}

    def _look_above(self, step: Step, error: HandleGone, node: str, known: dict[str, bool], found: set[str], stale: list[Any]) -> bool:
        """Whether a node is such a maker, or one is above it."""
        if node in known or not step.dynprompt.has_node(node):
            return known.get(node, False)
        known[node] = False
        above = [self._look_above(step, error, source, known, found, stale) for source, _ in step.links(node)]
        # an equal node may have made it: ComfyUI keeps one output for both
        is_maker = f"{step.class_type(node)} (node {node})" in error.makers or executor.key_of(step.caches, node) in error.keys
        if is_maker:
            found.add(node)
        # what it has made itself is seen to be gone, or is made already
        if node != step.node and any(above) and (outputs := executor.kept_of(step, node)) is not None:
            stale.append(outputs)
        known[node] = is_maker or any(above)
        return known[node]

    def _is_stale(self, step: Step, node: str, known: dict[str, bool], stale: list[Any]) -> bool:
        """Whether an object in a kept output was made where its node does not run any more, there or above. `stale` gets those outputs."""
        if node in known:
            return known[node]
        known[node] = False
        outputs = executor.kept_of(step, node)
        if outputs is None or not step.dynprompt.has_node(node) or not holds(outputs, is_live):
            return False
        key = executor.key_of(step.caches, node)
        moved = key in self._made and self._made[key] != self._place(step, node)
        above = [self._is_stale(step, source, known, stale) for source, _ in step.links(node)]
        if moved or any(above):
            stale.append(outputs)
            known[node] = True
        return known[node]

    def _is_gone(self, owner: str) -> bool:
        return owner in self._gone or self._is_known_gone(owner)

    def _is_dead(self, value: Any) -> bool:
        return type(value) is RemoteHandle and self._is_gone(owner_of_handle(value) or "")

    def _dead_in(self, value: Any) -> list[RemoteHandle]:
        return [handle for handle in handles_in(value) if self._is_dead(handle)]
