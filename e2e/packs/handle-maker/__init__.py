"""Nodes that hand an object of their own from one to the next, and write down each run."""

import collections
import os
import types

import folder_paths
import torch

#: An update of the pack has another number here.
EDITION = 1


def ran(what):
    """One line for each run, where tests read it."""
    with open(os.path.join(folder_paths.get_output_directory(), "runs.log"), "a", encoding="utf-8") as file:
        file.write(f"{what}\n")


class Thing:
    """An object that is no data."""

    def __init__(self, seed):
        self.seed = seed


def node(returns, **inputs):
    """A node class around one function: `inputs` are its sockets."""

    def make(function):
        kinds = {"required": {name: kind if isinstance(kind, tuple) else (kind,) for name, kind in inputs.items()}}

        def run(self, **given):
            ran(function.__name__)
            return function(**given)

        body = {"INPUT_TYPES": classmethod(lambda cls: kinds), "RETURN_TYPES": returns, "FUNCTION": "run", "CATEGORY": "tests", "run": run}
        return type(function.__name__, (), body)

    return make


@node(("INT",), seed=("INT", {"default": 0}))
def HandleSeed(seed):
    """Data only."""
    return (seed,)


@node(("THING",), seed=("INT", {"default": 0, "forceInput": True}))
def HandleMake(seed):
    """A loader."""
    return (Thing(seed),)


@node(("THING",), thing="THING")
def HandleNext(thing):
    """Another object from the first."""
    return (Thing(thing.seed + 1),)


@node(("THINGS",), thing="THING")
def HandleList(thing):
    """In a list."""
    return ([1, thing, "two"],)


@node(("THINGS",), thing="THING")
def HandleDict(thing):
    """In a dict in a list."""
    return ([{"thing": thing, "more": [1.5]}],)


@node(("THINGS",), thing="THING", how=("STRING", {}))
def HandleHold(thing, how):
    """Where else a value can have an object."""
    held = {
        "a namespace": lambda: types.SimpleNamespace(thing=thing),
        "a queue": lambda: collections.deque([thing]),
        "a key": lambda: {thing: 1},
        "an attribute of a tensor": lambda: tagged(thing),
    }
    return (held[how](),)


def tagged(thing):
    """A tensor with an attribute."""
    made = torch.ones(1)
    made.thing = thing
    return made


def found(value):
    """The object in what HandleHold has made."""
    if isinstance(value, dict):
        return next(iter(value))
    return value[0] if isinstance(value, collections.deque) else value.thing


@node(("STRING",), held="THINGS", number=("INT", {"default": 0}))
def HandleTakeOut(held, number):
    """Uses it."""
    return (f"{found(held).seed} {number} edition {EDITION}",)


@node(("STRING",), thing="THING,THINGS,*", number=("INT", {"default": 0}))
def HandleUse(thing, number):
    """Uses the object, wherever it lies."""
    if isinstance(thing, list):
        thing = next((item if isinstance(item, Thing) else item["thing"]) for item in thing if isinstance(item, (Thing, dict)))
    return (f"{thing.seed} {number} edition {EDITION}",)


@node(("STRING",), thing="THING", number=("INT", {"default": 0}))
def HandleUseSlowly(thing, number):
    """So that its worker can be ended meanwhile."""
    import time

    time.sleep(1.5)
    return (f"{thing.seed} {number}",)


@node(("THING",), seed="INT", how=("STRING", {}))
def HandleTorch(seed, how):
    """An object of torch that cannot leave its process."""
    made = torch.nn.Linear(1, 1) if how == "a module" else torch.eye(2).to_sparse()
    made.seed = seed
    return (made,)


CLASSES = (HandleSeed, HandleTorch, HandleMake, HandleNext, HandleList, HandleDict, HandleHold, HandleTakeOut, HandleUse, HandleUseSlowly)
NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in CLASSES}
