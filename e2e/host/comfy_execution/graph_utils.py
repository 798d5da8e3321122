"""What a node returns to keep the nodes behind it from running, and links."""


class ExecutionBlocker:
    """Blocks the output it stands at; with a message that is an error."""

    def __init__(self, message):
        self.message = message


def is_link(value):
    """Whether an input is another node's output: `[node, index]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], (int, float))


class GraphBuilder:
    """Makes nodes that a node adds to the graph (`expand`); their ids begin with its own."""

    _root, _index, _graph = "", 0, 0

    def __init__(self, prefix=None):
        self.prefix = prefix or self.alloc_prefix()
        self.nodes = {}

    @classmethod
    def set_default_prefix(cls, prefix_root, call_index, graph_index=0):
        """Whose nodes come now."""
        cls._root, cls._index, cls._graph = prefix_root, call_index, graph_index

    @classmethod
    def alloc_prefix(cls):
        """One for each builder of a node."""
        GraphBuilder._graph += 1
        return f"{cls._root}.{cls._index}.{cls._graph - 1}."

    def node(self, class_type, id=None, **inputs):
        """Add a node."""
        name = self.prefix + str(id or len(self.nodes) + 1)
        self.nodes[name] = Node(name, class_type, inputs)
        return self.nodes[name]

    def finalize(self):
        """The graph as a prompt has it."""
        return {name: {"class_type": node.class_type, "inputs": node.inputs} for name, node in self.nodes.items()}


class Node:
    """A node that was added."""

    def __init__(self, id, class_type, inputs):
        self.id, self.class_type, self.inputs = id, class_type, inputs

    def out(self, index):
        """A link to one of its outputs."""
        return [self.id, index]
