"""What is kept of nodes that have run, and the nodes that others have added."""

from typing import NamedTuple

import nodes
from comfy_execution.caching import Cache, InputSignature, NodeId, NullCache
from comfy_execution.graph_utils import is_link


class CacheEntry(NamedTuple):
    """What is kept of a node that has run."""

    ui: dict | None
    outputs: list


class CacheSet:
    """Kept outputs and node objects. `kind`: "classic", "lru" or "none"."""

    def __init__(self, kind="classic", most=0):
        none = kind == "none"
        self.outputs = NullCache() if none else Cache(InputSignature, most if kind == "lru" else 0)
        self.objects = NullCache() if none else Cache(NodeId)
        self.all = [self.outputs, self.objects]


async def add_subgraph(caches, dynprompt, execution_list, unique_id, results):
    """Nodes that a node has added: they run, and then it ends with their outputs."""
    new, links, kept = set(), [], []
    for graph, outputs in results:
        for node_id, node in (graph or {}).items():
            dynprompt.add_ephemeral_node(node_id, node, unique_id, unique_id)
            new.add(node_id)
        links += [value for value in outputs if is_link(value)]
        kept.append((graph is not None, outputs))
    for cache in caches.all:
        await cache.ensure_subcache_for(unique_id, new)
    for node_id in new:
        if getattr(nodes.NODE_CLASS_MAPPINGS[dynprompt.get_node(node_id)["class_type"]], "OUTPUT_NODE", False):
            execution_list.add_node(node_id)
            execution_list.cache_link(node_id, unique_id)
    for source, socket in links:
        execution_list.add_strong_link(source, socket, unique_id)
    return kept


def from_subgraph(execution_list, unique_id, kept):
    """Outputs of a node that has added others, now that they have run."""
    resolved = []
    for is_subgraph, outputs in kept:
        values = []
        for value in outputs:
            if is_subgraph and is_link(value):
                values += execution_list.get_cache(value[0], unique_id).outputs[value[1]]
            else:
                values.append(value)
        resolved.append(tuple(values))
    return resolved
