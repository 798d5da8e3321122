"""Fixtures of several files."""

import os

import pytest

from python_shim.shim.calls import Calls
from python_shim.tests.calls_bridge import Bridge, Client, answer, until
from python_shim.tests.worker_process import Worker


@pytest.fixture
def worker(tmp_path):
    made = Worker(tmp_path)
    yield made
    made.close()
    os.close(made.answers)


@pytest.fixture
def made(tmp_path):
    """Makes calls on a bridge that answers as it is told."""
    open_ones = []

    def make(on_call=answer, connection=None):
        calls, bridge = Calls(), Bridge(tmp_path / "bridge", on_call)
        client = Client()
        calls.use(client, connection or (lambda: bridge.connection))
        open_ones.append((calls, bridge, client))
        return calls, bridge

    yield make
    for calls, bridge, client in open_ones:
        until(lambda calls=calls: calls.lanes._connecting is None or calls.lanes._connecting.done())
        bridge.close()
        client.close()
        for lane in calls.lanes._lanes:
            lane.link.close()
        calls.pool.close()
