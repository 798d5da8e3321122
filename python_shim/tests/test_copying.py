"""Bytes from address to address, whoever copies them."""

import pytest
import torch

from python_shim.wire import copying


@pytest.mark.parametrize("threads", [1, 1000], ids=["torch", "memmove"])
@pytest.mark.parametrize("nbytes", [1, 4097, copying.WIDE_BYTES + 3, copying.ALONE_BYTES + 4097])
def test_every_byte_arrives_and_none_beside_them(monkeypatch, nbytes, threads):
    monkeypatch.setattr(copying, "WIDE_THREADS", threads)
    source = torch.randint(0, 255, (nbytes,), dtype=torch.uint8)
    target = torch.full((nbytes + 2,), 255, dtype=torch.uint8)
    copying.copy_bytes(target.data_ptr() + 1, source.data_ptr(), nbytes)
    assert torch.equal(target[1:-1], source)
    assert target[0] == target[-1] == 255
