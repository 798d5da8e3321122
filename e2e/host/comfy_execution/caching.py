"""Outputs and node objects that are kept between prompts (`comfy_execution/caching.py`)."""

import itertools
from collections.abc import Mapping, Sequence

import nodes

from .graph_utils import is_link


def _hashable(value):
    """A key by what a value holds; of what is neither plain nor a container, one that is never found again."""
    if isinstance(value, (int, float, str, bytes, type(None))):
        return value
    if isinstance(value, Mapping):
        return frozenset((_hashable(key), _hashable(item)) for key, item in value.items())
    if isinstance(value, Sequence):
        return frozenset(zip(itertools.count(), map(_hashable, value), strict=False))
    return object()


class InputSignature:
    """Keys of outputs: a node's class and inputs, and those of all nodes above it."""

    def __init__(self, dynprompt, is_changed):
        self._dynprompt, self._is_changed = dynprompt, is_changed
        self._keys, self._signatures = {}, {}

    async def add(self, node_ids):
        """Find the keys of these nodes."""
        for node_id in node_ids:
            if self._dynprompt.has_node(node_id) and node_id not in self._keys:
                self._keys[node_id] = _hashable(await self._signature(node_id))

    async def _signature(self, node_id):
        if node_id not in self._signatures:
            self._signatures[node_id] = await self._signed(node_id)
        return self._signatures[node_id]

    async def _signed(self, node_id):
        node = self._dynprompt.get_node(node_id)
        changed = await self._is_changed.get(node_id)
        signature = [node["class_type"], changed]
        cls = nodes.NODE_CLASS_MAPPINGS[node["class_type"]]
        if getattr(cls, "NOT_IDEMPOTENT", False) or "UNIQUE_ID" in cls.INPUT_TYPES().get("hidden", {}).values():
            signature.append(node_id)
        for name in sorted(node["inputs"]):
            value = node["inputs"][name]
            signature.append((name, ("link", await self._signature(value[0]), value[1]) if is_link(value) else value))
        return signature

    def get_data_key(self, node_id):
        """A node's key."""
        return self._keys.get(node_id)

    def used(self):
        """Those of this prompt."""
        return set(self._keys.values())


class NodeId:
    """Keys of node objects: id and class."""

    def __init__(self, dynprompt, is_changed):
        self._dynprompt, self._keys = dynprompt, {}

    async def add(self, node_ids):
        """Find the keys of these nodes."""
        self._keys.update({node_id: (node_id, self._dynprompt.get_node(node_id)["class_type"]) for node_id in node_ids})

    def get_data_key(self, node_id):
        """A node's key."""
        return self._keys.get(node_id)

    def used(self):
        """Those of this prompt."""
        return set(self._keys.values())


class Cache:
    """Keeps what the last prompt had (`most` 0), or the newest ones."""

    def __init__(self, keys, most=0):
        self._kind, self._most = keys, most
        self.cache, self.subcaches = {}, {}

    async def set_prompt(self, dynprompt, node_ids, is_changed):
        """The keys are those of this prompt from now on."""
        self.cache_key_set = self._kind(dynprompt, is_changed)
        await self.cache_key_set.add(node_ids)

    async def ensure_subcache_for(self, node_id, children):
        """Nodes were added by another."""
        await self.cache_key_set.add(children)
        return self

    def clean_unused(self):
        """Forget what is not of this prompt."""
        used = self.cache_key_set.used()
        for key in [key for key in self.cache if key not in used]:
            if len(self.cache) > self._most:
                del self.cache[key]

    def get_local(self, node_id):
        """What is kept of a node."""
        return self.cache.get(self.cache_key_set.get_data_key(node_id))

    def set_local(self, node_id, value):
        """Keep it."""
        self.cache[self.cache_key_set.get_data_key(node_id)] = value

    async def get(self, node_id):
        """What is kept of a node."""
        return self.get_local(node_id)

    async def set(self, node_id, value):
        """Keep it."""
        self.set_local(node_id, value)


class NullCache:
    """Keeps nothing."""

    async def set_prompt(self, dynprompt, node_ids, is_changed):
        """Nothing to do."""

    async def ensure_subcache_for(self, node_id, children):
        """Nothing to do."""
        return self

    def clean_unused(self):
        """Nothing to do."""

    def get_local(self, node_id):
        """Nothing."""
        return None

    def set_local(self, node_id, value):
        """Nothing is kept."""

    async def get(self, node_id):
        """Nothing."""
        return None

    async def set(self, node_id, value):
        """Nothing is kept."""
