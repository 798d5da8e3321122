"""What the shim logs on ComfyUI's terminal: packs choose much of it."""

import importlib
import io
import logging

import pytest

from python_shim.shim import log

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202etxt\r\u200b"


@pytest.fixture
def terminal():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


def test_nothing_that_a_terminal_obeys_is_logged(terminal):
    log.warning("comfyui-envmanager: %s could not be described: %s", f"pack {EVIL}", ValueError(EVIL))
    try:
        raise ValueError(EVIL)
    except ValueError:
        log.exception("comfyui-envmanager: %s", EVIL)
    text = terminal.getvalue()
    assert "pack" in text
    assert "Traceback" in text
    assert "ValueError" in text
    assert all(char.isprintable() or char in "\n\t" for char in text)


def test_what_cannot_say_what_it_is_is_no_error_of_ours(terminal):
    class Strange:
        def __str__(self):
            raise RuntimeError("no")

    log.warning("comfyui-envmanager: %s", Strange())
    assert "cannot be shown" in terminal.getvalue()


def test_lines_of_a_worker_of_the_library_are_text(capsys, monkeypatch):
    monkeypatch.delenv("COMFYUI_ISOLATION_QUIET", raising=False)
    output = importlib.import_module("python_shim.comfyui_envmanager.output")
    said = []
    output.listen(io.BytesIO(f"\x1b[32mgreen\x1b[0m {EVIL}\n".encode()), said, "w")
    text = capsys.readouterr().err
    assert text.startswith("[w] green \\x1b]52")
    assert all(char.isprintable() or char == "\n" for char in text)
