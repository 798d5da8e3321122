"""What of a request an isolated pack's worker is asked."""

import pytest

pytest.importorskip("aiohttp")
from aiohttp.test_utils import make_mocked_request  # noqa: E402

from python_shim.shim.host_web import _address_of  # noqa: E402


@pytest.mark.parametrize(
    ("asked", "passed_on"),
    [
        ("/odd/a%3Fb=1", "/odd/a%3Fb=1"),
        ("/api/odd/a%3Fb=1?c=%26", "/odd/a%3Fb=1?c=%26"),
        ("/odd/100%25?y=%26", "/odd/100%25?y=%26"),
        ("/odd/a%2Fb%23c", "/odd/a%2Fb%23c"),
        ("/odd/%E4%B8%AD", "/odd/%E4%B8%AD"),
        ("/odd/a+b?a+b", "/odd/a+b?a+b"),
        ("/odd/%252e%252e/x", "/odd/%252e%252e/x"),
        ("/apis/x", "/apis/x"),
        ("/%61pi/odd", "/odd"),
        ("/api/api/odd", "/api/odd"),
    ],
)
def test_an_address_is_passed_on_as_it_was_written(asked, passed_on):
    assert _address_of(make_mocked_request("GET", asked)) == passed_on
