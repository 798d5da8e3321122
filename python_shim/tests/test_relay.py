"""Who may open the panel's WebSocket."""

import pytest

from python_shim.shim.relay import refusal

LOCAL = ["127.0.0.1:8188", "localhost:8188", "[::1]:8188"]


@pytest.mark.parametrize("host", LOCAL)
def test_comfyui_itself_may(host):
    assert refusal(host, f"http://{host}", beyond=False) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8188", "http://evil.example"),
        ("127.0.0.1:8188", "null"),
        ("127.0.0.1:8188", ""),
        ("127.0.0.1:8188", None),
        (None, "http://127.0.0.1:8188"),
        ("", ""),
        ("127.0.0.1:8188", "http://127.0.0.1:8188.evil.example"),
        ("127.0.0.1:8188", "http://127.0.0.1"),
        ("127.0.0.1:8188", "http://127.0.0.1:8189"),
        ("127.0.0.1:8188", "file://127.0.0.1:8188"),
        ("127.0.0.1:8188", "http://127.0.0.1:8188/path"),
        ("localhost:8188", "http://127.0.0.1:8188"),
        ("evil.example:8188", "http://evil.example:8188"),
        ("127.0.0.1.nip.io:8188", "http://127.0.0.1.nip.io:8188"),
        ("192.168.0.5:8188", "http://192.168.0.5:8188"),
    ],
)
def test_nobody_else_may(host, origin):
    assert refusal(host, origin, beyond=False)


def test_a_comfyui_that_listens_beyond_this_computer_serves_its_own_page():
    assert refusal("studio.lan:8188", "http://studio.lan:8188", beyond=True) is None
    assert refusal("studio.lan:8188", "http://evil.example", beyond=True)
