"""Frames of the call path."""

import json
import struct

import pytest

from python_shim.wire.errors import CodedError
from python_shim.wire.frames import LARGEST_BODY, FrameReader, pack


def test_frames_arrive_whole_however_they_are_cut():
    sent = [({"id": n}, json.dumps(["ü\ud800" * n]).encode()) for n in range(20)]
    data = b"".join(pack(header, body) for header, body in sent)
    for step in (1, 3, 7, 64, len(data)):
        reader, found = FrameReader(), []
        for at in range(0, len(data), step):
            found += reader.feed(data[at : at + step])
        assert found == sent


def test_a_body_that_is_too_large_is_refused_before_it_is_sent():
    with pytest.raises(CodedError) as caught:
        pack({}, bytes(LARGEST_BODY + 1))
    assert caught.value.code == "VALUE_NOT_PORTABLE" and "tensor" in caught.value.hint


def test_a_length_that_cannot_be_is_no_frame():
    with pytest.raises(ValueError):
        list(FrameReader().feed(struct.pack(">II", 1 << 31, 0)))
