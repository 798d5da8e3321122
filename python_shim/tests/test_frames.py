"""Frames of the call path."""

import json
import struct

import pytest

from python_shim.wire import frames
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


def test_what_a_consumer_leaves_comes_first_at_the_next_call():
    data = b"".join(pack({"id": n}) for n in range(4))
    reader = FrameReader()
    with pytest.raises(RuntimeError):
        for header, _ in reader.feed(data[:-3]):
            if header["id"] == 1:
                raise RuntimeError
    assert [header["id"] for header, _ in reader.feed(b"")] == [2]
    reader.feed(data[-3:])  # nobody takes it now
    assert [header["id"] for header, _ in reader.feed(b"")] == [3]


def test_frames_before_what_is_none_are_given():
    reader, found = FrameReader(), []
    with pytest.raises(ValueError):
        for header, _ in reader.feed(pack({"id": 7}) + struct.pack(">II", 1 << 31, 0)):
            found.append(header["id"])
    assert found == [7]
    with pytest.raises(ValueError):
        list(reader.feed(pack({"id": 8})))


def test_a_large_frame_is_moved_a_few_times_and_not_once_for_each_piece(monkeypatch):
    frame, piece = pack({"id": 1}, b"1" * (4 << 20)), 1 << 12
    reader, moved = FrameReader(), 0

    monkeypatch.setattr(frames, "bytes", lambda data: (count(), bytes(data))[1], raising=False)

    def count():
        nonlocal moved
        moved += 1

    found = [got for at in range(0, len(frame), piece) for got in reader.feed(frame[at : at + piece])]
    assert len(found) == 1 and len(found[0][1]) == 4 << 20 and moved <= 2
