"""A bridge and a worker of two versions do not work together by accident."""

import pytest

from python_shim.wire import PROTOCOL_VERSION
from python_shim.wire.errors import CodedError
from python_shim.worker.main import Worker


def test_a_bridge_of_another_version_is_refused_with_both_versions():
    with pytest.raises(CodedError) as refused:
        Worker._hello(object.__new__(Worker), {"protocol": PROTOCOL_VERSION + 1})
    said = str(refused.value)
    assert str(PROTOCOL_VERSION) in said and str(PROTOCOL_VERSION + 1) in said
