"""Which kept outputs are forgotten, and who runs again: graphs that a test with a whole ComfyUI would need too many nodes for."""

from types import SimpleNamespace

import pytest

from python_shim.shim.executor import Step
from python_shim.shim.handles import RemoteHandle
from python_shim.shim.kept import KeptOutputs
from python_shim.shim.remote_error import handle_gone


class Live:
    """An object that does not cross."""


class Prompt:
    """A prompt whose nodes take whole outputs of others; each node's class has its name."""

    def __init__(self, **inputs: list[str]) -> None:
        self._inputs = inputs
        self.ephemeral_parents: dict[str, str] = {}

    def has_node(self, node):
        return node in self._inputs

    def get_node(self, node):
        return {"class_type": node, "inputs": {source: [source, 0] for source in self._inputs[node]}}


class Waiting:
    """The nodes that wait, and what they have been put behind."""

    def __init__(self, *nodes: str) -> None:
        self.pendingNodes = dict.fromkeys(nodes, True)
        self.behind: list[tuple[str, str]] = []

    def add_strong_link(self, source, socket, node):
        self.behind.append((source, node))


def step_of(prompt, kept, node, *waiting):
    keys = SimpleNamespace(get_data_key=lambda name: name)
    outputs = SimpleNamespace(cache=kept, cache_key_set=keys, get=kept.get)
    return Step(prompt, SimpleNamespace(outputs=outputs), node, "p", Waiting(node, *waiting), {}, {})


def handle(owner="dead", made_by="maker (node maker)", name="1"):
    calls = SimpleNamespace(is_gone=lambda name: name == "dead", forget_handle=lambda tag: None)
    return RemoteHandle(calls, {"id": name, "owner": owner, "worker": "w#1", "type": "pack.Thing", "made_by": made_by})


def outputs_of(kept, place=lambda step, node: None):
    made = KeptOutputs(lambda owner: owner == "dead", place)
    made.begin(SimpleNamespace(outputs=SimpleNamespace(cache=kept)))
    return made


def test_all_ways_from_a_maker_that_runs_elsewhere_now_are_forgotten():
    """A node that two others lie between is looked at for both."""
    prompt = Prompt(maker=[], left=["maker"], right=["maker"], both=["left", "right"], last=["both"])
    kept = {name: [[Live()]] for name in ("maker", "left", "right", "both")}
    places = {"maker": "pack"}
    outputs = outputs_of(kept, lambda step, node: places.get(node))
    step = step_of(prompt, kept, "last")
    for node in kept:
        outputs.has_run(step._replace(node=node))
    places.clear()
    assert outputs.waits_again(step)
    assert kept == {}


def test_a_graph_with_very_many_ways_is_looked_through_once():
    layers = [(f"a{at}", f"b{at}") for at in range(40)]
    inputs = {name: list(layers[at - 1]) if at else ["maker"] for at, layer in enumerate(layers) for name in layer}
    prompt = Prompt(maker=[], **inputs, last=list(layers[-1]))
    kept = {name: [[Live()]] for name in inputs}
    outputs = outputs_of(kept)
    assert outputs.waits_again(step_of(prompt, kept, "last"), handle_gone(handle()))
    assert kept == {}


@pytest.mark.parametrize("waits", ["before it begins", "after its call has not run"])
def test_who_hid_an_object_gives_it_again_and_its_maker_runs(waits):
    """A node of ComfyUI takes an old object out of one of its own each time that it runs."""
    prompt = Prompt(maker=[], box=["maker"], out=["box"], last=["out"])
    old = handle()
    kept = {"box": [[Live()]], "out": [[old]]}
    outputs = outputs_of({})
    step = step_of(prompt, kept, "last")
    assert outputs.waits_again(step) and step.waiting.behind == [("out", "last")] and list(kept) == ["box"]
    kept["out"] = [[old]]
    assert outputs.waits_again(step, None if waits.startswith("before") else handle_gone(old))
    assert kept == {}
    kept["out"] = [[old]]
    assert not outputs.waits_again(step)


def test_an_object_that_an_equal_node_has_made_is_made_again_by_this_one():
    """ComfyUI keeps one output for nodes that are equal, whatever they are called."""
    prompt = Prompt(maker=[], out=["maker"], last=["out"])
    made = handle(owner="lives", made_by="maker (node other)")
    kept = {"maker": [[made]], "out": [[made]]}
    outputs = outputs_of({}, lambda step, node: "pack")
    step = step_of(prompt, kept, "last")
    outputs.has_run(step._replace(node="maker"))
    outputs.has_run(step._replace(node="out"))
    error = handle_gone(made)
    assert error.keys == {"maker"}
    del kept["maker"]
    assert outputs.waits_again(step, error) and kept == {}


def test_a_maker_whose_call_went_to_a_process_on_its_last_calls_is_asked_again():
    """It has made another object; who gives the same one twice keeps it."""
    prompt = Prompt(maker=[], last=["maker"])
    kept = {"maker": [[handle()]]}
    outputs = outputs_of({})
    step = step_of(prompt, kept, "last")
    assert outputs.waits_again(step) and kept == {}
    kept["maker"] = [[handle(name="2")]]
    assert outputs.waits_again(step) and kept == {}
    kept["maker"] = [[handle(name="2")]]
    assert not outputs.waits_again(step)


def test_a_node_that_has_begun_waits_for_what_another_has_asked_for():
    """Its call has not run for want of an object that is made again already, for another node."""
    prompt = Prompt(maker=[], first=["maker"], second=["maker"])
    old = handle()
    kept = {"maker": [[old]]}
    outputs = outputs_of({})
    first = step_of(prompt, kept, "first", "second")
    given = {name: {"maker": kept["maker"]} for name in ("first", "second")}
    first.waiting.execution_cache = given
    first.tasks["second"] = []
    assert outputs.waits_again(first, handle_gone(old))
    assert first.waiting.behind == [("maker", "first")] and given == {"first": {"maker": None}, "second": {"maker": [[old]]}}
    second = first._replace(node="second", tasks={})
    kept["maker"] = [[handle(owner="lives")]]
    assert outputs.waits_again(second, handle_gone(old)) and second.waiting.behind[-1] == ("maker", "second")
    assert "maker" in kept


@pytest.mark.parametrize("made_again", [False, True])
def test_a_node_that_has_begun_is_given_what_has_been_forgotten_meanwhile(made_again):
    """Where what is kept is also what nodes are given (0.3.64)."""
    prompt = Prompt(maker=[], first=["maker"], second=["maker"])
    old = handle()
    kept = {"maker": [[old]]}
    outputs = outputs_of({})
    first = step_of(prompt, kept, "first", "second")
    second = first._replace(node="second")
    for step in (first, second):
        outputs.begins(step)
    first.tasks["second"] = []
    assert outputs.waits_again(first, handle_gone(old)) and kept == {}
    first.tasks.clear()
    if made_again:
        kept["maker"] = [[handle(owner="lives")]]
    assert outputs.waits_again(second, handle_gone(old))
    assert first.waiting.behind == [("maker", "first")] + ([] if made_again else [("maker", "second")])
    kept["maker"] = [[handle(owner="lives")]]
    assert not (made_again and outputs.waits_again(second, handle_gone(old)))
