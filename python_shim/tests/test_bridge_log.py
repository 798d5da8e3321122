"""The logs of the last bridges."""

import subprocess
import sys

from python_shim.shim import bridge_log, bridge_process, places


def _start(path, text):
    with bridge_log.opened(path) as errors:
        errors.write(text.encode())


def test_why_a_bridge_died_outlives_the_next_starts(tmp_path):
    path = tmp_path / "bridge.log"
    for number in range(1, 10):
        _start(path, f"death {number}\n")
        _start(path, "")  # silent ones take no place
    kept = [tmp_path / f"bridge.{number}.log" for number in range(1, 7)]
    assert [file.read_text() for file in kept[:5]] == [f"death {number}\n" for number in (9, 8, 7, 6, 5)]
    assert not kept[5].exists()
    assert path.read_bytes() == b""


def test_the_last_line_is_found_in_a_log_of_any_length(tmp_path):
    path = tmp_path / "bridge.log"
    assert bridge_log.last_line(path) is None
    path.write_bytes(b"")
    assert bridge_log.last_line(path) is None
    path.write_bytes(b"x" * 1_000_000 + b"\nError: the cause \xff\n\n")
    assert bridge_log.last_line(path) == "Error: the cause \ufffd"


def test_a_bridge_starts_where_no_log_can_be_written(tmp_path):
    path = tmp_path / "bridge.log"
    path.mkdir()
    with bridge_log.opened(path) as errors:
        subprocess.run([sys.executable, "-c", "import sys; print('x', file=sys.stderr)"], stderr=errors, check=True)
    assert bridge_log.last_line(path) is None


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
    assert "1" in (tmp_path / "run" / "bridge.1.log").read_text()
