"""Any value: it arrives equal in type, content and identity, or stays behind a handle, or is refused by its place.

`VALUE_EXAMPLES=10000 pytest python_shim/tests/test_value_properties.py` looks for longer; `VALUE_WORKER_EXAMPLES` is for a real worker.
A failure prints how to see it again (`@reproduce_failure`), and its seed.
"""

import gc
import json
import os
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from python_shim.comfyui_envmanager.errors import WorkerError
from python_shim.comfyui_envmanager.workers import TorchMPWorker
from python_shim.tests import value_strategies as values
from python_shim.tests.value_equality import Handle, difference, shown
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import NotPortable
from python_shim.wire.frames import to_json
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

SEED = int(os.environ.get("VALUE_SEED") or random.SystemRandom().randrange(1 << 32))
EXAMPLES = int(os.environ.get("VALUE_EXAMPLES") or 300)
WORKER_EXAMPLES = int(os.environ.get("VALUE_WORKER_EXAMPLES") or 50)
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]


#: VALUE_SHRINK=0: say what fails at once, however long it is.
PHASES = [phase for phase in Phase if phase is Phase.generate or os.environ.get("VALUE_SHRINK") != "0"]


def many(examples):
    return settings(phases=PHASES, max_examples=examples, deadline=None, database=None, print_blob=True, suppress_health_check=CHECKS)


#: Of torch and numpy, about what is new or old in them.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def the_seed():
    print(f"VALUE_SEED={SEED}")
    gc.collect()
    gc.freeze()  # torch alone takes the collector long, each time
    yield
    gc.unfreeze()


class Border:
    def __init__(self, keeps_objects):
        self.pool, self.mapped, self.kept = SegmentPool(), MappedSegments(), {}
        self._keeps = keeps_objects

    def handle(self, value, path):
        if not self._keeps:
            return None
        name = f"h{len(self.kept)}"
        self.kept[name] = value
        return {"$": "handle", "id": name, "owner": "o", "worker": "w", "type": "t", "made_by": path}

    def cross(self, value):
        """What arrives, or NotPortable."""
        encoder = Encoder(self.pool, self.handle, drop=self._drop)
        text = to_json(encoder.encode(value, "the value"))
        return Decoder(self.mapped, lambda tag: Handle(self.kept[tag["id"]])).decode(json.loads(text))

    def _drop(self, names):
        for name in names:
            del self.kept[name]

    def leased(self):
        for collect in (lambda: None, gc.collect):
            collect()
            for lease in self.mapped.let_go():
                self.pool.release(lease)
            if self.pool.usage()[0] == 0:
                return 0
        return self.pool.usage()[0]


def crosses(keeps_objects, value):
    border = Border(keeps_objects)
    try:
        try:
            result = border.cross(value)
        except NotPortable as error:
            assert str(error).startswith(("the value", "a key of ")) and error.hint
            assert border.kept == {} and border.pool.usage()[0] == 0
            return
        found = difference(value, result)
        assert found is None, f"{found}: {shown(value)} arrived as {shown(result)}"
        del result
        assert border.leased() == 0
    finally:
        border.pool.close()


@seeded(SEED)
@many(EXAMPLES)
@given(values.anything())
def test_a_value_arrives_the_same_or_stays_or_is_refused(value):
    crosses(True, value)
    crosses(False, value)


@seeded(SEED + 1)
@many(EXAMPLES)
@given(values.data())
def test_plain_data_always_arrives(value):
    border = Border(False)
    result = border.cross(value)
    assert difference(value, result) is None
    assert not isinstance(result, Handle)
    del result
    assert border.leased() == 0
    border.pool.close()


@pytest.fixture(scope="module")
def worker():
    with TorchMPWorker() as made:
        yield made


class TestThroughAWorker:
    """There and back through a real process."""

    @seeded(SEED + 2)
    @many(WORKER_EXAMPLES)
    @given(value=values.anything())
    def test_a_value_comes_back_the_same_or_is_refused(self, worker, value):
        try:
            result = worker.call_module("python_shim.tests.value_echo", "echo", value=value)
        except Exception as error:
            if getattr(error, "code", "") == "VALUE_NOT_PORTABLE":  # refused here, or by what the worker is one of
                assert str(error).startswith(("the arguments of echo", "a key of "))
            elif not isinstance(error, WorkerError):
                raise
            else:
                assert "cannot leave its process" in str(error), error
            return
        found = difference(value, result)
        assert found is None, f"{found}: {shown(value)} arrived as {shown(result)}"
