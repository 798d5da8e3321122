"""The logs of the last bridges."""

import os
import subprocess
import sys

import pytest

from python_shim.shim import bridge_log, bridge_process, places


def _start(folder, number, text):
    with bridge_log.opened(folder, number) as said:
        said.file.write(text.encode())
        return said.path


def test_why_a_bridge_died_outlives_the_next_starts(tmp_path):
    (tmp_path / "bridge.ndjson").write_text("not one of these")
    paths = [_start(tmp_path, number, "" if number % 2 else f"death {number}\n") for number in range(1, 20)]
    kept = [path for path in paths if path.exists()]
    assert [path.read_text() for path in kept if path.stat().st_size] == [f"death {number}\n" for number in (10, 12, 14, 16, 18)]
    assert kept[-1] == paths[-1] and len(kept) == 6  # silent ones take no place
    assert (tmp_path / "bridge.ndjson").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
def test_the_log_of_a_bridge_that_lives_stays_whoever_has_started_it(tmp_path):
    with bridge_log.opened(tmp_path, 1) as said:
        bridge = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, stderr=said.file)
    # the ComfyUI that has started it has gone, and its bridge still writes
    for number in range(2, 10):
        _start(tmp_path, number, "x")
    assert said.path.exists()
    bridge.stdin.close()
    bridge.wait()
    _start(tmp_path, 10, "x")
    assert not said.path.exists()


def test_the_last_line_is_found_in_a_log_of_any_length(tmp_path):
    with bridge_log.opened(tmp_path, 1) as said:
        assert said.last_line() is None
        said.file.write(b"x" * 1_000_000 + b"\nError: the cause \xff\n\n")
        assert said.last_line() == "Error: the cause \ufffd"


def test_a_bridge_starts_where_no_log_can_be_written(tmp_path):
    (tmp_path / "logs").write_text("no folder")
    with bridge_log.opened(tmp_path / "logs", 1) as said:
        subprocess.run([sys.executable, "-c", "import sys; print('x', file=sys.stderr)"], stderr=said.file, check=True)
        assert (said.path, said.last_line()) == (None, "x")


def test_each_start_of_the_bridge_keeps_the_log_of_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "find_uv", lambda: None)
    script = tmp_path / "bridge.py"
    script.write_text("import sys, os; print('died of', sys.argv[1:2], os.environ['NUMBER'], file=sys.stderr)")
    monkeypatch.setattr(places, "BRIDGE", script)
    made = bridge_process.BridgeProcess(tmp_path, "", lambda: None, lambda: None)
    for number in ("1", "2"):
        monkeypatch.setenv("NUMBER", number)
        assert made._serve(sys.executable) == f"died of ['serve'] {number}"
        made._process.stdin.close()
        made._process.stdout.close()
    assert sorted(path.read_text().split()[-1] for path in (tmp_path / "logs").iterdir()) == ["1", "2"]
