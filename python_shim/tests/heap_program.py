"""A worker's half and ComfyUI's half in one process, with glibc told what a worker's is: `heap_program.py CASE`. Prints one JSON object."""

import gc
import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import torch

from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.result_heap import make_heap
from python_shim.wire.segments import SegmentPool

MANY = 2_000_000
torch.set_num_threads(1)  # its threads do not outlive a fork


class Both:
    def __init__(self):
        self.pool, self.host = SegmentPool(), MappedSegments()
        self.heap = make_heap(self.pool)

    def through(self, result):
        """What ComfyUI gets of a node's result, and whether its bytes were copied. `result` makes it, so that nobody else has it."""
        encoder = Encoder(self.pool, heap=self.heap)
        with torch.inference_mode():
            text = json.dumps(encoder.encode(result(), "the result"))
        del encoder
        value = Decoder(self.host, lambda tag: None).decode(json.loads(text))
        self.settle()
        return value, "-h" not in text

    def settle(self):
        """As between two calls."""
        gc.collect()
        for lease in self.host.let_go():
            self.pool.release(lease)
        self.heap.settle()
        while any(thread.name == "envmanager-heap" for thread in threading.enumerate()):
            time.sleep(0.001)

    def warm(self, result):
        """The first results of a size are copied."""
        for _ in range(12):
            self.through(result)


def ones(number=1.0):
    return (torch.full((MANY,), float(number)),)


def steady(both):
    copied = [both.through(lambda i=i: ones(i))[1] for i in range(40)]
    return {"copied_late": sum(copied[20:]), "leased": both.pool.usage()[0]}


def kept(both):
    both.warm(ones)
    keeper = []

    def node():
        keeper[:] = ones(3)
        return tuple(keeper)

    def view():
        keeper[:] = ones(3)
        return (keeper[0].view(2, -1),)

    def numpy_view():
        tensor = ones(3)[0]
        keeper[:] = [tensor.numpy()]
        return (tensor,)

    found = {}
    for make in (node, view, numpy_view):
        value, copied = both.through(make)
        with torch.inference_mode():
            keeper[0][:] = 9
        found[make.__name__] = [copied, value[0].min().item(), value[0].max().item()]
    return found


def foreign(both):
    import numpy

    both.warm(ones)
    arrays = [numpy.full(MANY, 3, numpy.float32) for _ in range(8)]
    shared = [array for array in arrays if any(block.holds(array.ctypes.data, 4 * MANY) for block in both.heap._blocks)]
    found = []
    for array in shared:
        value, copied = both.through(lambda array=array: (torch.from_numpy(array),))
        array[:] = 9
        found.append([copied, value[0].max().item()])
    return {"shared": len(shared) > 0, "as_expected": all(one == [True, 3] for one in found)}


def written(both):
    """ComfyUI writes into what it got; the next results lie in the same memory."""
    both.warm(ones)
    sums = []
    for i in range(1, 9):
        value, _ = both.through(lambda i=i: ones(i))
        first = value[0].sum().item() / MANY
        value[0][100] = 77
        sums.append([first, value[0][100].item()])
        del value
    return {"sums": sums}


def held(both):
    """Results that ComfyUI keeps stay what they were, whatever runs after them."""
    both.warm(ones)
    values = [both.through(lambda i=i: ones(i))[0][0] for i in range(10)]
    for i in range(10):
        both.through(lambda i=i: ones(100 + i))
    return {"held": [[value.min().item(), value.max().item()] for value in values]}


def fork(both):
    """After a fork both processes write into their heaps, and neither sees it."""
    both.warm(ones)
    value, copied = both.through(lambda: ones(5))
    mine = [torch.full((MANY,), 1.0) for _ in range(3)]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for tensor in mine:
            tensor.fill_(2)
        junk = [bytes(random.randbytes(5000)) for _ in range(3000)]
        os.write(write, str(len(junk)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    after = both.through(lambda: ones(6))
    got = [value[0].min().item(), value[0].max().item(), *(tensor.max().item() for tensor in mine), after[0][0].max().item()]
    return {"copied": copied, "child": os.read(read, 10).decode(), "values": got, "after": after[1], "on": both.heap.on}


def idle(both):
    def shared():
        text = pathlib.Path("/proc/self/status").read_text()
        return int(text.split("RssShmem:")[1].split()[0])

    base = shared()
    both.warm(ones)
    both.settle()
    before = shared()
    both.heap.shrink()
    both.pool.shrink(0)
    both.host.forget_unused(0)
    after = shared()
    both.warm(ones)
    return {"used": before - base, "left": after - base}


def mixed(both):
    """Sizes at random, some kept for a while: every value right, and few copies."""
    random.seed(4)
    values, wrong, copies = [], 0, 0
    for i in range(400):
        size = random.choice([300_000, 500_000, 800_000, 1_500_000, 3_000_000])
        kept_inside = torch.full((size // 2,), float(i)) * 2  # what a node makes on its way
        value, copied = both.through(lambda i=i, size=size: (torch.full((size,), float(i)) + 0,))
        copies += copied
        values.append((float(i), value[0]))
        del kept_inside, value
        if len(values) > 6:
            number, tensor = values.pop(random.randrange(len(values)))
            wrong += not (tensor.min().item() == tensor.max().item() == number)
            del tensor
    return {"wrong": wrong, "copies": copies}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](Both())))
    sys.stdout.flush()
    os._exit(0)
