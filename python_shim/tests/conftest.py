"""Fixtures of several files."""

import os

import pytest

from python_shim.tests.worker_process import Worker


@pytest.fixture
def worker(tmp_path):
    made = Worker(tmp_path)
    yield made
    made.close()
    os.close(made.answers)
