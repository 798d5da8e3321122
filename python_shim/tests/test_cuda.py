"""Tensors on a GPU. What needs one is skipped without one, and says so; what decides about it is tested anywhere."""

import json
import subprocess
import sys
import types

import pytest
import torch

from python_shim.wire import cuda
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from python_shim.wire.decoder import Decoder
from python_shim.wire.mapping import MappedSegments
for line in sys.stdin:
    decoder = Decoder(MappedSegments(), lambda tag: None)
    try:
        tensor = decoder.decode(json.loads(line))
        tensor.add_(1)
        print(json.dumps([str(tensor.device), float(tensor.sum()), decoder.done]), flush=True)
    except OSError as error:
        print(json.dumps(["refused", str(error), []]), flush=True)
"""


def like_torch(backend="native", hip=None):
    return types.SimpleNamespace(version=types.SimpleNamespace(hip=hip), cuda=types.SimpleNamespace(get_allocator_backend=lambda: backend))


def on(device):
    return types.SimpleNamespace(device=types.SimpleNamespace(type=device))


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA IPC is Linux's")
def test_where_gpu_memory_cannot_be_named_it_is_copied(monkeypatch):
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    assert cuda.usable(like_torch(), on("cuda"))
    assert not cuda.usable(like_torch(), on("cpu"))
    assert not cuda.usable(like_torch(backend="cudaMallocAsync"), on("cuda"))
    assert not cuda.usable(like_torch(hip="6.2"), on("cuda"))
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64, expandable_segments: True")
    assert not cuda.usable(like_torch(), on("cuda"))


def test_another_torch_or_a_gpu_that_is_not_there_is_refused_before_anything_is_opened():
    tag = {"torch": "0.0", "uuid": "none", "handle": "", "counter": "", "event": "", "numbers": [0] * 5, "stride": [1], "check": None}
    with pytest.raises(OSError, match=r"torch 0\.0"):
        cuda.receive(torch, tag, [1], torch.float32)
    with pytest.raises(OSError, match="does not see that GPU"):
        cuda.receive(torch, {**tag, "torch": str(torch.__version__)}, [1], torch.float32)


def test_a_tensor_of_a_gpu_that_the_receiver_lacks_arrives_on_the_cpu():
    pool = SegmentPool()
    tag = Encoder(pool).encode(torch.ones(3), "x")
    assert Decoder(MappedSegments(), lambda tag: None).decode({**tag, "device": "cuda:7"}).device.type == "cpu"
    pool.close()


@needs_gpu
@pytest.mark.parametrize("gpu", ["check", "yes", None])
def test_another_process_gets_a_copy_of_its_own_on_the_gpu(gpu):
    pool = SegmentPool()
    root = __file__.rsplit("/python_shim/", 1)[0]
    child = subprocess.Popen([sys.executable, "-c", CHILD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    tensor = torch.arange(100_000, device="cuda", dtype=torch.float32)[10:]
    encoder = Encoder(pool, gpu=gpu)
    child.stdin.write(json.dumps(encoder.encode(tensor, "x")) + "\n")
    child.stdin.flush()
    device, total, done = json.loads(child.stdout.readline())
    child.stdin.close()
    child.wait()
    assert device == str(tensor.device) and total == pytest.approx(float((tensor + 1).sum()))
    assert float(tensor[0]) == 10 and done == (encoder.leases if gpu else [])
    pool.close()
