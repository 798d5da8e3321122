"""The graph of a prompt, and the order in which its nodes run (`comfy_execution/graph.py`)."""

import asyncio

import nodes

from .graph_utils import is_link


class DynamicPrompt:
    """A prompt and the nodes that its nodes have added to it."""

    def __init__(self, prompt):
        self.original_prompt = prompt
        self.ephemeral_prompt, self.ephemeral_parents, self.ephemeral_display = {}, {}, {}

    def get_node(self, node_id):
        """A node, added or not."""
        return self.ephemeral_prompt.get(node_id) or self.original_prompt[node_id]

    def has_node(self, node_id):
        """Whether there is one of that id."""
        return node_id in self.original_prompt or node_id in self.ephemeral_prompt

    def add_ephemeral_node(self, node_id, node, parent_id, display_id):
        """Add one."""
        self.ephemeral_prompt[node_id] = node
        self.ephemeral_parents[node_id], self.ephemeral_display[node_id] = parent_id, display_id

    def get_parent_node_id(self, node_id):
        """The node that added it; None for a node of the prompt."""
        return self.ephemeral_parents.get(node_id)

    def get_real_node_id(self, node_id):
        """The node of the prompt that it stands for."""
        while node_id in self.ephemeral_parents:
            node_id = self.ephemeral_parents[node_id]
        return node_id

    def get_display_node_id(self, node_id):
        """The node that the browser marks."""
        while node_id in self.ephemeral_display:
            node_id = self.ephemeral_display[node_id]
        return node_id

    def all_node_ids(self):
        """Of all nodes."""
        return {*self.original_prompt, *self.ephemeral_prompt}

    def get_original_prompt(self):
        """The prompt as it was queued."""
        return self.original_prompt


def get_input_info(cls, name, valid=None):
    """Type, section and options of an input; three times None if the class has none of that name."""
    valid = valid or cls.INPUT_TYPES()
    for section in ("required", "optional", "hidden"):
        spec = valid.get(section, {}).get(name)
        if spec is not None:
            return spec[0], section, spec[1] if len(spec) > 1 else {}
    return None, None, None


class ExecutionList:
    """Nodes that wait. One that was staged can be given back with more to wait for."""

    def __init__(self, dynprompt, output_cache):
        self.dynprompt, self.output_cache = dynprompt, output_cache
        self.pendingNodes, self.blockCount, self.blocking = {}, {}, {}
        self.externalBlocks, self.unblockedEvent = 0, asyncio.Event()
        self.staged_node_id = None
        self.execution_cache, self.execution_cache_listeners = {}, {}

    def is_cached(self, node_id):
        """Whether its output is kept."""
        return self.output_cache.get_local(node_id) is not None

    def is_empty(self):
        """Whether nothing waits."""
        return not self.pendingNodes

    def add_node(self, node_id):
        """A node is to run, and before it what its inputs need, but for lazy ones."""
        waiting, links = [node_id], []
        while waiting:
            current = waiting.pop()
            if current in self.pendingNodes:
                continue
            self.pendingNodes[current], self.blockCount[current], self.blocking[current] = True, 0, {}
            node = self.dynprompt.get_node(current)
            for name, value in node["inputs"].items():
                _, _, info = get_input_info(nodes.NODE_CLASS_MAPPINGS[node["class_type"]], name)
                if is_link(value) and not (info or {}).get("lazy"):
                    if not self.is_cached(value[0]):
                        waiting.append(value[0])
                    links.append((value[0], value[1], current))
        for link in links:
            self.add_strong_link(*link)

    def add_strong_link(self, source, socket, target):
        """`target` needs an output of `source`, and waits for it if it is not kept."""
        if not self.is_cached(source):
            self.add_node(source)
            if target not in self.blocking[source]:
                self.blocking[source][target] = {}
                self.blockCount[target] += 1
            self.blocking[source][target][socket] = True
        self.cache_link(source, target)

    def make_input_strong_link(self, target, name):
        """A lazy input is needed after all."""
        source, socket = self.dynprompt.get_node(target)["inputs"][name]
        self.add_strong_link(source, socket, target)

    def cache_link(self, source, target):
        """Keep the output of `source` for `target`, now or when it is there."""
        self.execution_cache.setdefault(target, {})[source] = self.output_cache.get_local(source)
        self.execution_cache_listeners.setdefault(source, set()).add(target)

    def get_cache(self, source, target):
        """The output of `source` that `target` was to get."""
        value = self.execution_cache.get(target, {}).get(source)
        if value is not None:
            self.output_cache.set_local(source, value)
        return value

    def cache_update(self, node_id, value):
        """A node has run."""
        for target in self.execution_cache_listeners.get(node_id, ()):
            if target in self.execution_cache:
                self.execution_cache[target][node_id] = value

    def add_external_block(self, node_id):
        """A node waits for something that is not a node; returns what ends that."""
        self.externalBlocks += 1
        self.blockCount[node_id] += 1

        def unblock():
            self.externalBlocks -= 1
            self.blockCount[node_id] -= 1
            self.unblockedEvent.set()

        return unblock

    async def stage_node_execution(self):
        """The next node that waits for nothing."""
        while not (ready := [node for node in self.pendingNodes if self.blockCount[node] == 0]):
            if not self.externalBlocks:
                raise RuntimeError("a cycle in the graph")
            await self.unblockedEvent.wait()
            self.unblockedEvent.clear()
        self.staged_node_id = ready[0]
        return self.staged_node_id

    def unstage_node_execution(self):
        """It goes back."""
        self.staged_node_id = None

    def complete_node_execution(self):
        """It has run."""
        node_id, self.staged_node_id = self.staged_node_id, None
        del self.pendingNodes[node_id]
        for target in self.blocking.pop(node_id):
            self.blockCount[target] -= 1
        self.execution_cache.pop(node_id, None)
        self.execution_cache_listeners.pop(node_id, None)
