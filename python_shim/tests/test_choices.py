"""Where a node runs: the nearest choice wins."""

import uuid

from python_shim.shim.choices import PROPERTY, Choices, node_choices


def node(number, choice=None, kind="Blur"):
    """A node as a workflow holds it."""
    return {"id": number, "type": kind, "properties": {} if choice is None else {PROPERTY: choice}}


def prompt(*nodes, **more):
    """A request to queue a prompt."""
    return {"prompt": {}, "extra_data": {"extra_pnginfo": {"workflow": {"nodes": list(nodes), **more}}}}


def test_pack_class_and_node_the_nearest_wins():
    choices = Choices()
    assert not choices.isolated("pack", "Blur", "1", None)
    choices.set_pack("pack", True, {"Sharpen": False})
    assert choices.isolated("pack", "Blur", "1", None)
    assert not choices.isolated("pack", "Sharpen", "1", None)
    body = prompt(node(1, False), node(2, True))
    choices.on_prompt(body)
    run = body["prompt_id"]
    assert not choices.isolated("pack", "Blur", "1", run)
    assert choices.isolated("pack", "Sharpen", "2", run)
    assert choices.isolated("pack", "Blur", "3", run)
    assert choices.isolated("pack", "Blur", "1", "another prompt")


def test_a_prompt_keeps_the_id_that_it_brings_and_none_is_made_without_need():
    choices = Choices()
    assert "prompt_id" not in (choices.on_prompt(plain := prompt(node(1))) or plain)
    body = {**prompt(node(1, True)), "prompt_id": "mine"}
    choices.on_prompt(body)
    assert body["prompt_id"] == "mine" and choices.isolated("pack", "Blur", "1", "mine")


def test_nodes_in_subgraphs_are_named_by_their_way_down():
    inner = {"id": "aa-bb", "nodes": [node(3, True)]}
    workflow = {"nodes": [node(12, kind="aa-bb")], "definitions": {"subgraphs": [inner]}}
    assert node_choices(workflow) == {"12:3": True}


def test_a_subgraph_that_holds_itself_ends():
    inner = {"id": "aa", "nodes": [node(3, True), node(4, kind="aa")]}
    assert node_choices({"nodes": [node(1, kind="aa")], "definitions": {"subgraphs": [inner]}}) == {"1:3": True}


def test_nodes_made_by_another_follow_it():
    choices = Choices()
    body = prompt(node(5, True))
    choices.on_prompt(body)
    assert choices.isolated("pack", "Blur", "5.0.0.1", body["prompt_id"])


def test_strange_workflows_choose_nothing():
    for workflow in (None, [], {"nodes": [None, {"id": 1, "properties": {PROPERTY: "yes"}}]}):
        assert node_choices(workflow) == {}


def test_a_prompt_id_that_is_null_is_one_that_is_missing():
    choices, body = Choices(), {**prompt(node(1, True)), "prompt_id": None}
    choices.on_prompt(body)
    assert str(uuid.UUID(body["prompt_id"])) == body["prompt_id"]  # ComfyUI takes this spelling only
    assert choices.isolated("pack", "Blur", "1", body["prompt_id"])
