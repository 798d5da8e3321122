"""Names that never repeat, and memory that is used again only when nobody has it."""

import errno
import gc
import json
import os
import pathlib
import subprocess
import sys

import numpy
import pytest
import torch

from python_shim.wire import mapping, segment_file
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import CodedError
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import OWNER, SegmentPool

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def pool():
    made = SegmentPool()
    yield made
    made.close()


def test_a_process_without_a_given_name_makes_one_that_is_not_its_number():
    ask = "import os, sys; sys.path.insert(0, sys.argv[1]); from python_shim.wire.segments import OWNER; print(OWNER, os.getpid())"
    told = [subprocess.run([sys.executable, "-c", ask, str(ROOT)], capture_output=True, text=True, check=True) for _ in range(2)]
    (first, pid), (second, _) = (each.stdout.split() for each in told)
    assert len({first, second, OWNER}) == 3 and pid not in first and len(first) >= 12


@linux
def test_a_segment_says_its_name_and_another_file_at_its_place_is_refused(pool):
    name, segment = pool.lease(1 << 20)
    ref = pool.ref(name, segment, 0, 100)
    assert os.readlink(f"/proc/self/fd/{segment.fd}") == f"/memfd:comfyui-envmanager-{segment.id} (deleted)"
    assert MappedSegments().map(ref) is not None
    other = pool.lease(1 << 20)[1]
    for wrong in ({**ref, "fd": other.fd}, {**ref, "segment": f"{OWNER}-0"}):
        with pytest.raises(FileNotFoundError):
            MappedSegments().map(wrong)


def test_a_segment_with_a_path_says_its_name_too(pool, tmp_path):
    pool.use_folder(str(tmp_path))
    pool.folder = str(tmp_path)
    name, segment = pool.lease(1 << 20)
    ref = pool.ref(name, segment, 0, 100)
    assert MappedSegments().map(ref) is not None
    with pytest.raises(FileNotFoundError):
        MappedSegments().map({**ref, "segment": f"{OWNER}-0"})


@linux
@pytest.mark.parametrize(("cause", "words"), [(errno.EMFILE, "open files"), (errno.ENOMEM, "memory")])
def test_what_this_process_lacks_itself_is_said_and_not_blamed_on_the_owner(pool, monkeypatch, cause, words):
    name, segment = pool.lease(1 << 20)

    def refuse(*given, **more):
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr(mapping.mmap, "mmap", refuse)
    with pytest.raises(CodedError) as caught:
        MappedSegments().map(pool.ref(name, segment, 0, 100))
    assert caught.value.code == "MEMORY_FULL" and words in f"{caught.value} {caught.value.hint}"


def test_abandoned_memory_is_never_used_again_and_a_late_release_is_harmless(pool):
    name, segment = pool.lease(1 << 20)
    held, other = pool.lease(1 << 20)
    pool.hold([held], "a")
    pool.abandon([name])
    pool.abandon_held()
    for each in (name, held):
        pool.release(each)
    pool.release_holder("a")
    assert pool.usage()[0] == 0 and segment not in pool._free and other not in pool._free
    assert pool.lease(1 << 20)[1] not in (segment, other)


@linux
def test_who_still_reads_abandoned_memory_goes_on_reading_it(pool):
    image = torch.full((400_000,), 0.25)
    encoder = Encoder(pool)
    there = Decoder(MappedSegments(), lambda tag: None).decode(json.loads(json.dumps(encoder.encode(image, "x"))))
    pool.abandon(encoder.leases)
    Encoder(pool).encode(torch.full((400_000,), 0.9), "x")
    assert there.unique().tolist() == [0.25]


def test_a_lease_that_an_ended_process_is_said_to_hold_is_free(pool):
    name, _ = pool.lease(1 << 20)
    pool.release_holder("gone")
    pool.hold([name], "gone")
    assert pool.usage()[0] == 0 and pool.usage()[1] > 0


@linux
@pytest.mark.parametrize("kernel", ["asked", "older"])
def test_a_forked_child_goes_on_seeing_what_was_there(pool, monkeypatch, kernel):
    if kernel == "older":
        monkeypatch.setattr(segment_file, "_MADV_POPULATE_WRITE", 9999)
    mapped, encoder = MappedSegments(), Encoder(pool)
    image = Decoder(mapped, lambda tag: None).decode(encoder.encode(numpy.full(400_000, 0.25), "x"))
    ready, go = os.pipe()
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        os.write(say, json.dumps([image.min(), image.max()]).encode())
        os._exit(0)
    del image
    gc.collect()
    for lease in mapped.let_go():
        pool.release(lease)
    again = Encoder(pool)
    again.encode(numpy.full(400_000, 0.9), "x")
    os.write(go, b"x")
    assert json.loads(os.read(said, 100)) == [0.25, 0.25]
    os.waitpid(child, 0)
    for fd in (ready, go, said, say):
        os.close(fd)


@linux
def test_a_forked_child_tells_of_no_lease_and_removes_no_file(tmp_path):
    pool = SegmentPool()
    pool.folder = str(tmp_path)
    mapped, encoder = MappedSegments(), Encoder(pool)
    image = Decoder(mapped, lambda tag: None).decode(encoder.encode(torch.ones(400_000), "x"))
    child = os.fork()
    if child == 0:
        del image
        gc.collect()
        left = mapped.let_go()
        pool.close()
        os._exit(len(left))
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(tmp_path.iterdir())) == 1 and image.sum() == 400_000
    pool.close()


@linux
def test_where_there_is_no_room_for_a_childs_copies_the_lease_never_ends(pool, monkeypatch):
    mapped, encoder = MappedSegments(), Encoder(pool)
    image = Decoder(mapped, lambda tag: None).decode(encoder.encode(torch.ones(400_000), "x"))
    monkeypatch.setattr(mapping, "_make_own", lambda address, size: False)
    mapped.before_fork()
    del image
    gc.collect()
    assert mapped.let_go() == []
