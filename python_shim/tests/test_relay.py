"""Who may open the panel's WebSocket."""

import pytest

from python_shim.shim.relay import refusal

_HOST = "127.0.0.1:8188"
#: What a page elsewhere may say where it comes from, besides those below.
_ORIGINS = [
    *(
        "https://evil.example",
        "http://localhost:8188",
        "http://[::1]:8188",
        "http://127.0.0.1:81880",
        "http://127.0.0.1:818",
        "http://127.0.0.1:8188/",
    ),
    *(
        "http://127.0.0.1:8188?",
        "http://127.0.0.1:8188#",
        "http://evil@127.0.0.1:8188",
        "http://127.0.0.1:8188@evil.example",
        "http://127.0.0.1:8188,evil.example",
    ),
    *(
        "http://127.0.0.1:8188 http://evil.example",
        "http://127.0.0.1.nip.io:8188",
        "http://127.1:8188",
        "http://2130706433:8188",
        "http://0x7f000001:8188",
    ),
    *(
        "ws://127.0.0.1:8188",
        "data:127.0.0.1:8188",
        "blob:http://127.0.0.1:8188",
        "about:blank",
        "chrome-extension://abc",
        "app://127.0.0.1:8188",
        "*",
        " ",
    ),
    *("undefined", "127.0.0.1:8188", "//127.0.0.1:8188", "http:127.0.0.1:8188"),
]
#: Names and addresses under which an attacker's page may reach a ComfyUI that serves this computer only.
_HOSTS = [
    *(
        "evil.example",
        "localhost.evil.example:8188",
        "evil.localhost:8188",
        "localhost.:8188",
        "0.0.0.0:8188",
        "127.0.0.2:8188",
        "127.1:8188",
        "127.0.0.1.:8188",
    ),
    *(
        "2130706433:8188",
        "0x7f000001:8188",
        "0177.0.0.1:8188",
        "[::]:8188",
        "[::ffff:127.0.0.1]:8188",
        "[fe80::1]:8188",
        "10.0.0.1:8188",
        "169.254.169.254",
    ),
    *(
        "evil.example@127.0.0.1.evil.example:8188",
        "127.0.0.1,evil.example",
        "127.0.0.1 evil.example",
        "localhost\\evil.example",
        "ⓛocalhost:8188",
        "xn--e1afmkfd.example:8188",
    ),
    *(
        "127.0.0.1%00.evil.example",
        "localtest.me:8188",
        "lvh.me:8188",
        "host.docker.internal:8188",
        "gateway.local",
        "my-pc:8188",
        "my-pc.lan:8188",
        "http://127.0.0.1:8188",
    ),
]
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
        *((_HOST, origin) for origin in _ORIGINS),
        *((host, f"http://{host}") for host in _HOSTS),
    ],
)
def test_nobody_else_may(host, origin):
    assert refusal(host, origin, beyond=False)


def test_a_comfyui_that_listens_beyond_this_computer_serves_its_own_page():
    assert refusal("studio.lan:8188", "http://studio.lan:8188", beyond=True) is None
    assert refusal("studio.lan:8188", "http://evil.example", beyond=True)
