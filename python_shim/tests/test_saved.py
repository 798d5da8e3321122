"""What ComfyUI's start reads in our home, whatever lies there."""

import json
import os
import threading

import pytest

from python_shim.shim import saved

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFY_ENV_HOME", str(tmp_path))
    monkeypatch.delenv("COMFY_ENV_START", raising=False)
    (tmp_path / "classes").mkdir()
    saved._warn.cache_clear()
    return tmp_path


def in_time(work):
    """What it returns; it may not wait for anything."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()), daemon=True)
    thread.start()
    thread.join(30)
    assert answers, "it waits"
    return answers[0]


def put_pipe(path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes in folders")
    os.mkfifo(path)


def put_large(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD = {
    "a named pipe": put_pipe,
    "a folder": lambda path: path.mkdir(),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "nested": lambda path: path.write_text(f"a = {DEEP}" if path.suffix == ".toml" else DEEP),
    "larger than the memory": put_large,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    ("name", "ask", "without"),
    [
        ("state.json", lambda: saved.is_isolated("a"), False),
        ("state.json", lambda: saved.classes_apart("a"), {}),
        ("classes/a.json", lambda: saved.description("a", "/nowhere"), None),
        ("settings.toml", saved.waits_for_packs, False),
    ],
)
def test_whatever_lies_in_place_of_a_file_is_said_and_keeps_nothing_waiting(home, kind, name, ask, without, caplog):
    ODD[kind](home / name)
    assert in_time(ask) == without
    assert [f"{home / name} cannot be read" in record.getMessage() for record in caplog.records] == [True]


def test_what_is_not_there_is_no_fault(home, caplog):
    assert (saved.is_isolated("a"), saved.description("a", "/nowhere"), saved.waits_for_packs()) == (False, None, False)
    (home / "state.json").write_text(json.dumps({"isolated": ["a"]}))
    assert saved.is_isolated("a")
    assert not caplog.records


@pytest.mark.parametrize("text", ['start = "wait"\n', '\ufeffstart = "wait"\r\n'])
def test_settings_are_read_with_the_mark_that_editors_of_windows_put_before_them(home, text):
    (home / "settings.toml").write_bytes(text.encode())
    assert saved.waits_for_packs()
